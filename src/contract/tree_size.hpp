#pragma once

#include <trunkline/config.hpp>

#include <boost/json/fwd.hpp>

#include <cstddef>

TRUNKLINE_NAMESPACE_BEGIN

/// An estimate of the memory that a JSON tree takes. Throws std::invalid_argument when it nests
/// deeper than `payload::depth_max`.
std::size_t tree_size(const boost::json::value& value);

TRUNKLINE_NAMESPACE_END
