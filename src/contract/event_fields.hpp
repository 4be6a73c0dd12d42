#pragma once

#include <trunkline/config.hpp>
#include <trunkline/event.hpp>

#include <string>

TRUNKLINE_NAMESPACE_BEGIN

/// Appends `,"name":value` for each further field of an event, as every JSON form of it has them.
TRUNKLINE_EXPORT void append_extra_fields(std::string& out, const event& e);
/// Appends `,"index":…` and `,"logGeneration":…`, each where the event has it.
TRUNKLINE_EXPORT void append_log_position(std::string& out, const event& e);

TRUNKLINE_NAMESPACE_END
