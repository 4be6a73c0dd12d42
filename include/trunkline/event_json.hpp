#pragma once

#include <trunkline/config.hpp>
#include <trunkline/event.hpp>
#include <trunkline/json_text.hpp>
#include <trunkline/wall_time.hpp>

#include <boost/json/fwd.hpp>

#include <string>
#include <string_view>

TRUNKLINE_NAMESPACE_BEGIN

/// Appends the event as one line of plain JSON, as JSON.stringify prints a Mastra event:
/// `type`, `data` (left out when absent), `runId`, further fields, `id`, `createdAt` (ISO text),
/// `index` and `logGeneration` when there are any, `deliveryAttempt`. Throws `not_supported` for a
/// live payload.
TRUNKLINE_EXPORT void append_event_json(std::string& out, const event& e);

/// Builds a draft from an object with a string `type`; `runId` falls back to `default_run_id`.
/// `id` and `createdAt` are taken when they are there, other fields travel on as extra.
/// Throws boost::system::system_error with `invalid_argument` naming the wrong field.
TRUNKLINE_EXPORT event_draft
draft_from_json(const boost::json::object& fields, std::string_view default_run_id);

TRUNKLINE_NAMESPACE_END
