// Any bytes as one line of the Unix socket: the scanner takes what the JSON parser takes, an event
// that it understood can be read, written and sent on, and means the same afterwards.
#include "backends/unix_socket/frames.hpp"
#include "base/utf8.hpp"
#include "wire/json_parser.hpp"
#include "wire/json_scanner.hpp"

#include <boost/system/system_error.hpp>

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

namespace {

using namespace trunkline;
using unix_socket::frame_kind;
using unix_socket::frame_scanner;

constexpr std::int64_t now_ms = 1'700'000'000'123;

void require(bool condition) {
    if (!condition) std::abort();
}

bool scans(std::string_view text) {
    wire::json_scanner in(text, payload::depth_max);
    in.skip_value();
    return in.finish();
}

bool parses(std::string_view text) {
    try {
        wire::parse_json(text, payload::depth_max);
        return true;
    } catch (const boost::system::system_error&) {
        return false;
    }
}

// JSON that the parser refuses: half a surrogate pair, and exponents that no int holds.
bool may_be_beyond_the_parser(std::string_view text) {
    constexpr std::size_t exponent_digits_max = 8;
    std::size_t digits = 0;
    bool exponent = false;
    for (const char c : text) {
        const bool digit = c >= '0' && c <= '9';
        exponent = c == 'e' || c == 'E' || (exponent && (digit || c == '+' || c == '-'));
        digits = exponent && digit ? digits + 1 : 0;
        if (digits > exponent_digits_max) return true;
    }
    return text.find("\\ud") != std::string_view::npos ||
           text.find("\\uD") != std::string_view::npos;
}

void require_same(const event& a, const event& b) {
    require(a.type() == b.type() && a.run_id() == b.run_id());
    require(a.data().text() == b.data().text());
    require(a.index() == b.index());
    require((a.extra() == nullptr) == (b.extra() == nullptr));
}

std::optional<event> event_in(std::string_view members) {
    const auto line = R"({"type":"event","topic":"t","event":{)" + std::string(members) + "}}";
    frame_scanner scanner;
    const auto* f = scanner.scan(line);
    require(f != nullptr && f->kind == frame_kind::event);
    return unix_socket::read_event(f->event, now_ms);
}

std::string sent_on(const unix_socket::event_text& text) {
    std::string out;
    for (std::size_t i = 0; i < text.kept_count; ++i) out.append(text.kept[i]).push_back(',');
    unix_socket::append_stamp(out, "id", now_ms);
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view line(reinterpret_cast<const char*>(data), size);
    if (base::is_utf8_long(line) && !may_be_beyond_the_parser(line))
        require(scans(line) == parses(line));

    frame_scanner scanner;
    const auto* f = scanner.scan(line);
    if (f == nullptr || (f->kind != frame_kind::publish && f->kind != frame_kind::event)) return 0;
    require(scans(f->topic) && f->has_group == !f->group.empty());
    require(!f->has_group || scans(f->group));
    const auto e = unix_socket::read_event(f->event, now_ms);
    const auto on = event_in(sent_on(f->event));
    require(e.has_value() == on.has_value());
    if (!e) return 0;
    require_same(*e, *on);
    require(on->id().text() == "id" && on->delivery_attempt() == 1);

    std::string members;
    unix_socket::append_event_members(members, *e);
    if (line.find('\n') == std::string_view::npos) {
        const auto again = event_in(members);
        require(again.has_value());
        require_same(*e, *again);
    }
    require(members.find('\n') == std::string::npos);
    return 0;
}
