#include "backends/unix_socket/broker.hpp"

#include "backends/unix_socket/json_object.hpp"

#include <trunkline/json_text.hpp>
#include <trunkline/wall_time.hpp>

#include <boost/system/system_error.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <sys/socket.h>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

namespace {

using std::chrono::milliseconds;

// How long a new broker waits for the members of the last one before it routes.
constexpr milliseconds hold_max{500};
// A client over the soft limit that reads less than this in this time is not waited for.
constexpr milliseconds stall_time{100};
constexpr std::size_t stall_bytes = std::size_t{256} << 10;
constexpr std::size_t soft_max = std::size_t{1} << 20;
// A member's name for itself is a UUID.
constexpr std::size_t member_bytes_max = 64;
// Members that a new broker waits for.
constexpr std::size_t members_max = 4096;
// Newcomers before others have their turn.
constexpr int accepts_per_turn = 64;
// Memberships of one client.
constexpr std::size_t memberships_max = 65'536;

}  // namespace

broker::broker(core& bus, socket_path::listener&& made)
    : bus_(bus), listener_(bus.io(), made.fd.release()), file_(made.file) {
    expect(bus_.others.expected(steady::now()));
}

broker::~broker() = default;

void broker::start() {
    listener_.async_wait(
        boost::asio::posix::stream_descriptor::wait_read,
        [self = bus_.weak_from_this(), this](error_code ec) {
            const auto bus = self.lock();
            if (ec || bus == nullptr) return;
            const core::section held(*bus);
            if (bus->broker_.get() != this) return;
            accept();
        }
    );
}

// Members of the last broker's bus: nothing is routed before they are here, for a while.
void broker::expect(const std::vector<std::string>& members) {
    const auto now = steady::now();
    if (now >= began_at_ + settling_time) return;
    for (const auto& m : members) {
        if (expected_.size() == members_max) break;
        if (m != bus_.member_id() && !came_.contains(m)) expected_.insert(m);
    }
    if (expected_.empty() || holding_) return;
    holding_ = true;
    hold_until_ = now + hold_max;
    bus_.arm_tick();
}

void broker::accept() {
    for (int i = 0; i < accepts_per_turn; ++i) {
        unique_fd fd(
            ::accept4(listener_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)
        );
        if (!fd) {
            if (errno == EINTR || errno == ECONNABORTED) continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK) {
                bus_.note(
                    log_level::error,
                    "cannot accept a connection",
                    {{"error", error_code(errno, boost::system::system_category()).message()}}
                );
                accept_paused_ = true;  // goes on with the next look at the clock
                return;
            }
            break;
        }
        accepted(std::move(fd));
    }
    start();
}

void broker::accepted(unique_fd fd) {
    if (!bus_.may_connect(fd.get())) {
        ++bus_.numbers.peers_refused;
        const auto who = credentials_of(fd.get());
        bus_.note(
            log_level::warn,
            "a process of another user was refused",
            {{"user", who ? std::to_string(who->user) : "unknown"}}
        );
        return;
    }
    const auto id = ++last_peer_;
    auto& p = peers_[id];
    p.c = std::make_shared<connection>(
        bus_.io(), std::move(fd), id, bus_.options().max_inbound_frame_bytes()
    );
    bus_.watch(*p.c);
}

broker::peer* broker::find(peer_id who) {
    const auto at = peers_.find(who);
    return at != peers_.end() ? &at->second : nullptr;
}

void broker::join_own(std::string_view topic, std::string_view group) {
    table_.join(own_process, topic, group);
}

void broker::leave_own(std::string_view topic, std::string_view group) {
    table_.leave(own_process, topic, group);
}

std::size_t broker::queued_bytes() const {
    std::size_t sum = 0;
    for (const auto& [id, p] : peers_) sum += p.c->out.queued();
    return sum;
}

// --- frames of clients ---------------------------------------------------------------------------

void broker::handle(
    connection& from, const frame& f, std::string_view line, std::shared_ptr<void>& room
) {
    auto* p = find(from.who());
    if (p == nullptr) return;
    const auto group = f.has_group ? std::optional(f.group) : std::nullopt;
    const auto answer = [&](std::string_view type) {
        frame_ = R"({"type":")";
        frame_.append(type).append(R"(","topic":)").append(f.topic);
        if (group) frame_.append(R"(,"group":)").append(*group);
        frame_.append("}\n");
        send_limited(*p, frame_);
    };
    switch (f.kind) {
        case frame_kind::subscribe:
            if (p->memberships >= memberships_max) {
                bus_.note(log_level::warn, "a client has too many subscriptions; one is ignored");
                return;
            }
            if (table_.join(from.who(), f.topic, group)) ++p->memberships;
            answer("subscribed");
            return;
        case frame_kind::unsubscribe:
            // Its answer says that everything sent before has been routed.
            if (holding_ && hold(from.who(), line)) return;
            if (table_.leave(from.who(), f.topic, group)) --p->memberships;
            answer("unsubscribed");
            return;
        case frame_kind::publish:
            if (holding_ && hold(from.who(), line)) return;
            publish_from(find(from.who()), from.who(), f, room);
            return;
        case frame_kind::received:
            while (!p->receipts.empty() && p->receipts.front().first <= f.number) {
                auto r = std::move(p->receipts.front().second);
                p->receipts.pop_front();
                receipt_ended(r, false);
            }
            return;
        case frame_kind::extension:
            handle_extension(*p, line);
            return;
        case frame_kind::subscribed:
        case frame_kind::unsubscribed:
        case frame_kind::event:
        case frame_kind::confirmed:
        case frame_kind::unknown:
            return;
    }
}

// Keeps a line until the members of the last broker have come; false when that has just ended.
bool broker::hold(peer_id from, std::string_view line) {
    if (held_bytes_ + line.size() > bus_.options().max_remote_client_queued_bytes()) {
        end_hold();
        return false;
    }
    held_bytes_ += line.size();
    held_.push_back({from, std::string(line)});
    return true;
}

void broker::handle_extension(peer& from, std::string_view line) {
    const auto fields = read_object(line);
    if (!fields) {
        ++bus_.numbers.frames_ignored;
        return;
    }
    const auto type = text_of(*fields, "type");
    if (type == "trunkline.hello") {
        const auto member = text_of(*fields, "member");
        if (member.empty() || member.size() > member_bytes_max || !from.member.empty()) return;
        from.member = member;
        members_changed_ = true;
        frame_ = R"({"type":"trunkline.welcome","version":1,"members":[)";
        append_json_string(frame_, bus_.member_id());
        frame_.append("]}\n");
        send_limited(from, frame_);
    } else if (type == "trunkline.recent") {
        note_recent(text_of(*fields, "keys"));
    } else if (type == "trunkline.ready") {
        if (steady::now() < began_at_ + settling_time && came_.size() < members_max)
            came_.insert(from.member);
        expected_.erase(from.member);
        if (holding_ && expected_.empty()) end_hold();
    } else if (type == "trunkline.roster") {
        const auto* members = array_of(*fields, "members");
        if (members == nullptr) return;
        std::vector<std::string> names;
        for (const auto& m : *members) {
            if (m.is_string() && m.get_string().size() <= member_bytes_max)
                names.emplace_back(m.get_string());
        }
        expect(names);
    } else if (type == "trunkline.succession") {
        if (heirs_.empty() || heirs_.front() != from.c->who()) return;
        heirs_.pop_front();
        const auto* taken = fields->if_contains("taken");
        if (taken != nullptr && taken->is_bool() && taken->get_bool())
            give_up_handing_over();
        else
            ask_next_heir();
    } else if (type == "trunkline.settled" || type == "trunkline.returned") {
        const auto* numbers = array_of(*fields, "numbers");
        if (numbers == nullptr) return;
        for (const auto& n : *numbers) {
            if (n.is_int64() && n.get_int64() > 0)
                settle(
                    from, static_cast<std::uint64_t>(n.get_int64()), type == "trunkline.returned"
                );
        }
    }
}

void broker::announce_members() {
    frame_ = R"({"type":"trunkline.members","members":[)";
    append_json_string(frame_, bus_.member_id());
    std::vector<std::string> there;
    for (const auto& [id, p] : peers_) {
        if (p.member.empty()) continue;
        frame_.push_back(',');
        append_json_string(frame_, p.member);
        there.push_back(p.member);
    }
    frame_.append("]}\n");
    bus_.others.set(there, steady::now());
    const auto text = std::exchange(frame_, {});
    for (auto& [id, p] : peers_) {
        if (!p.member.empty()) send_limited(p, text);
    }
}

// --- slow and lost clients -----------------------------------------------------------------------

std::size_t broker::soft_limit() const noexcept {
    return std::min(soft_max, bus_.options().max_remote_client_queued_bytes() / 4);
}

void broker::note_congestion(peer& p) {
    if (p.congested || p.c->out.queued() <= soft_limit()) return;
    p.congested = true;
    p.stalled = false;
    p.mark_written = p.c->out.written();
    p.mark_time = steady::now();
    if (++congested_ == 1) bus_.arm_tick();
}

void broker::relieve(peer& p) {
    for (auto& r : std::exchange(p.wait_for_room, {})) bus_.released_.push_back(std::move(r));
}

void broker::written(connection& to) {
    auto* p = find(to.who());
    if (p == nullptr) return;
    while (!p->barriers.empty() && p->barriers.front().end <= to.out.written()) {
        bus_.released_.push_back(std::move(p->barriers.front().released));
        p->barriers.pop_front();
    }
    if (!p->congested || to.out.queued() > soft_limit() / 2) return;
    p->congested = false;
    p->stalled = false;
    --congested_;
    relieve(*p);
}

void broker::tick(steady::time_point now) {
    if (std::exchange(accept_paused_, false)) start();
    if (holding_ && now >= hold_until_) end_hold();
    if (!came_.empty() && now >= began_at_ + settling_time) came_.clear();
    if (!taken_.empty() && now >= began_at_ + bus_.options().connect_timeout()) taken_.clear();
    for (auto& [id, p] : peers_) {
        while (!p.barriers.empty() && (p.stalled || p.barriers.front().deadline <= now)) {
            bus_.released_.push_back(std::move(p.barriers.front().released));
            p.barriers.pop_front();
        }
        if (!p.congested || now - p.mark_time < stall_time) continue;
        const auto enough =
            std::min(stall_bytes, bus_.options().max_remote_client_queued_bytes() / 64);
        p.stalled = p.c->out.written() - p.mark_written < enough;
        p.mark_written = p.c->out.written();
        p.mark_time = now;
        if (p.stalled) relieve(p);
    }
}

void broker::drop(peer& p, std::string_view why) {
    if (!p.c->open()) return;
    ++bus_.numbers.clients_dropped;
    bus_.note(
        log_level::warn,
        "a client was disconnected",
        {{"why", std::string(why)}, {"queued", std::to_string(p.c->out.queued())}}
    );
    settle_receipts(p, true);
    p.c->out.clear();
    p.c->close();
    bus_.lose_soon(*p.c);
}

void broker::lost(const std::shared_ptr<connection>& c) {
    const auto at = peers_.find(c->who());
    if (at == peers_.end() || at->second.c != c) return;
    auto p = std::move(at->second);
    peers_.erase(at);
    c->close();
    if (p.congested) --congested_;
    relieve(p);
    for (auto& b : p.barriers) bus_.released_.push_back(std::move(b.released));
    table_.drop(c->who());
    // Whoever left is no target any more.
    settle_receipts(p, false);
    for (const auto& d : p.group_deliveries) {
        if (!d.settled) reroute(d, c->who());
    }
    if (!p.member.empty()) {
        members_changed_ = true;
        expected_.erase(p.member);
    }
    bus_.released_.push_back(c);
    if (!heirs_.empty() && heirs_.front() == c->who()) ask_next_heir();
}

// --- confirmations -------------------------------------------------------------------------------

void broker::settle_receipts(peer& p, bool failed) {
    for (auto& [ordinal, r] : std::exchange(p.receipts, {})) receipt_ended(r, failed);
}

void broker::receipt_ended(const std::shared_ptr<confirmation>& r, bool failed) {
    r->failed = r->failed || failed;
    if (--r->remaining == 0) progress(r->publisher);
}

std::deque<std::shared_ptr<broker::confirmation>>* broker::publishes_of(peer_id publisher) {
    if (publisher == own_process) return &own_publishes_;
    auto* p = find(publisher);
    return p != nullptr ? &p->publishes : nullptr;
}

void broker::progress(peer_id publisher) {
    auto* publishes = publishes_of(publisher);
    if (publishes == nullptr) return;
    while (!publishes->empty() && publishes->front()->remaining == 0) {
        const auto r = std::move(publishes->front());
        publishes->pop_front();
        if (publisher == own_process) {
            bus_.confirmed(r->number, r->failed ? error_code(errc::broker_lost) : error_code());
            continue;
        }
        auto& p = *find(publisher);
        if (r->failed) {
            // What came before it is confirmed first, then this one is not.
            tell_confirmed(p);
            send_limited(
                p,
                R"({"type":"trunkline.unconfirmed","number":)" + std::to_string(r->number) + "}\n"
            );
            continue;
        }
        if (p.owed_confirmation == 0) owes_confirmation_.push_back(publisher);
        p.owed_confirmation = r->number;
    }
}

void broker::tell_confirmed(peer& p) {
    if (p.owed_confirmation == 0) return;
    frame_ = R"({"type":"trunkline.confirmed","number":)" +
             std::to_string(std::exchange(p.owed_confirmation, 0)) + "}\n";
    send_limited(p, frame_);
}

void broker::end_turn() {
    for (const auto who : std::exchange(owes_confirmation_, {})) {
        if (auto* p = find(who)) tell_confirmed(*p);
    }
    if (std::exchange(members_changed_, false)) announce_members();
}

// --- taking over ---------------------------------------------------------------------------------

void broker::end_hold() {
    if (!std::exchange(holding_, false)) return;
    if (!expected_.empty())
        bus_.note(
            log_level::info,
            "members of the last broker did not come in time",
            {{"count", std::to_string(expected_.size())}, {"first", *expected_.begin()}}
        );
    expected_.clear();
    held_bytes_ = 0;
    // In the order of arrival of each publisher; own ones first.
    for (auto& out : std::exchange(held_own_, {})) {
        out.deadline = steady::now();
        error_code ec;
        publish(out, ec);
        bus_.finish(std::move(out.done), ec);
        for (auto& b : out.barriers) bus_.released_.push_back(std::move(b));
        bus_.flush_dirty();
    }
    frame_scanner scanner;
    std::shared_ptr<void> nobody_waits;
    for (const auto& h : std::exchange(held_, {})) {
        const auto* f = scanner.scan(h.line);
        if (f == nullptr) continue;
        // Whoever published and left meant it all the same.
        if (auto* p = find(h.from))
            handle(*p->c, *f, h.line, nobody_waits);
        else if (f->kind == frame_kind::publish)
            publish_from(nullptr, h.from, *f, nobody_waits);
        bus_.flush_dirty();
    }
    end_turn();
}

void broker::barrier(const std::shared_ptr<void>& released) {
    for (auto& [id, p] : peers_) {
        if (p.c->open() && !p.c->out.empty() && !p.stalled)
            p.barriers.push_back(
                {p.c->out.appended(), released, steady::now() + bus_.options().connect_timeout()}
            );
    }
    for (auto& out : held_own_) out.barriers.push_back(released);
}

void broker::release_barriers() {
    for (auto& [id, p] : peers_) {
        for (auto& b : std::exchange(p.barriers, {}))
            bus_.released_.push_back(std::move(b.released));
    }
    for (auto& out : held_own_) {
        for (auto& b : std::exchange(out.barriers, {})) bus_.released_.push_back(std::move(b));
    }
}

void broker::hand_over(std::shared_ptr<void> done) {
    handed_over_ = std::move(done);
    heirs_.clear();
    for (const auto& [id, p] : peers_) {
        if (!p.member.empty()) heirs_.push_back(id);
    }
    ask_next_heir();
}

void broker::ask_next_heir() {
    while (!heirs_.empty()) {
        auto* p = find(heirs_.front());
        if (p != nullptr && send_limited(*p, "{\"type\":\"trunkline.succeed\"}\n")) return;
        heirs_.pop_front();
    }
    give_up_handing_over();
}

void broker::give_up_handing_over() {
    heirs_.clear();
    bus_.released_.push_back(std::move(handed_over_));
}

void broker::listen_at(socket_path::listener&& made) {
    error_code ignored;  // nobody can reach it any more
    listener_.close(ignored);
    listener_.assign(made.fd.release());
    file_ = made.file;
    accept_paused_ = false;
    start();
}

void broker::step_down() {
    error_code ignored;  // nothing can be done about a close that fails
    listener_.close(ignored);
    auto waiting = std::exchange(held_own_, {});
    bus_.take_back(std::move(waiting));
    for (auto& [id, p] : peers_) {
        relieve(p);
        p.c->close();
        for (auto& b : p.barriers) bus_.released_.push_back(std::move(b.released));
        bus_.released_.push_back(std::move(p.c));
    }
    peers_.clear();
    give_up_handing_over();
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
