#pragma once

#include <trunkline/config.hpp>

#include <chrono>
#include <string>
#include <string_view>

TRUNKLINE_NAMESPACE_BEGIN

/// A point in UTC with the precision that the wire formats have.
using wall_time = std::chrono::sys_time<std::chrono::milliseconds>;

/// `2023-11-14T22:13:20.123Z`, as JavaScript's toISOString prints it.
TRUNKLINE_EXPORT std::string iso_text(wall_time time);
/// Reads that form (fraction optional); throws `protocol_error` naming the text.
TRUNKLINE_EXPORT wall_time wall_time_from_iso(std::string_view text);

TRUNKLINE_NAMESPACE_END
