#include "backends/unix_socket/broker.hpp"

#include <boost/system/system_error.hpp>

#include <algorithm>
#include <charconv>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

namespace {

// Group events of an earlier broker that are remembered.
constexpr std::size_t taken_max = 262'144;
// Group events that one client has and did not settle.
constexpr std::size_t group_deliveries_max = 65'536;

// Around the members of an event: stamp, group and the names of fields.
constexpr std::size_t frame_overhead_max = 512;

}  // namespace

// --- routing -------------------------------------------------------------------------------------

void broker::publish_from(
    peer* from, peer_id publisher, const frame& f, std::shared_ptr<void>& room
) {
    auto id = std::string(f.id);
    if (id.empty()) id = event_id::random().text();
    const auto created = created_at_of(f, bus_.now_ms());
    std::optional<event> decoded;
    const auto local = [&]() -> const event* {
        decoded = read_published(f, id, created);
        return decoded ? &*decoded : nullptr;
    };
    const auto body = [&](std::string& out) {
        out.push_back('{');
        for (std::size_t i = 0; i < f.event.kept_count; ++i)
            out.append(f.event.kept[i]).push_back(',');
        append_stamp(out, id, created);
        out.push_back('}');
    };
    traffic what{f.topic, id, f.resent, nullptr};
    ++bus_.published;
    if (f.local_only) {
        if (auto* t = bus_.local().find(f.topic)) {
            if (const auto* e = local()) bus_.give_everyone(*t, *e, room);
        }
        if (from != nullptr && table_.has(publisher, f.topic, std::nullopt)) {
            body_.clear();
            body(body_);
            shared_ = nullptr;
            send_event(*from, what, nullptr);
        }
        return;
    }
    if (f.number != 0 && from != nullptr) {
        what.receipt = std::make_shared<confirmation>();
        what.receipt->number = f.number;
        what.receipt->publisher = publisher;
        what.receipt->remaining = 1;  // until it is routed
        from->publishes.push_back(what.receipt);
    }
    table_.route(f.topic, targets_);
    route(what, local, body, room);
    if (what.receipt != nullptr) receipt_ended(what.receipt, false);
    // A publisher that outruns a target which is reading is read later.
    if (congested_ == 0 || room == nullptr || find(publisher) == nullptr) return;
    for (const auto target : targets_.everyone) {
        auto* p = find(target);
        if (p != nullptr && p->congested && !p->stalled) p->wait_for_room.push_back(room);
    }
    for (const auto& g : targets_.groups) {
        auto* p = find(g.member);
        if (p != nullptr && p->congested && !p->stalled) p->wait_for_room.push_back(room);
    }
}

bool broker::publish(outgoing& out, error_code& ec) {
    const bool must = out.resent || out.deadline != steady::time_point{};  // accepted before
    if (holding_) {
        if (held_own_.size() >= bus_.options().pending_limit() && !must) {
            ec = errc::queue_full;
            return false;
        }
        held_own_.push_back(std::move(out));
        return true;
    }
    table_.route(out.topic, targets_);
    own_.clear();
    if (goes_elsewhere()) {
        try {
            append_event_members(own_, out.e);
        } catch (const boost::system::system_error& problem) {
            ec = problem.code();
            return false;
        }
        if (own_.size() + out.topic.size() + frame_overhead_max >
            bus_.options().max_inbound_frame_bytes()) {
            ec = errc::payload_too_large;
            return false;
        }
    }
    auto* t = bus_.local().find(out.topic);
    const bool awaited = static_cast<bool>(out.done);

    // Own queues first: an event is refused whole or taken whole.
    auto worst = subscriber::admission::yes;
    if (t != nullptr) {
        for (const auto& m : t->everyone)
            worst = std::max(worst, m->admit(out.e, awaited, out.origin));
        for (auto& g : t->groups) {
            const bool picked =
                std::any_of(targets_.groups.begin(), targets_.groups.end(), [&](const auto& pick) {
                    return pick.member == own_process && pick.group == g.name;
                });
            if (picked)
                worst = std::max(
                    worst, g.members[g.cursor % g.members.size()]->admit(out.e, awaited, out.origin)
                );
        }
    }
    std::vector<peer*> slow;
    if (congested_ != 0) {
        const auto look = [&](peer_id who) {
            auto* p = find(who);
            if (p != nullptr && p->congested && !p->stalled) slow.push_back(p);
        };
        for (const auto who : targets_.everyone) look(who);
        for (const auto& g : targets_.groups) look(g.member);
    }
    if (!must) {
        if (worst == subscriber::admission::would_deadlock) {
            ec = errc::would_deadlock;
            return false;
        }
        if (worst == subscriber::admission::full || (!slow.empty() && !awaited)) {
            ec = errc::queue_full;
            return false;
        }
    }
    std::shared_ptr<void> room;
    if (awaited && !out.confirmed &&
        (worst == subscriber::admission::after_room || !slow.empty())) {
        room = when_released([context = bus_.context_,
                              done = std::make_shared<completion>(std::move(out.done))] {
            boost::asio::post(context->executor(), [done] { (*done)({}); });
        });
        for (auto* p : slow) p->wait_for_room.push_back(room);
    }

    const auto id = out.e.id().text();
    traffic what{out.topic, id, out.resent, nullptr};
    if (out.confirmed) {
        what.receipt = std::make_shared<confirmation>();
        what.receipt->number = out.number;
        what.receipt->remaining = 1;
        own_publishes_.push_back(what.receipt);
    }
    const auto local = [&]() -> const event* { return &out.e; };
    const auto body = [&](std::string& to) {
        to.push_back('{');
        to.append(own_).push_back(',');
        append_stamp(to, id, out.e.created_at().time_since_epoch().count());
        to.push_back('}');
    };
    route(what, local, body, room);
    if (t == nullptr && targets_.none()) ++bus_.unheard;
    if (!out.confirmed) return true;
    bus_.await_confirmation(std::move(out));
    receipt_ended(what.receipt, false);
    return true;
}

bool broker::goes_elsewhere() const {
    return !targets_.everyone.empty() ||
           std::any_of(targets_.groups.begin(), targets_.groups.end(), [](const auto& g) {
               return g.member != own_process;
           });
}

// To `targets_`.
template <class Local, class Body>
void broker::route(
    const traffic& what, Local&& local, Body&& body, const std::shared_ptr<void>& room
) {
    if (what.resent)
        std::erase_if(targets_.groups, [&](const auto& g) {
            return is_taken(what.id, what.topic, g.group);
        });
    auto* t = bus_.local().find(what.topic);
    const bool remote = goes_elsewhere();
    body_.clear();
    shared_ = nullptr;
    if (remote) {
        body_.append(R"({"type":"event","topic":)").append(what.topic).append(R"(,"event":)");
        body(body_);
        if (body_.size() >= outbox::shared_min) shared_ = std::make_shared<std::string>(body_);
    }
    if (t != nullptr) {
        const event* e = nullptr;
        bool read = false;
        const auto get = [&]() -> const event* {
            if (!std::exchange(read, true)) e = local();
            return e;
        };
        if (!t->everyone.empty() && get() != nullptr &&
            !bus_.came_before(*e, what.topic, {}, what.resent))
            bus_.give_everyone(*t, *e, room);
        for (const auto& g : targets_.groups) {
            if (g.member != own_process || get() == nullptr) continue;
            if (bus_.came_before(*e, what.topic, g.group, what.resent)) continue;
            if (!bus_.give_group(*t, g.group, *e, 0, room))
                bus_.drop_group_event(what.topic, g.group);
        }
    }
    if (!remote) return;
    for (const auto who : targets_.everyone) {
        if (auto* p = find(who)) send_event(*p, what, nullptr);
    }
    for (const auto& g : targets_.groups) {
        if (g.member == own_process) continue;
        const std::string group(g.group);
        if (auto* p = find(g.member)) send_event(*p, what, &group);
    }
}

// A group event that some member has already is not given to another.
bool broker::is_taken(std::string_view id, std::string_view topic, std::string_view group) const {
    const auto key = core::key_of(event_id::from_text(id), topic, group);
    return taken_.contains(key) || bus_.recent_.has(key);
}

void broker::note_recent(std::string_view keys) {
    constexpr std::size_t digits = 16;
    for (; keys.size() >= digits && taken_.size() < taken_max; keys.remove_prefix(digits)) {
        std::uint64_t key = 0;
        std::from_chars(keys.data(), keys.data() + digits, key, 16);
        taken_.insert(key);
    }
}

void broker::append_tail(const traffic& what, const std::string* group) {
    if (group != nullptr) tail_.append(R"(,"group":)").append(*group);
    if (what.receipt != nullptr) tail_.append(R"(,"confirm":1)");
    if (what.resent) tail_.append(R"(,"resent":true)");
    tail_.append("}\n");
}

void broker::send_event(peer& to, const traffic& what, const std::string* group) {
    tail_.clear();
    append_tail(what, group);
    const auto limit = bus_.options().max_remote_client_queued_bytes();
    if (to.c->out.queued() + body_.size() + tail_.size() > limit) {
        drop(to, "its queue is over the limit");
        return;
    }
    if (shared_ != nullptr)
        bus_.send(*to.c, shared_);
    else
        bus_.send(*to.c, body_);
    bus_.send(*to.c, tail_);
    note_congestion(to);
    if (to.member.empty()) return;
    ++to.events_sent;
    if (what.receipt != nullptr) {
        ++what.receipt->remaining;
        to.receipts.emplace_back(to.events_sent, what.receipt);
    }
    if (group == nullptr) return;
    if (shared_ == nullptr) shared_ = std::make_shared<std::string>(body_);
    to.group_deliveries.push_back({std::string(what.topic), *group, shared_});
    to.group_bytes += body_.size();
    while (to.group_deliveries.size() > group_deliveries_max || to.group_bytes > limit) {
        to.group_bytes -= to.group_deliveries.front().body->size();
        to.group_deliveries.pop_front();
        ++to.group_first;
    }
}

bool broker::send_limited(peer& to, std::string_view text) {
    if (to.c->out.queued() + text.size() > bus_.options().max_remote_client_queued_bytes()) {
        drop(to, "its queue is over the limit");
        return false;
    }
    bus_.send(*to.c, text);
    return true;
}

// --- group events that were not finished ---------------------------------------------------------

void broker::settle(peer& p, std::uint64_t ordinal, bool returned) {
    if (ordinal < p.group_first) return;
    const auto at = ordinal - p.group_first;
    if (at >= p.group_deliveries.size()) return;
    auto& d = p.group_deliveries[at];
    if (std::exchange(d.settled, true)) return;
    if (returned) reroute(d, p.c->who());
    while (!p.group_deliveries.empty() && p.group_deliveries.front().settled) {
        p.group_bytes -= p.group_deliveries.front().body->size();
        p.group_deliveries.pop_front();
        ++p.group_first;
    }
}

void broker::reroute(const group_delivery& d, peer_id except) {
    const auto who = table_.pick(d.topic, d.group, except);
    if (!who) {
        bus_.drop_group_event(d.topic, d.group);
        return;
    }
    ++bus_.numbers.handed_on;
    const traffic what{d.topic, {}, false, nullptr};
    if (*who != own_process) {
        auto* p = find(*who);
        if (p == nullptr) return;
        body_ = *d.body;
        shared_ = d.body;
        send_event(*p, what, &d.group);
        return;
    }
    frame_scanner scanner;
    const auto line = *d.body + "}";
    const auto* f = scanner.scan(line);
    auto* t = bus_.local().find(d.topic);
    const auto e = f != nullptr ? read_event(f->event, bus_.now_ms()) : std::nullopt;
    if (!e || t == nullptr || !bus_.give_group(*t, d.group, *e, 0, nullptr))
        bus_.drop_group_event(d.topic, d.group);
}

bool broker::hand_on(
    std::string_view topic, std::string_view group, const event& e, peer_id except
) {
    const auto who = table_.pick(topic, group, except);
    auto* p = who ? find(*who) : nullptr;
    if (p == nullptr) return false;
    ++bus_.numbers.handed_on;
    const traffic what{topic, {}, false, nullptr};
    body_ = R"({"type":"event","topic":)";
    body_.append(topic).append(R"(,"event":{)");
    try {
        append_event_members(body_, e);
    } catch (const boost::system::system_error&) {
        return false;  // a live object, which cannot leave the process
    }
    body_.push_back(',');
    append_stamp(body_, e.id().text(), e.created_at().time_since_epoch().count());
    body_.push_back('}');
    shared_ = nullptr;
    const std::string name(group);
    send_event(*p, what, &name);
    return true;
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
