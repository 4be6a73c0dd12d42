#include "backends/unix_socket/link.hpp"

#include "backends/unix_socket/json_object.hpp"

#include <trunkline/json_text.hpp>

#include <boost/system/system_error.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

namespace {

// A membership that nobody has: brokers answer its end too, after everything they sent before.
constexpr std::string_view barrier_topic = R"("trunkline.barrier")";
constexpr std::uint64_t ordinal_bits = 40;
constexpr std::uint64_t ordinal_mask = (std::uint64_t{1} << ordinal_bits) - 1;
constexpr std::uint64_t life_mask = (std::uint64_t{1} << 20) - 1;

void append_membership(
    std::string& out,
    std::string_view type,
    std::string_view topic,
    std::optional<std::string_view> group
) {
    out.append(R"({"type":")").append(type).append(R"(","topic":)").append(topic);
    out.append(R"(,"group":)").append(group.value_or(undefined_text)).append("}\n");
}

}  // namespace

link::link(core& bus, std::shared_ptr<connection> to, const file_identity& file, std::uint32_t life)
    : bus_(bus), to_(std::move(to)), file_(file), life_(life & life_mask) {}

void link::introduce() {
    frame_ = R"({"type":"trunkline.hello","version":1,"member":")" + bus_.member_id() + "\"}\n";
    bus_.send(*to_, frame_);
    report_others();
    // Whoever answers this without having answered the greeting is no Trunkline broker.
    barrier(nullptr);
    report_recent();
    bus_.announce_all();
    bus_.send(*to_, std::string_view("{\"type\":\"trunkline.ready\"}\n"));
}

// Who was there before: a broker that has just come to the bus knows nobody, and would confirm
// events before those for whom they are have found it.
void link::report_others() {
    // In pieces that no limit minds.
    constexpr std::size_t members_per_frame = 8;
    const auto members = bus_.others.expected(steady::now());
    for (std::size_t i = 0; i < members.size(); ++i) {
        const bool first = i % members_per_frame == 0;
        if (first) frame_ = R"({"type":"trunkline.roster","members":[)";
        if (!first) frame_.push_back(',');
        append_json_string(frame_, members[i]);
        if ((i + 1) % members_per_frame != 0 && i + 1 != members.size()) continue;
        frame_.append("]}\n");
        bus_.send(*to_, frame_);
    }
}

// Which group events are with this process already: a publisher may send them again, and the new
// broker would give them to another member.
void link::report_recent() {
    const auto& keys = bus_.recent_group_events().all();
    if (keys.empty()) return;
    // In pieces that no limit minds.
    constexpr std::size_t keys_per_frame = 32;
    std::array<char, 17> text{};
    for (std::size_t i = 0; i < keys.size(); ++i) {
        if (i % keys_per_frame == 0) frame_ = R"({"type":"trunkline.recent","keys":")";
        std::snprintf(
            text.data(), text.size(), "%016llx", static_cast<unsigned long long>(keys[i])
        );
        frame_.append(text.data(), 16);
        if ((i + 1) % keys_per_frame != 0 && i + 1 != keys.size()) continue;
        frame_.append("\"}\n");
        bus_.send(*to_, frame_);
    }
}

void link::subscribe(std::string_view topic, std::optional<std::string_view> group) {
    frame_.clear();
    append_membership(frame_, "subscribe", topic, group);
    bus_.send(*to_, frame_);
}

void link::unsubscribe(std::string_view topic, std::optional<std::string_view> group) {
    frame_.clear();
    append_membership(frame_, "unsubscribe", topic, group);
    bus_.send(*to_, frame_);
}

bool link::publish(outgoing& out, bool write_now, error_code& ec) {
    frame_ = R"({"type":"publish","topic":)";
    frame_.append(out.topic).append(R"(,"event":{)");
    try {
        append_event_members(frame_, out.e);
    } catch (const boost::system::system_error& problem) {
        ec = problem.code();
        return false;
    }
    frame_.append(R"(},"localOnly":)").append(undefined_text);
    frame_.append(R"(,"id":)");
    append_json_string(frame_, out.e.id().text());
    if (out.keep_time) {
        frame_.append(R"(,"createdAt":)")
            .append(std::to_string(out.e.created_at().time_since_epoch().count()));
    }
    if (out.confirmed) frame_.append(R"(,"confirm":)").append(std::to_string(out.number));
    if (out.resent) frame_.append(R"(,"resent":true)");
    frame_.append("}\n");
    if (frame_.size() > bus_.options().max_inbound_frame_bytes()) {
        ec = errc::payload_too_large;
        return false;
    }
    const bool full = to_->out.queued() > 0 && to_->out.queued() + frame_.size() >
                                                   bus_.options().max_remote_client_queued_bytes();
    const bool promised = out.resent || out.deadline != steady::time_point{};
    if (full && !promised) {
        ec = errc::queue_full;
        return false;
    }
    bus_.send(*to_, frame_);
    if (write_now) bus_.flush_dirty();
    const auto end = to_->out.appended();
    const bool left = to_->open() && to_->out.written() >= end;
    // Moved from, `out` has no completion any more: the answer comes later.
    if (out.confirmed && broker_ != kind::reference)
        bus_.await_confirmation(std::move(out));
    else if (!left && (out.done || !out.barriers.empty()))
        writing_.push_back({end, std::move(out)});  // of others the outbox knows enough
    if (!left) bus_.flush_soon();
    return true;
}

void link::written() {
    const auto written = to_->out.written();
    while (!writing_.empty() && writing_.front().end <= written) {
        bus_.finish(std::move(writing_.front().out.done), {});
        writing_.pop_front();
    }
}

// A frame that did not leave whole was never understood.
std::deque<outgoing> link::unwritten() {
    std::deque<outgoing> rest;
    auto kept = std::exchange(writing_, {});
    frame_scanner scanner;
    to_->out.each_unwritten_line([&](std::string_view line, std::uint64_t end) {
        if (!kept.empty() && kept.front().end == end) {
            rest.push_back(std::move(kept.front().out));
            kept.pop_front();
            return;
        }
        const auto* f = scanner.scan(line);
        if (f == nullptr || f->kind != frame_kind::publish) return;
        if (f->number != 0 && broker_ != kind::reference) return;  // awaits its confirmation
        auto e = read_published(*f, f->id, created_at_of(*f, bus_.now_ms()));
        if (!e) return;
        outgoing out;
        out.topic = f->topic;
        out.e = std::move(*e);
        out.keep_time = !f->created_at.empty();
        rest.push_back(std::move(out));
    });
    return rest;
}

std::vector<std::shared_ptr<void>> link::take_barriers() {
    std::vector<std::shared_ptr<void>> taken;
    for (auto& b : std::exchange(barriers_, {})) {
        if (b.released != nullptr) taken.push_back(std::move(b.released));
    }
    return taken;
}

bool link::owns(std::uint64_t token) const noexcept {
    return broker_ == kind::trunkline && token >> ordinal_bits == life_;
}

// --- what the broker sends -----------------------------------------------------------------------

void link::handle(const frame& f, std::string_view line, const std::shared_ptr<void>& room) {
    const auto group = f.has_group ? std::optional(f.group) : std::nullopt;
    switch (f.kind) {
        case frame_kind::event:
            deliver(f, room);
            break;
        case frame_kind::subscribed:
            bus_.announced(f.topic, group);
            break;
        case frame_kind::unsubscribed:
            if (f.topic == barrier_topic) barrier_passed(f.group);
            break;
        case frame_kind::confirmed:
            bus_.confirmed(f.number, {});
            break;
        case frame_kind::extension:
            handle_extension(line);
            break;
        case frame_kind::subscribe:
        case frame_kind::unsubscribe:
        case frame_kind::publish:
        case frame_kind::received:
        case frame_kind::unknown:
            break;
    }
}

void link::deliver(const frame& f, const std::shared_ptr<void>& room) {
    if (broker_ == kind::trunkline) {
        ++events_received_;
        owes_receipt_ = owes_receipt_ || f.number != 0;
        if (f.has_group) ++group_events_received_;
    }
    const std::uint64_t token = f.has_group && broker_ == kind::trunkline
                                    ? life_ << ordinal_bits | group_events_received_
                                    : 0;
    auto e = read_event(f.event, bus_.now_ms());
    if (!e || bus_.came_before(*e, f.topic, f.group, f.resent)) {
        bus_.settled(token);
        return;
    }
    auto* t = bus_.local().find(f.topic);
    if (!f.has_group) {
        if (t != nullptr) bus_.give_everyone(*t, *e, room);
        return;
    }
    if (t == nullptr || !bus_.give_group(*t, f.group, *e, token, room)) {
        // The subscription ended while the event was on its way.
        if (token != 0) report({&token, 1}, "trunkline.returned");
    }
}

void link::report(std::span<const std::uint64_t> tokens, std::string_view type) {
    frame_.clear();
    for (const auto token : tokens) {
        if (token >> ordinal_bits != life_) continue;  // of an earlier broker
        frame_.append(frame_.empty() ? "" : ",").append(std::to_string(token & ordinal_mask));
    }
    if (frame_.empty() || broker_ != kind::trunkline) return;
    bus_.send(
        *to_, std::string(R"({"type":")").append(type).append(R"(","numbers":[)") + frame_ + "]}\n"
    );
}

void link::end_turn() {
    if (!std::exchange(owes_receipt_, false)) return;
    frame_ = R"({"type":"trunkline.received","number":)" + std::to_string(events_received_) + "}\n";
    bus_.send(*to_, frame_);
}

void link::handle_extension(std::string_view line) {
    const auto fields = read_object(line);
    if (!fields) {
        ++bus_.numbers.frames_ignored;
        return;
    }
    const auto type = text_of(*fields, "type");
    const auto take_members = [&] {
        const auto* members = array_of(*fields, "members");
        if (members == nullptr) return;
        std::vector<std::string> there;
        for (const auto& m : *members) {
            if (m.is_string() && std::string_view(m.get_string()) != bus_.member_id())
                there.emplace_back(m.get_string());
        }
        if (!there.empty()) broker_member_ = there.front();  // it comes first
        bus_.others.set(there, steady::now());
    };
    if (type == "trunkline.welcome") {
        know_broker(true);
        take_members();
    } else if (type == "trunkline.members") {
        take_members();
    } else if (type == "trunkline.succeed") {
        bus_.post_to_sockets([](core& self) { self.succeed(); });
    } else if (type == "trunkline.unconfirmed") {
        const auto* number = fields->if_contains("number");
        if (number != nullptr && number->is_int64() && number->get_int64() > 0)
            bus_.confirmed(static_cast<std::uint64_t>(number->get_int64()), errc::broker_lost);
    }
}

void link::answer_succession(bool taken) {
    frame_ = R"({"type":"trunkline.succession","taken":)";
    frame_.append(taken ? "true" : "false").append("}\n");
    bus_.send(*to_, frame_);
}

void link::know_broker(bool trunkline) {
    if (trunkline) {  // late or not: it comes before any event that is counted
        broker_ = kind::trunkline;
        return;
    }
    if (broker_ != kind::unknown) return;
    broker_ = kind::reference;
    // There will be no confirmation: sent is all that can be known.
    bus_.others.clear();
    bus_.confirmed(UINT64_MAX, {});
}

// --- barriers ------------------------------------------------------------------------------------

void link::barrier(std::shared_ptr<void> released) {
    const auto number = ++last_barrier_;
    barriers_.push_back(
        {number, std::move(released), steady::now() + bus_.options().membership_ack_timeout()}
    );
    const auto group = "\"" + std::to_string(number) + "\"";
    unsubscribe(barrier_topic, group);
}

void link::barrier_passed(std::string_view group) {
    std::uint64_t number = 0;
    if (group.size() > 2)
        std::from_chars(group.data() + 1, group.data() + group.size() - 1, number);
    while (!barriers_.empty() && barriers_.front().number <= number) barriers_.pop_front();
    know_broker(false);
}

void link::expire(steady::time_point now) {
    while (!barriers_.empty() && barriers_.front().deadline <= now) {
        barriers_.pop_front();
        // An old one, which answers nothing; at the end it is not asked any more.
        if (now != steady::time_point::max()) know_broker(false);
    }
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
