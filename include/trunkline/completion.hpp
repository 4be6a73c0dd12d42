#pragma once

#include <trunkline/detail/unique_function.hpp>
#include <trunkline/errc.hpp>

TRUNKLINE_NAMESPACE_BEGIN

/// How a backend reports the end of an operation: move-only, 48 bytes in place, called exactly
/// once. An empty one means that nobody waits.
using completion = detail::unique_function<void(error_code), 48>;

TRUNKLINE_NAMESPACE_END
