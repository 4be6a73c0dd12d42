#include "backends/unix_socket/broker.hpp"
#include "backends/unix_socket/core.hpp"
#include "backends/unix_socket/link.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <unistd.h>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

namespace {

// Looks at the clock when somebody is waited for.
constexpr std::chrono::milliseconds urgent_tick{20};
constexpr std::chrono::milliseconds failed_join_pause{100};
// How long a broker that has a successor may take to leave, and one whose path was removed to put
// it back.
constexpr std::chrono::milliseconds succession_time{1000};
constexpr std::chrono::milliseconds absence_time{500};

}  // namespace

// --- joining -------------------------------------------------------------------------------------

void core::start_joining() {
    if (phase_ != phase::idle) return;
    set_phase(phase::joining);
    post_to_sockets([](core& self) { self.run_join(false); });
}

// Blocks the socket thread: there is no connection to serve meanwhile, and handlers go to the other
// one.
void core::run_join(bool lost) {
    std::optional<socket_path::listener> made;
    {
        const section held(*this);
        if (phase_ != phase::joining || std::exchange(looking_, true)) return;
        made = std::exchange(succession_, std::nullopt);
    }
    if (made)
        become_broker(std::move(*made));
    else
        look_for_broker(lost);
}

// Puts a listener of this process at the path, under the locks of an election: in place of that
// file, or where there is none. Nothing when others are at it.
std::optional<socket_path::listener> core::take_path(const std::optional<file_identity>& old) {
    error_code failure;
    const auto guard = take_guard(path_.guard(), failure);
    election_lock lock(path_.election_lock());
    if (!guard || lock.create(failure) != election_lock::state::created) return std::nullopt;
    auto made = path_.install(old, access_);
    if (made.error || made.overtaken) return std::nullopt;
    return made;
}

void core::succeed() {
    std::optional<file_identity> known;
    {
        const section held(*this);
        if (link_ == nullptr) return;
        known = link_->file();
    }
    auto made = options_.client_only() ? std::nullopt : take_path(known);
    const section held(*this);
    const bool same_broker = link_ != nullptr && link_->file() == known;
    if (made && (!same_broker || ending())) {
        path_.remove(made->file);
        made.reset();
    }
    if (!same_broker) return;
    succession_ = std::move(made);
    succession_until_ = steady::now() + succession_time;
    link_->answer_succession(succession_.has_value());
    end_turn();
}

// Somebody removed the path of this broker, which comes back before others contend for it. False
// when they are at it already.
bool core::restore_path() {
    auto made = take_path(std::nullopt);
    if (!made) return false;
    const section held(*this);
    if (broker_ == nullptr) {
        path_.remove(made->file);
        return true;
    }
    note(log_level::warn, "the path was removed and is there again", {{"path", path_.text()}});
    broker_->listen_at(std::move(*made));
    arm_tick();
    return true;
}

// Until this is a client, the broker, or over; `looking_` ends in the same section as that begins.
void core::look_for_broker(bool lost) {
    unique_fd guard;
    std::optional<election_lock> lock;
    std::optional<file_identity> refused;
    socket_path::connection made;
    socket_path::listener listening;
    error_code failure = path_.create_directory(access_);
    election e;
    auto next = failure ? election::step::failed : e.begin(lost);
    for (;;) {
        {
            const section held(*this);
            if (over()) {
                if (listening.fd) path_.remove(listening.file);
                looking_ = false;
                return;
            }
            expire(steady::now());
            if (closing_at_ && steady::now() >= *closing_at_) cut_short();
        }
        if (lock && !e.holds_lock()) lock.reset();
        if (guard && !e.holds_guard()) guard = {};
        switch (next) {
            case election::step::connect: {
                made = path_.connect();
                const auto problem = made.error.value();
                refused.reset();
                if (!made.error) {
                    next = e.connect_succeeded();
                } else if (problem == ECONNREFUSED || problem == ENOTSOCK ||
                           problem == EPROTOTYPE) {
                    refused = made.file;
                    next = e.connect_refused();
                } else if (problem == ENOENT) {
                    next = e.connect_absent();
                } else if (problem == EAGAIN) {
                    next = e.connect_busy();
                } else {
                    failure = made.error;
                    next = e.error();
                }
                break;
            }
            case election::step::pause: {
                std::unique_lock pausing(mutex_);
                hurry_.wait_for(pausing, e.pause(), [this] { return over(); });
                next = e.paused();
                break;
            }
            case election::step::take_guard:
                if (options_.client_only()) {
                    next = e.guarded(false);
                    break;
                }
                guard = take_guard(path_.guard(), failure);
                // Another user of a shared bus may not be its broker.
                if (failure.value() == EACCES && access_.group) failure = {};
                next = failure ? e.error() : e.guarded(static_cast<bool>(guard));
                break;
            case election::step::create_lock: {
                lock.emplace(path_.election_lock());
                const auto state = lock->create(failure);
                if (state == election_lock::state::failed)
                    next = e.error();
                else if (state == election_lock::state::created)
                    next = e.lock_created();
                else
                    next = e.lock_exists(state == election_lock::state::stale);
                break;
            }
            case election::step::remove_lock:
                lock->remove_stale();
                next = e.lock_removed();
                break;
            case election::step::install:
                listening = path_.install(refused, access_);
                failure = listening.error;
                if (failure)
                    next = e.error();
                else
                    next = listening.overtaken ? e.install_overtaken() : e.install_succeeded();
                break;
            case election::step::client:
                if (may_connect(made.fd.get())) {
                    lock.reset();
                    guard = {};
                    become_client(std::move(made.fd), made.file);
                    return;
                }
                failure = errc::permission_denied;
                next = e.error();
                break;
            case election::step::broker:
                lock.reset();
                guard = {};
                become_broker(std::move(listening));
                return;
            case election::step::failed: {
                if (join_failed(failure)) return;
                std::unique_lock pausing(mutex_);
                hurry_.wait_for(pausing, failed_join_pause, [this] { return over(); });
                pausing.unlock();
                failure = path_.create_directory(access_);
                next = failure ? election::step::failed : e.begin();
                break;
            }
        }
    }
}

bool core::may_connect(int fd) const {
    const auto peer = credentials_of(fd);
    if (!peer) return false;
    if (peer->user == ::geteuid() || peer->user == 0) return true;
    if (access_.group && peer->group == *access_.group) return true;
    const auto& also = options_.allow_users();
    return std::find(also.begin(), also.end(), peer->user) != also.end();
}

void core::become_client(unique_fd fd, const file_identity& file) {
    const section held(*this);
    looking_ = false;
    if (over()) return;
    auto c = std::make_shared<connection>(
        io(), std::move(fd), own_process, options_.max_inbound_frame_bytes()
    );
    static std::atomic<std::uint32_t> lives{0};
    link_ = std::make_unique<link>(*this, c, file, ++lives);
    absent_since_.reset();
    set_phase(phase::client);
    note(log_level::info, "joined as client", {{"path", path_.text()}});
    link_->introduce();
    send_pending();
    end_turn();
    watch(*c);
    if (!path_watch_) watch_path();
    arm_tick();
}

void core::become_broker(socket_path::listener&& made) {
    const section held(*this);
    looking_ = false;
    if (over()) {
        path_.remove(made.file);
        return;
    }
    broker_ = std::make_unique<broker>(*this, std::move(made));
    ++numbers.elections;
    set_phase(phase::broker);
    note(log_level::info, "joined as broker", {{"path", path_.text()}});
    local_.each_membership([&](const auto& topic, const auto& group, const auto&) {
        if (group) broker_->join_own(topic, *group);
        announced(topic, group);
    });
    broker_->start();
    send_pending();
    end_turn();
    if (!path_watch_) watch_path();
    arm_tick();
}

void core::send_pending() {
    for (auto& [done, deadline] : std::exchange(join_waiters_, {})) finish(std::move(done), {});
    // What was sent and not confirmed comes first, under its old number.
    auto again = std::exchange(unconfirmed_, {});
    for (auto& out : again) {
        out.resent = true;
        ++numbers.resent;
        route_or_send(std::move(out));
    }
    pending_bytes_ = 0;
    for (auto& out : std::exchange(pending_, {})) route_or_send(std::move(out));
    auto barriers = std::exchange(join_barriers_, {});
    for (auto& [barrier, deadline] : barriers) flush_network(barrier);
}

void core::route_or_send(outgoing&& out) {
    error_code ec;
    if (out.confirmed && out.number == 0) out.number = ++last_number_;
    const bool good = link_ != nullptr ? link_->publish(out, false, ec) : broker_->publish(out, ec);
    if (!good && !out.done) {  // its publisher was told "accepted" and hears no more of it
        context_->dropped.fetch_add(1, std::memory_order_relaxed);
        note(
            log_level::warn,
            "an accepted event was refused by the bus",
            {{"topic", out.topic}, {"error", ec.message()}}
        );
    }
    finish(std::move(out.done), ec);
    // Many at once must not look like a queue that nobody reads.
    flush_dirty();
}

bool core::join_failed(error_code ec) {
    const section held(*this);
    if (over()) {
        looking_ = false;
        return true;
    }
    note(log_level::warn, "cannot join the bus", {{"path", path_.text()}, {"error", ec.message()}});
    for (auto& [done, deadline] : std::exchange(join_waiters_, {})) finish(std::move(done), ec);
    for (auto& out : std::exchange(pending_, {})) {
        context_->dropped.fetch_add(out.done ? 0 : 1, std::memory_order_relaxed);
        finish(std::move(out.done), ec);
    }
    pending_bytes_ = 0;
    confirmed(UINT64_MAX, ec);
    for (auto& [barrier, deadline] : std::exchange(join_barriers_, {}))
        released_.push_back(std::move(barrier));
    bool members = false;
    local_.each_membership([&](const auto&, const auto&, auto& list) {
        members = true;
        for (auto& m : list) {
            if (m->state == member::standing::waiting) refuse_waiting(*m, ec);
        }
    });
    if (members) return false;
    set_phase(phase::idle);
    looking_ = false;
    return true;
}

void core::refuse_waiting(member& m, error_code ec) {
    for (auto& done : std::exchange(m.ready_waiters, {})) finish(std::move(done), ec);
    m.problem = ec;
}

void core::join(completion done) {
    const section held(*this);
    switch (phase_) {
        case phase::closing:
        case phase::closed:
            finish(std::move(done), errc::closed);
            return;
        case phase::client:
        case phase::broker:
            finish(std::move(done), {});
            return;
        case phase::idle:
        case phase::joining:
            break;
    }
    join_waiters_.emplace_back(std::move(done), steady::now() + options_.connect_timeout());
    start_joining();
}

// --- time ----------------------------------------------------------------------------------------

void core::arm_tick() {
    if (!tick_timer_) tick_timer_.emplace(io());
    const bool urgent =
        absent_since_ || succession_ || (broker_ != nullptr && broker_->urgent(steady::now()));
    const auto period = urgent ? std::min(urgent_tick, options_.broker_path_check_interval())
                               : options_.broker_path_check_interval();
    tick_timer_->expires_after(period);
    tick_timer_->async_wait([self = weak_from_this()](error_code ec) {
        const auto bus = self.lock();
        if (bus != nullptr && !ec) bus->tick();
    });
}

void core::tick() {
    std::optional<file_identity> there;
    {
        const section held(*this);
        if (phase_ != phase::client && phase_ != phase::broker) return;
        const auto now = steady::now();
        expire(now);
        if (broker_ != nullptr) broker_->tick(now);
        if (link_ != nullptr) link_->expire(now);
        there = identity_of(path_.effective());
        if (there || link_ == nullptr)
            absent_since_.reset();
        else if (!absent_since_)
            absent_since_ = now;
        // Its broker puts a path back that was removed, or leaves it to this process.
        const bool patient = (absent_since_ && now < *absent_since_ + absence_time) ||
                             (succession_ && now < succession_until_);
        if (patient || there == path_file()) {
            end_turn();
            arm_tick();
            return;
        }
    }
    if (!there && role() == bus_role::broker && restore_path()) return;
    {
        const section held(*this);
        if (phase_ != phase::client && phase_ != phase::broker) return;
        const auto now = steady::now();
        note(log_level::warn, "the path belongs to another broker now", {{"path", path_.text()}});
        if (broker_ != nullptr) {
            broker_->step_down();
            broker_.reset();
            look_again(now + options_.connect_timeout());
        } else {
            lose_link();
        }
    }
    run_join(false);
}

// The file that the path should be.
std::optional<file_identity> core::path_file() const {
    if (broker_ != nullptr) return broker_->file();
    return link_ != nullptr ? std::optional(link_->file()) : std::nullopt;
}

// Looking at the path now and then is enough; being told is quicker.
void core::watch_path() {
    if (!path_watch_) {
        auto watch = path_.watch_directory();
        if (!watch) return;
        path_watch_.emplace(io(), watch.release());
    }
    path_watch_->async_wait(
        boost::asio::posix::stream_descriptor::wait_read,
        [self = weak_from_this()](error_code ec) {
            const auto bus = self.lock();
            if (bus == nullptr || ec) return;
            bool concerned = false;
            {
                const section held(*bus);
                if (!bus->path_watch_) return;
                concerned = bus->path_.concerns_socket(bus->path_watch_->native_handle());
                bus->watch_path();
            }
            if (concerned) bus->tick();
        }
    );
}

void core::expire(steady::time_point now) {
    const auto late = [now](const auto& entry) { return entry.second <= now; };
    for (auto& entry : join_waiters_) {
        if (late(entry)) finish(std::move(entry.first), errc::broker_lost);
    }
    std::erase_if(join_waiters_, late);
    for (auto& entry : join_barriers_) {
        if (late(entry)) released_.push_back(std::move(entry.first));
    }
    std::erase_if(join_barriers_, late);
    while (!pending_.empty() && pending_.front().deadline <= now) {
        auto out = std::move(pending_.front());
        pending_.pop_front();
        pending_bytes_ -= std::min(pending_bytes_, out.e.size_bytes());
        if (!out.done) {
            context_->dropped.fetch_add(1, std::memory_order_relaxed);
            note(log_level::warn, "event dropped, there is no broker", {{"topic", out.topic}});
        }
        finish(std::move(out.done), errc::broker_lost);
        for (auto& barrier : out.barriers) released_.push_back(std::move(barrier));
    }
    while (phase_ == phase::joining && !unconfirmed_.empty() && unconfirmed_.front().deadline <= now
    )
        confirmed(unconfirmed_.front().number, errc::broker_lost);
    local_.each_membership([&](const auto&, const auto&, auto& members) {
        for (auto& m : members) {
            if (m->state != member::standing::waiting || m->deadline > now) continue;
            if (phase_ == phase::client) {  // an old broker obeys without answering
                m->state = member::standing::announced;
                for (auto& done : std::exchange(m->ready_waiters, {})) finish(std::move(done), {});
            } else {
                refuse_waiting(*m, errc::broker_lost);
            }
        }
    });
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
