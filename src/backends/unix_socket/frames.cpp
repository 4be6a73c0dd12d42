#include "backends/unix_socket/frames.hpp"

#include "base/utf8.hpp"
#include "contract/event_fields.hpp"
#include "wire/json_parser.hpp"

#include <trunkline/detail/event_access.hpp>
#include <trunkline/errc.hpp>
#include <trunkline/json_text.hpp>
#include <trunkline/tagged.hpp>
#include <trunkline/wall_time.hpp>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

namespace {

constexpr std::string_view date_head = R"({"__m_codec__":"Date","v":")";
constexpr std::string_view date_tail = R"("})";
constexpr std::size_t iso_text_size = 24;
constexpr std::string_view prototype = "__proto__";
constexpr std::string_view replacement_character = "\xef\xbf\xbd";
constexpr std::uint64_t safe_integer_max = (std::uint64_t{1} << 53) - 1;
// An id on a publish frame is one of ours; anything much longer is not.
constexpr std::size_t id_bytes_max = 128;

// --- texts that the scanner has passed -----------------------------------------------------------

bool is_string(std::string_view text) noexcept {
    return text.starts_with('"');
}

bool has_escapes(std::string_view text) noexcept {
    return text.find('\\') != std::string_view::npos;
}

std::string_view between_quotes(std::string_view text) noexcept {
    return text.substr(1, text.size() - 2);
}

// A string's characters: a view where the text has no escapes, else through `scratch`.
std::string_view content(std::string_view text, std::string& scratch) {
    const auto raw = between_quotes(text);
    if (!has_escapes(raw)) return raw;
    scratch.clear();
    wire::append_unescaped(scratch, raw);
    return scratch;
}

// The one spelling of a string, quotes included; empty for any other value.
std::string_view canonical(std::string_view text, std::string& scratch) {
    if (!is_string(text)) return {};
    if (!has_escapes(text)) return text;
    std::string characters;
    wire::append_unescaped(characters, between_quotes(text));
    scratch.clear();
    append_json_string(scratch, characters);
    return scratch;
}

bool is_undefined(std::string_view text) {
    if (text == undefined_text) return true;
    if (!text.starts_with('{')) return false;
    if (text.find("Undefined") == std::string_view::npos && !has_escapes(text)) return false;
    wire::json_scanner in(text, frame_scanner::depth_max);
    in.begin_object();
    std::string_view tag;
    std::string scratch;
    wire::json_scanner::name key;
    while (in.next_member(key)) {
        const auto value = in.skip_value();
        scratch.clear();
        wire::append_unescaped(scratch, key.raw);
        if (scratch == "__m_codec__") tag = value;
    }
    return is_string(tag) && content(tag, scratch) == "Undefined";
}

// An integer that JavaScript counts exactly, in any spelling of it.
std::optional<std::uint64_t> whole_number(std::string_view text) noexcept {
    const auto* end = text.data() + text.size();
    std::uint64_t value = 0;
    const auto got = std::from_chars(text.data(), end, value);
    if (got.ec == std::errc{} && got.ptr == end) {
        if (value > safe_integer_max) return std::nullopt;
        return value;
    }
    double number = 0;
    const auto read = std::from_chars(text.data(), end, number);
    const bool whole = read.ec == std::errc{} && read.ptr == end && number >= 0 &&
                       number <= static_cast<double>(safe_integer_max) &&
                       std::trunc(number) == number;
    return whole ? std::optional(static_cast<std::uint64_t>(number)) : std::nullopt;
}

// --- bytes that are no UTF-8 ---------------------------------------------------------------------

bool is_ascii(std::string_view text) noexcept {
    unsigned char all = 0;
    for (const char c : text) all |= static_cast<unsigned char>(c);
    return all < 0x80;
}

// How many bytes from `at` on begin a character, when no whole one is there; at least 1.
std::size_t broken_character_size(std::string_view text, std::size_t at) noexcept {
    const auto byte = [&](std::size_t i) {
        return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U;
    };
    const auto within = [&](std::size_t i, unsigned low, unsigned high) {
        return byte(i) >= low && byte(i) <= high;
    };
    const auto lead = byte(0);
    if (lead >= 0xe0 && lead <= 0xef)
        return within(1, lead == 0xe0 ? 0xa0 : 0x80, lead == 0xed ? 0x9f : 0xbf) ? 2 : 1;
    if (lead >= 0xf0 && lead <= 0xf4) {
        if (!within(1, lead == 0xf0 ? 0x90 : 0x80, lead == 0xf4 ? 0x8f : 0xbf)) return 1;
        return within(2, 0x80, 0xbf) ? 3 : 2;
    }
    return 1;
}

void replace_broken_characters(std::string_view text, std::string& out) {
    out.clear();
    for (std::size_t at = 0; at < text.size();) {
        if (const auto length = base::utf8_length(text, at); length != 0) {
            out.append(text, at, length);
            at += length;
        } else {
            out.append(replacement_character);
            at += broken_character_size(text, at);
        }
    }
}

// --- names ---------------------------------------------------------------------------------------

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

using event_field = std::string_view event_text::*;

// Where a member of that name belongs; null when it has no place of its own.
event_field field_of(std::string_view name) noexcept {
    if (name == "type") return &event_text::type;
    if (name == "runId") return &event_text::run_id;
    if (name == "data") return &event_text::data;
    if (name == "id") return &event_text::id;
    if (name == "createdAt") return &event_text::created_at;
    if (name == "deliveryAttempt") return &event_text::delivery_attempt;
    if (name == "index") return &event_text::index;
    return nullptr;
}

bool belongs_to_broker(event_field field) noexcept {
    return field == &event_text::id || field == &event_text::created_at ||
           field == &event_text::delivery_attempt;
}

}  // namespace

// --- scanning ------------------------------------------------------------------------------------

const frame* frame_scanner::scan(std::string_view line) {
    if (!is_ascii(line) && !base::is_utf8_long(line)) {
        replace_broken_characters(line, line_);
        line = line_;
    }
    frame_ = {};
    raw_ = {};
    return scan_members(line) && understand() ? &frame_ : nullptr;
}

std::string_view frame_scanner::text_of(const wire::json_scanner::name& key) {
    if (!key.escaped) return key.raw;
    key_.clear();
    wire::append_unescaped(key_, key.raw);
    return key_;
}

bool frame_scanner::scan_members(std::string_view line) {
    wire::json_scanner in(line, depth_max);
    if (!in.begin_object()) return false;
    wire::json_scanner::name key;
    while (in.next_member(key)) {
        const auto name = text_of(key);
        if (name == "event")
            scan_event(in);
        else
            set_field(name, in.skip_value());
    }
    return in.finish();
}

void frame_scanner::set_field(std::string_view name, std::string_view value) {
    if (name == "type")
        raw_.type = value;
    else if (name == "topic")
        raw_.topic = value;
    else if (name == "group")
        raw_.group = value;
    else if (name == "localOnly")
        frame_.local_only = value == "true";
    else if (name == "id")
        frame_.id = is_string(value) && !has_escapes(value) ? between_quotes(value) : "";
    else if (name == "createdAt")
        frame_.created_at = value;
    else if (name == "confirm")
        raw_.confirm = value;
    else if (name == "number")
        raw_.number = value;
    else if (name == "resent")
        frame_.resent = value == "true";
}

void frame_scanner::scan_event(wire::json_scanner& in) {
    auto& e = frame_.event;
    e = {};
    event_.clear();
    if (!in.begin_object()) {
        in.skip_value();
        return;
    }
    const auto* begin = in.behind() - 1;
    bool adjoins = false;  // the last member was kept
    wire::json_scanner::name key;
    while (in.next_member(key)) {
        const auto* member = key.raw.data() - 1;
        const auto name = text_of(key);
        const auto field = field_of(name);
        const bool other = field == nullptr && name != prototype;
        const auto value = in.skip_value();
        if (value.empty()) return;  // no JSON
        if (field != nullptr) e.*field = value;
        const bool kept = field != nullptr ? !belongs_to_broker(field) : other;
        if (kept) keep({member, static_cast<std::size_t>(in.behind() - member)}, adjoins);
        adjoins = kept;
        e.extra = e.extra || other;
    }
    e.object = {begin, static_cast<std::size_t>(in.behind() - begin)};
    if (event_.empty()) return;
    e.kept[0] = event_;
    e.kept_count = 1;
}

void frame_scanner::keep(std::string_view member, bool adjoins) {
    auto& e = frame_.event;
    if (!event_.empty()) {
        event_.append(1, ',').append(member);
    } else if (adjoins) {
        auto& last = e.kept[e.kept_count - 1];
        const auto* end = member.data() + member.size();
        last = {last.data(), static_cast<std::size_t>(end - last.data())};
    } else if (e.kept_count < event_text::kept_max) {
        e.kept[e.kept_count++] = member;
    } else {
        for (const auto& stretch : e.kept) event_.append(stretch).append(1, ',');
        event_.append(member);
    }
}

// What the fields mean together; false when the frame is to be ignored.
bool frame_scanner::understand() {
    if (!is_string(raw_.type)) return false;
    frame_.kind = kind_of(content(raw_.type, key_));
    if (frame_.id.size() > id_bytes_max) frame_.id = {};
    frame_.topic = canonical(raw_.topic, topic_);
    frame_.has_group = !raw_.group.empty() && raw_.group != "null" && !is_undefined(raw_.group);
    if (frame_.has_group) {
        frame_.group = canonical(raw_.group, group_);
        if (frame_.group.empty()) return false;
    }
    switch (frame_.kind) {
        case frame_kind::publish:
        case frame_kind::event:
            frame_.number = whole_number(raw_.confirm).value_or(0);
            return !frame_.topic.empty() && !frame_.event.object.empty();
        case frame_kind::subscribe:
        case frame_kind::unsubscribe:
        case frame_kind::subscribed:
        case frame_kind::unsubscribed:
            return !frame_.topic.empty();
        case frame_kind::received:
        case frame_kind::confirmed:
            frame_.number = whole_number(raw_.number).value_or(0);
            return true;
        case frame_kind::extension:
        case frame_kind::unknown:
            return true;
    }
    return false;
}

// --- writing -------------------------------------------------------------------------------------

namespace {

// The text of a payload, checked: a bad one would take the whole frame with it, or add to it.
std::string_view checked_text(const payload& data) {
    if (data.absent()) return undefined_text;
    const auto text = data.text();
    wire::json_scanner in(text, payload::depth_max);
    in.skip_value();
    if (!in.finish()) {
        throw boost::system::system_error(
            errc::protocol_error, "payload: its text is no JSON or nests too deep"
        );
    }
    return text;
}

// Between the tokens of a text there may be line breaks; they would end the frame.
void append_on_one_line(std::string& out, std::string_view text) {
    const auto begin = out.size();
    out.append(text);
    if (text.find('\n') == std::string_view::npos) return;
    std::replace(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(), '\n', ' ');
}

}  // namespace

void append_event_members(std::string& out, const event& e) {
    const auto data = checked_text(e.data());
    out.append("\"type\":");
    append_json_string(out, e.type());
    out.append(",\"runId\":");
    append_json_string(out, e.run_id());
    out.append(",\"data\":");
    append_on_one_line(out, data);
    append_extra_fields(out, e);
    append_log_position(out, e);
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

// --- reading events ------------------------------------------------------------------------------

namespace {

bool may_name_prototype(std::string_view text) noexcept {
    constexpr std::string_view escaped_underscore = "\\u005";  // f or F
    return text.find(prototype) != std::string_view::npos ||
           text.find(escaped_underscore) != std::string_view::npos;
}

void drop_prototypes(boost::json::value& value) {
    if (auto* object = value.if_object()) {
        object->stable_erase(prototype);
        for (auto& member : *object) drop_prototypes(member.value());
    } else if (auto* array = value.if_array()) {
        for (auto& item : *array) drop_prototypes(item);
    }
}

boost::json::value tree_of(std::string_view text) {
    auto tree = wire::parse_json(text, payload::depth_max);
    if (may_name_prototype(text)) drop_prototypes(tree);
    return tree;
}

payload payload_of(std::string_view text) {
    if (text.empty() || is_undefined(text)) return {};
    return may_name_prototype(text) ? payload(tree_of(text)) : payload::from_json_text(text);
}

std::optional<wall_time> time_of(std::string_view text) {
    try {
        if (text.size() == date_head.size() + iso_text_size + date_tail.size() &&
            text.starts_with(date_head) && text.ends_with(date_tail))
            return wall_time_from_iso(text.substr(date_head.size(), iso_text_size));
        if (is_string(text)) {
            std::string scratch;
            return wall_time_from_iso(content(text, scratch));
        }
        if (text.starts_with('{'))
            return tagged::as_date(wire::parse_json(text, payload::depth_max));
    } catch (const boost::system::system_error&) {  // an unreadable time counts as absent
    }
    return std::nullopt;
}

event_id id_of(std::string_view text) {
    if (!is_string(text)) return event_id::random();
    std::string scratch;
    const auto id = content(text, scratch);
    return id.empty() ? event_id::random() : event_id::from_text(id);
}

std::uint32_t attempt_of(std::string_view text) noexcept {
    const auto attempt = whole_number(text).value_or(1);
    return attempt >= 1 && attempt <= UINT32_MAX ? static_cast<std::uint32_t>(attempt) : 1;
}

// The members without a field of their own.
void add_extra(event_draft& draft, std::string_view object) {
    wire::json_scanner in(object, payload::depth_max + 1);
    in.begin_object();
    std::string scratch;
    wire::json_scanner::name key;
    while (in.next_member(key)) {
        const auto value = in.skip_value();
        scratch.clear();
        wire::append_unescaped(scratch, key.raw);
        if (field_of(scratch) != nullptr || scratch == prototype) continue;
        try {
            draft = std::move(draft).extra(scratch, tree_of(value));
        } catch (const boost::system::system_error&) {
            // Half a surrogate pair, which a tree cannot hold: the event is worth more.
        }
    }
}

}  // namespace

std::optional<event> read_event(const event_text& text, std::int64_t now_ms) {
    using detail::event_access;
    std::string type_scratch;
    std::string run_id_scratch;
    const auto type = is_string(text.type) ? content(text.type, type_scratch) : "";
    const auto run_id = is_string(text.run_id) ? content(text.run_id, run_id_scratch) : "";
    if (type.empty()) return std::nullopt;
    try {
        event_draft draft(type, run_id, payload_of(text.data));
        if (text.extra) add_extra(draft, text.object);
        event_access::set_id(draft, id_of(text.id));
        const wall_time now{std::chrono::milliseconds{now_ms}};
        event_access::set_time(draft, time_of(text.created_at).value_or(now));
        if (const auto index = whole_number(text.index)) event_access::set_index(draft, *index, 0);
        event_access::mark_stamped(draft);
        return event_access::freeze(std::move(draft), attempt_of(text.delivery_attempt));
    } catch (const boost::system::system_error&) {  // a payload that a tree cannot hold
        return std::nullopt;
    }
}

std::int64_t created_at_of(const frame& publish, std::int64_t now_ms) {
    const auto text = publish.created_at;
    std::int64_t given = 0;
    const auto got = std::from_chars(text.data(), text.data() + text.size(), given);
    const bool whole =
        !text.empty() && got.ec == std::errc{} && got.ptr == text.data() + text.size();
    return whole ? given : now_ms;
}

std::optional<event> read_published(
    const frame& publish, std::string_view id, std::int64_t created_at_ms
) {
    auto text = publish.event;
    const auto quoted = "\"" + std::string(id) + "\"";
    text.id = quoted;
    text.created_at = {};
    text.delivery_attempt = {};
    return read_event(text, created_at_ms);
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
