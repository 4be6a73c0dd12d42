#pragma once

#include "wire/json_scanner.hpp"

#include <trunkline/config.hpp>
#include <trunkline/event.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// How the reference writes a value that is not there.
inline constexpr std::string_view undefined_text = R"({"__m_codec__":"Undefined"})";

enum class frame_kind : std::uint8_t {
    subscribe,
    unsubscribe,
    publish,
    subscribed,
    unsubscribed,
    event,
    received,   ///< `trunkline.received`: the member got `number` event frames so far
    confirmed,  ///< `trunkline.confirmed`: every publish up to `number` is confirmed
    extension,  ///< any other type that begins with `trunkline.`; read it with a JSON parser
    unknown,    ///< any other type: ignored
};

/// The event object of a frame: JSON texts, views into the scanned line. Empty: absent. Of equal
/// keys the last one counts.
struct event_text {
    std::string_view object;  ///< whole, braces included
    std::string_view type;
    std::string_view run_id;
    std::string_view data;
    std::string_view id;
    std::string_view created_at;
    std::string_view index;
    std::string_view delivery_attempt;
    /// The members that a broker forwards (all but id, createdAt and deliveryAttempt) as stretches
    /// of text without outer commas, in order; `kept_count` of them.
    static constexpr std::size_t kept_max = 4;
    std::array<std::string_view, kept_max> kept;
    std::size_t kept_count = 0;
    bool extra = false;  ///< there are members without a name here
};

/// One line, understood as far as routing needs it. Views live as long as the line and until the
/// scanner's next call.
struct frame {
    frame_kind kind = frame_kind::unknown;
    /// JSON text of the topic, in the one spelling that JSON.stringify would print.
    std::string_view topic;
    /// The same of the group; empty: none (absent, null or the Undefined envelope).
    std::string_view group;
    bool has_group = false;  ///< false when `group` was absent, null or Undefined
    bool local_only = false;
    event_text event;  ///< of publish and event frames
    // Fields of Trunkline members.
    std::string_view id;          ///< of a publish: the event's id, text without quotes
    std::string_view created_at;  ///< of a publish: JSON text
    /// `confirm` of a publish: its number, when it asks for confirmation; of an event: not 0 when
    /// the publisher does; `number` of the kinds that have one.
    std::uint64_t number = 0;
    bool resent = false;  ///< it may have arrived before
};

/// Reads lines. Pure; keeps scratch memory between calls.
class frame_scanner {
public:
    /// Null when the line is no JSON object, nests deeper than `depth_max`, or misses what its kind
    /// needs (a topic, an event object): such lines are ignored, the connection is kept.
    const frame* scan(std::string_view line);

    /// Levels of arrays and objects in one frame: those of a payload, in an event, in a frame.
    static constexpr std::size_t depth_max = payload::depth_max + 2;

private:
    bool scan_members(std::string_view line);
    void set_field(std::string_view name, std::string_view value);
    void scan_event(wire::json_scanner& in);
    void keep(std::string_view member, bool adjoins);
    bool understand();
    std::string_view text_of(const wire::json_scanner::name& key);

    frame frame_;
    // Fields as they came, until the whole line is known.
    struct {
        std::string_view type;
        std::string_view topic;
        std::string_view group;
        std::string_view confirm;
        std::string_view number;
    } raw_;
    std::string line_;   // the line with invalid UTF-8 replaced, where that was necessary
    std::string topic_;  // canonical spellings, where the line has another one
    std::string group_;
    std::string event_;  // members to keep, when there are too many stretches of them
    std::string key_;    // the name being read, when it has escapes
};

/// Appends the members of an event object that its publisher writes: type, runId, data (the
/// Undefined envelope when absent), extra fields, index; no braces, no line break. Throws
/// boost::system::system_error and leaves `out` alone: `not_supported` for a live payload,
/// `protocol_error` for a payload text that is no JSON or nests deeper than `payload::depth_max`.
void append_event_members(std::string& out, const event& e);

/// Appends `"id":"…","createdAt":{…},"deliveryAttempt":1`.
void append_stamp(std::string& out, std::string_view id, std::int64_t created_at_ms);

/// Builds the event. Nothing when `type` is no non-empty string. `now_ms` stands in for a time that
/// is absent or unreadable; an absent or odd attempt is 1; an unreadable index counts as absent.
std::optional<event> read_event(const event_text& text, std::int64_t now_ms);

/// When the event of a publish frame was made: as its publisher says, else `now_ms`.
std::int64_t created_at_of(const frame& publish, std::int64_t now_ms);

/// Builds the event of a publish frame under the stamp that its broker gives it.
std::optional<event> read_published(
    const frame& publish, std::string_view id, std::int64_t created_at_ms
);

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
