#pragma once

#include <trunkline/config.hpp>

#include <boost/json/value.hpp>

#include <cstddef>
#include <string_view>

TRUNKLINE_NAMESPACE_BEGIN
namespace wire {

/// Reads one JSON text. Numbers come out as JavaScript reads them, correctly rounded (Boost.JSON's
/// own reader may be off in the last digit); integers up to ±(2^53−1) stay integers, larger ones
/// are doubles. Of equal keys the last one wins. Throws boost::system::system_error
/// (`protocol_error`) naming what is wrong and the byte; arrays and objects may nest `depth_max`
/// deep.
TRUNKLINE_EXPORT boost::json::value parse_json(std::string_view text, std::size_t depth_max);

}  // namespace wire
TRUNKLINE_NAMESPACE_END
