#include "backends/unix_socket/frames.hpp"

#include "base/utf8.hpp"
#include "wire/json_parser.hpp"

#include <trunkline/detail/event_access.hpp>
#include <trunkline/json_text.hpp>
#include <trunkline/tagged.hpp>
#include <trunkline/wall_time.hpp>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <boost/system/system_error.hpp>

#include <array>
#include <charconv>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

namespace {

constexpr std::string_view undefined_text = R"({"__m_codec__":"Undefined"})";
constexpr std::string_view date_head = R"({"__m_codec__":"Date","v":")";
constexpr std::string_view date_tail = R"("})";
constexpr std::string_view prototype = "__proto__";
constexpr std::uint64_t safe_integer_max = (std::uint64_t{1} << 53) - 1;
// An id on a publish frame is one of ours; anything much longer is not.
constexpr std::size_t id_bytes_max = 128;

bool is_string(std::string_view text) noexcept {
    return text.size() >= 2 && text.front() == '"';
}

std::string_view between_quotes(std::string_view text) noexcept {
    return text.substr(1, text.size() - 2);
}

bool has_escapes(std::string_view text) noexcept {
    return text.find('\\') != std::string_view::npos;
}

std::string decoded(std::string_view text) {
    const auto value = wire::parse_json(text, 1);
    return std::string(value.get_string());
}

// A JSON string's content: a view where the text has no escapes, else through `scratch`.
std::string_view content(std::string_view text, std::string& scratch) {
    if (!has_escapes(text)) return between_quotes(text);
    scratch = decoded(text);
    return scratch;
}

bool is_undefined(std::string_view text) {
    if (text == undefined_text) return true;
    if (text.empty() || text.front() != '{' || text.find("Undefined") == std::string_view::npos)
        return false;
    try {
        return tagged::is_undefined(wire::parse_json(text, payload::depth_max));
    } catch (const boost::system::system_error&) {
        return false;
    }
}

std::uint64_t whole_number(std::string_view text) noexcept {
    std::uint64_t value = 0;
    const auto* end = text.data() + text.size();
    const auto got = std::from_chars(text.data(), end, value);
    return got.ec == std::errc{} && got.ptr == end && value <= safe_integer_max ? value : 0;
}

frame_kind kind_of(std::string_view type) noexcept {
    using entry = std::pair<std::string_view, frame_kind>;
    static constexpr std::array<entry, 8> known = {{
        {"event", frame_kind::event},
        {"publish", frame_kind::publish},
        {"subscribe", frame_kind::subscribe},
        {"subscribed", frame_kind::subscribed},
        {"unsubscribe", frame_kind::unsubscribe},
        {"unsubscribed", frame_kind::unsubscribed},
        {"trunkline.received", frame_kind::received},
        {"trunkline.confirmed", frame_kind::confirmed},
    }};
    for (const auto& [name, kind] : known) {
        if (name == type) return kind;
    }
    return type.starts_with("trunkline.") ? frame_kind::extension : frame_kind::unknown;
}

// Every maximal part of an ill-formed character becomes one U+FFFD, as decoders of the Encoding
// Standard do it.
void replace_bad_utf8(std::string_view text, std::string& out) {
    out.clear();
    for (std::size_t at = 0; at < text.size();) {
        if (const auto length = base::utf8_length(text, at); length != 0) {
            out.append(text, at, length);
            at += length;
            continue;
        }
        out.append("\xef\xbf\xbd");
        const auto byte = [&](std::size_t i) {
            return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
        };
        const auto lead = byte(at);
        const auto within = [&](std::size_t i, unsigned low, unsigned high) {
            return byte(at + i) >= low && byte(at + i) <= high;
        };
        std::size_t part = 1;
        if (lead >= 0xe0 && lead <= 0xef) {
            if (within(1, lead == 0xe0 ? 0xa0 : 0x80, lead == 0xed ? 0x9f : 0xbf)) part = 2;
        } else if (lead >= 0xf0 && lead <= 0xf4) {
            if (within(1, lead == 0xf0 ? 0x90 : 0x80, lead == 0xf4 ? 0x8f : 0xbf))
                part = within(2, 0x80, 0xbf) ? 3 : 2;
        }
        at += part;
    }
}

std::optional<wall_time> time_of(std::string_view text) {
    try {
        if (text.starts_with(date_head) && text.ends_with(date_tail)) {
            text.remove_prefix(date_head.size());
            text.remove_suffix(date_tail.size());
            return wall_time_from_iso(text);
        }
        if (is_string(text)) {
            std::string scratch;
            return wall_time_from_iso(content(text, scratch));
        }
        if (!text.empty() && text.front() == '{')
            return tagged::as_date(wire::parse_json(text, payload::depth_max));
    } catch (const boost::system::system_error&) {  // an unreadable time counts as absent
    }
    return std::nullopt;
}

void drop_prototypes(boost::json::value& value) {
    if (auto* object = value.if_object()) {
        object->erase(prototype);
        for (auto& member : *object) drop_prototypes(member.value());
    } else if (auto* array = value.if_array()) {
        for (auto& item : *array) drop_prototypes(item);
    }
}

payload payload_of(std::string_view text) {
    if (text.empty() || is_undefined(text)) return {};
    const bool suspicious = text.find(prototype) != std::string_view::npos ||
                            text.find("\\u005") != std::string_view::npos;
    if (!suspicious) return payload::from_json_text(text);
    auto tree = wire::parse_json(text, payload::depth_max);
    drop_prototypes(tree);
    return payload(std::move(tree));
}

bool has_a_name(std::string_view key) noexcept {
    return key == "type" || key == "runId" || key == "data" || key == "id" || key == "createdAt" ||
           key == "index" || key == "deliveryAttempt" || key == prototype;
}

}  // namespace

// --- scanning ------------------------------------------------------------------------------------

const frame* frame_scanner::scan(std::string_view line) {
    frame_ = {};
    if (!base::is_utf8_long(line)) {
        replace_bad_utf8(line, line_);
        line = line_;
    }
    try {
        return scan_members(line) ? &frame_ : nullptr;
    } catch (const boost::system::system_error&) {  // an escape that names no character
        return nullptr;
    }
}

// The one spelling of a string; empty for any other value.
std::string_view frame_scanner::canonical(std::string_view text, std::string& scratch) {
    if (!is_string(text)) return {};
    if (!has_escapes(text)) return text;
    scratch.clear();
    append_json_string(scratch, decoded(text));
    return scratch;
}

bool frame_scanner::scan_members(std::string_view line) {
    wire::json_scanner in(line, depth_max);
    if (!in.begin_object()) return false;
    std::string_view type, topic, group;
    std::string key_scratch, type_scratch;
    wire::json_scanner::name key;
    while (in.next_member(key)) {
        auto name = key.raw;
        if (key.escaped) name = key_scratch = decoded("\"" + std::string(name) + "\"");
        if (name == "event") {
            frame_.event = {};
            if (in.begin_object()) {
                const auto* begin = in.behind() - 1;
                if (!scan_event(in)) return false;
                frame_.event.object = {begin, static_cast<std::size_t>(in.behind() - begin)};
                continue;
            }
        }
        const auto value = in.skip_value();
        if (value.empty()) return false;
        if (name == "type")
            type = value;
        else if (name == "topic")
            topic = value;
        else if (name == "group")
            group = value;
        else if (name == "localOnly")
            frame_.local_only = value == "true";
        else if (name == "id")
            frame_.id = is_string(value) && !has_escapes(value) ? between_quotes(value)
                                                                : std::string_view{};
        else if (name == "createdAt")
            frame_.created_at = value;
        else if (name == "confirm" || name == "number")
            frame_.number = whole_number(value);
        else if (name == "resent")
            frame_.resent = value == "true";
    }
    if (!in.finish() || !is_string(type)) return false;
    if (frame_.id.size() > id_bytes_max) frame_.id = {};
    frame_.kind = kind_of(content(type, type_scratch));
    frame_.topic = canonical(topic, topic_);
    if (!group.empty() && group != "null" && !is_undefined(group)) {
        frame_.group = canonical(group, group_);
        frame_.has_group = true;
        if (frame_.group.empty()) return false;
    }
    switch (frame_.kind) {
        case frame_kind::publish:
        case frame_kind::event:
            return !frame_.topic.empty() && !frame_.event.object.empty();
        case frame_kind::subscribe:
        case frame_kind::unsubscribe:
        case frame_kind::subscribed:
        case frame_kind::unsubscribed:
            return !frame_.topic.empty();
        case frame_kind::received:
        case frame_kind::confirmed:
        case frame_kind::extension:
        case frame_kind::unknown:
            return true;
    }
    return false;
}

bool frame_scanner::scan_event(wire::json_scanner& in) {
    auto& e = frame_.event;
    bool rebuilt = false;   // more stretches than fit: they are joined in event_
    bool adjacent = false;  // the last member was kept
    std::string key_scratch;
    wire::json_scanner::name key;
    while (in.next_member(key)) {
        const auto* begin = key.raw.data() - 1;
        auto name = key.raw;
        if (key.escaped) name = key_scratch = decoded("\"" + std::string(name) + "\"");
        const auto value = in.skip_value();
        if (value.empty()) return false;
        bool kept = true;
        if (name == "type") {
            e.type = value;
        } else if (name == "runId") {
            e.run_id = value;
        } else if (name == "data") {
            e.data = value;
        } else if (name == "index") {
            e.index = value;
        } else {
            if (name == "id")
                e.id = value;
            else if (name == "createdAt")
                e.created_at = value;
            else if (name == "deliveryAttempt")
                e.delivery_attempt = value;
            kept = !has_a_name(name);
            e.extra = e.extra || kept;
        }
        if (!kept) {
            adjacent = false;
            continue;
        }
        const auto size = static_cast<std::size_t>(in.behind() - begin);
        if (rebuilt) {
            event_.append(1, ',').append(begin, size);
        } else if (adjacent) {
            auto& last = e.kept[e.kept_count - 1];
            last = {last.data(), static_cast<std::size_t>(in.behind() - last.data())};
        } else if (e.kept_count < event_text::kept_max) {
            e.kept[e.kept_count++] = {begin, size};
        } else {
            rebuilt = true;
            event_.clear();
            for (const auto& stretch : e.kept) event_.append(stretch).push_back(',');
            event_.append(begin, size);
        }
        adjacent = true;
    }
    if (in.failed()) return false;
    if (rebuilt) {
        e.kept[0] = event_;
        e.kept_count = 1;
    }
    return true;
}

// --- events --------------------------------------------------------------------------------------

void append_event_members(std::string& out, const event& e) {
    out.append("\"type\":");
    append_json_string(out, e.type());
    out.append(",\"runId\":");
    append_json_string(out, e.run_id());
    out.append(",\"data\":").append(e.data().absent() ? undefined_text : e.data().text());
    if (const auto* extra = e.extra()) {
        for (const auto& [name, value] : *extra) {
            out.push_back(',');
            append_json_string(out, name);
            out.push_back(':');
            append_json(out, value);
        }
    }
    if (const auto index = e.index()) out.append(",\"index\":").append(std::to_string(*index));
}

void append_stamp(std::string& out, std::string_view id, std::int64_t created_at_ms) {
    struct rendered {
        std::int64_t at = INT64_MIN;
        std::string text;
    };
    static thread_local rendered last;  // many events share a millisecond
    if (last.at != created_at_ms) {
        last.text = iso_text(wall_time{std::chrono::milliseconds{created_at_ms}});
        last.at = created_at_ms;
    }
    out.append("\"id\":");
    append_json_string(out, id);
    out.append(",\"createdAt\":").append(date_head).append(last.text).append(date_tail);
    out.append(",\"deliveryAttempt\":1");
}

std::optional<event> read_event(const event_text& text, std::int64_t now_ms) {
    using detail::event_access;
    if (!is_string(text.type) || text.type.size() == 2) return std::nullopt;
    try {
        std::string type_scratch, run_scratch, id_scratch;
        const auto type = content(text.type, type_scratch);
        const auto run_id =
            is_string(text.run_id) ? content(text.run_id, run_scratch) : std::string_view{};
        event_draft draft(type, run_id, payload_of(text.data));
        if (text.extra) {
            auto object = wire::parse_json(text.object, payload::depth_max + 1);
            for (auto& member : object.get_object()) {
                if (!has_a_name(member.key()))
                    draft = std::move(draft).extra(member.key(), std::move(member.value()));
            }
        }
        const bool has_id = is_string(text.id) && text.id.size() > 2;
        event_access::set_id(
            draft, has_id ? event_id::from_text(content(text.id, id_scratch)) : event_id::random()
        );
        const wall_time now{std::chrono::milliseconds{now_ms}};
        event_access::set_time(draft, time_of(text.created_at).value_or(now));
        std::uint64_t index = 0;
        const auto* index_end = text.index.data() + text.index.size();
        const auto got = std::from_chars(text.index.data(), index_end, index);
        if (!text.index.empty() && got.ec == std::errc{} && got.ptr == index_end &&
            index <= safe_integer_max)
            event_access::set_index(draft, index, 0);
        event_access::mark_stamped(draft);
        const auto attempt = whole_number(text.delivery_attempt);
        const bool odd = attempt == 0 || attempt > UINT32_MAX;
        return event_access::freeze(std::move(draft), odd ? 1 : static_cast<std::uint32_t>(attempt));
    } catch (const boost::system::system_error&) {  // a text that no event can have
    } catch (const std::invalid_argument&) {        // an extra field that nests too deep
    }
    return std::nullopt;
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
