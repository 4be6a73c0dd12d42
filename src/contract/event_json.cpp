#include "contract/event_fields.hpp"

#include <trunkline/errc.hpp>
#include <trunkline/event_json.hpp>
#include <trunkline/tagged.hpp>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <boost/system/system_error.hpp>

#include <string>

TRUNKLINE_NAMESPACE_BEGIN

namespace {

[[noreturn]] void wrong_field(std::string_view name, std::string_view want) {
    throw boost::system::system_error(
        errc::invalid_argument,
        "event field \"" + std::string(name) + "\": want " + std::string(want)
    );
}

}  // namespace

void append_extra_fields(std::string& out, const event& e) {
    if (e.extra() == nullptr) return;
    for (const auto& [name, value] : *e.extra()) {
        out.push_back(',');
        append_json_string(out, name);
        out.push_back(':');
        append_json(out, value);
    }
}

void append_log_position(std::string& out, const event& e) {
    if (const auto index = e.index()) out.append(",\"index\":").append(std::to_string(*index));
    if (const auto life = e.log_generation(); !life.empty()) {
        out.append(",\"logGeneration\":");
        append_json_string(out, life);
    }
}

void append_event_json(std::string& out, const event& e) {
    out.append("{\"type\":");
    append_json_string(out, e.type());
    if (!e.data().absent()) out.append(",\"data\":").append(e.data().text());
    out.append(",\"runId\":");
    append_json_string(out, e.run_id());
    append_extra_fields(out, e);
    out.append(",\"id\":");
    append_json_string(out, e.id().text());
    out.append(",\"createdAt\":\"").append(iso_text(e.created_at())).push_back('"');
    append_log_position(out, e);
    out.append(",\"deliveryAttempt\":").append(std::to_string(e.delivery_attempt()));
    out.push_back('}');
}

event_draft draft_from_json(const boost::json::object& fields, std::string_view default_run_id) {
    const auto* type = fields.if_contains("type");
    if (type == nullptr || !type->is_string()) wrong_field("type", "a string");
    std::string_view run_id = default_run_id;
    if (const auto* value = fields.if_contains("runId")) {
        if (!value->is_string()) wrong_field("runId", "a string");
        run_id = value->get_string();
    }
    payload data;
    if (const auto* value = fields.if_contains("data")) data = payload(*value);
    event_draft draft(type->get_string(), run_id, std::move(data));
    for (const auto& [name, value] : fields) {
        if (name == "type" || name == "runId" || name == "data") continue;
        if (name == "id") {
            if (!value.is_string()) wrong_field(name, "a string");
            draft = std::move(draft).id(event_id::from_text(value.get_string()));
        } else if (name == "createdAt") {
            if (const auto date = tagged::as_date(value))
                draft = std::move(draft).created_at(*date);
            else if (value.is_string())
                draft = std::move(draft).created_at(wall_time_from_iso(value.get_string()));
            else
                wrong_field(name, "an ISO time");
        } else if (name == "index" || name == "deliveryAttempt") {
            const bool index = name == "index";
            error_code ec;
            const auto number = value.to_number<std::uint64_t>(ec);
            if (ec || (!index && (number == 0 || number > UINT32_MAX)))
                wrong_field(name, index ? "an integer of 0 or more" : "an integer of 1 or more");
            draft = index ? std::move(draft).index(number)
                          : std::move(draft).delivery_attempt(static_cast<std::uint32_t>(number));
        } else {
            draft = std::move(draft).extra(name, value);
        }
    }
    return draft;
}

TRUNKLINE_NAMESPACE_END
