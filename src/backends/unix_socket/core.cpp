#include "backends/unix_socket/core.hpp"

#include "backends/unix_socket/broker.hpp"
#include "backends/unix_socket/link.hpp"
#include "backends/unix_socket/redelivery.hpp"
#include "contract/handler_frame.hpp"

#include <trunkline/detail/event_access.hpp>
#include <trunkline/json_text.hpp>

#include <boost/asio/post.hpp>
#include <boost/system/system_error.hpp>

#include <unistd.h>

#include <algorithm>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// Ids that are remembered against events that come twice.
constexpr std::size_t recent_max = 65'536;
// Of these, the group events that a new broker is told of.
constexpr std::size_t recent_in_groups_max = 4096;
// Redeliveries that wait for their time.
constexpr std::size_t redeliveries_max = 65'536;
// How long close waits for what is still to be written and confirmed.
constexpr milliseconds farewell_time{1000};
// Plain publishes closer together than this share writes.
constexpr microseconds burst_gap{20};
// Looks at the clock when somebody is waited for.
constexpr milliseconds urgent_tick{20};
// Bytes read from one peer before others have their turn.
constexpr int reads_per_turn = 4;
constexpr milliseconds failed_join_pause{100};

access_rules rules_of(const unix_socket_options& options) {
    access_rules rules;
    if (!options.group_access()) return rules;
    rules.directory_mode = 0750;
    rules.socket_mode = 0660;
    rules.group = *options.group_access();
    return rules;
}

}  // namespace

std::shared_ptr<core> core::make(unix_socket_options options) {
    auto made = std::make_shared<core>(std::move(options));
    made->rounds_ = std::make_shared<flush_rounds>(
        made->context_,
        [self = std::weak_ptr(made)](const std::shared_ptr<void>& barrier) {
            if (const auto bus = self.lock()) bus->mark_everything(barrier);
        }
    );
    return made;
}

void core::mark_everything(const std::shared_ptr<void>& barrier) {
    std::vector<std::shared_ptr<member>> all;
    {
        const section held(*this);
        local_.each_membership([&](const std::string&, const std::string*, const auto& members) {
            all.insert(all.end(), members.begin(), members.end());
        });
    }
    for (const auto& m : all) m->mark(barrier);
}

core::core(unix_socket_options options)
    : options_(std::move(options)),
      context_(std::make_shared<bus_context>(
          "unix_socket",
          options_.executor(),
          options_.clock(),
          options_.logger(),
          options_.id_source()
      )),
      path_(options_.path()),
      access_(rules_of(options_)),
      member_id_(event_id::random().text()),
      recent_(recent_max),
      recent_in_groups_(recent_in_groups_max) {}

core::~core() = default;

core::section::~section() {
    auto finished = std::exchange(of_.finished_, {});
    const auto released = std::exchange(of_.released_, {});
    lock_.unlock();
    for (auto& [done, ec] : finished) done(ec);
}

bus_role core::role() const {
    const std::lock_guard lock(mutex_);
    if (phase_ == phase::client) return bus_role::client;
    return phase_ == phase::broker ? bus_role::broker : bus_role::none;
}

void core::set_phase(phase next) {
    const auto role_of = [](phase p) {
        if (p == phase::client) return bus_role::client;
        return p == phase::broker ? bus_role::broker : bus_role::none;
    };
    const auto before = role_of(phase_);
    phase_ = next;
    const auto now = role_of(next);
    if (before == now || !options_.on_role()) return;
    boost::asio::post(context_->executor(), [tell = options_.on_role(), now] { tell(now); });
}

// --- publishing ----------------------------------------------------------------------------------

bool core::publish(
    std::string_view topic,
    event_draft&& draft,
    const publish_options& how,
    completion& done,
    error_code& ec
) {
    ec = {};
    if (how.local_only()) {
        const section held(*this);
        if (over())
            ec = errc::closed;
        else
            publish_locally(topic, std::move(draft), how);
        return true;
    }
    outgoing out;
    append_json_string(out.topic, topic);
    out.keep_time = detail::event_access::is_stamped(draft) ||
                    (how.keep_identity() && detail::event_access::has_time(draft));
    out.confirmed = how.confirmed();
    out.origin = handler_frame::innermost();
    context_->stamp(draft, how);
    out.e = detail::event_access::freeze(std::move(draft), 1);
    if (out.e.data().is_live()) {
        ec = errc::not_supported;
        return true;
    }
    // The estimate of a tree is only that; its text decides.
    const auto limit = options_.max_inbound_frame_bytes();
    if (out.e.data().size_bytes() > limit && out.e.data().text().size() > limit) {
        ec = errc::payload_too_large;
        return true;
    }
    const bool awaited = static_cast<bool>(done);
    const section held(*this);
    switch (phase_) {
        case phase::closing:
        case phase::closed:
            ec = errc::closed;
            return true;
        case phase::idle:
        case phase::joining:
            return accept_pending(std::move(out), done, ec);
        case phase::client:
        case phase::broker:
            break;
    }
    if (out.confirmed) {
        if (unconfirmed_.size() >= options_.pending_limit()) {
            ec = errc::queue_full;
            context_->refused.fetch_add(1, std::memory_order_relaxed);
            return true;
        }
        out.number = last_number_ + 1;
    }
    const auto now = steady::now();
    const bool write_now = awaited || now - last_direct_write >= burst_gap;
    out.done = std::move(done);
    const bool good =
        link_ != nullptr ? link_->publish(out, write_now, ec) : broker_->publish(out, ec);
    if (!good) {
        done = std::move(out.done);
        context_->refused.fetch_add(1, std::memory_order_relaxed);
        return true;
    }
    ++published;
    if (broker_ != nullptr) {
        if (write_now) {
            last_direct_write = now;
            flush_dirty();
        } else {
            flush_soon();
        }
    } else if (write_now) {
        last_direct_write = now;
    }
    // What was taken answers later; what was not is done.
    done = std::move(out.done);
    return !awaited || static_cast<bool>(done);
}

bool core::accept_pending(outgoing&& out, completion& done, error_code& ec) {
    const auto bytes = out.e.size_bytes();
    if (pending_.size() >= options_.pending_limit() ||
        (!pending_.empty() && pending_bytes_ + bytes > options_.max_remote_client_queued_bytes())) {
        ec = errc::queue_full;
        context_->refused.fetch_add(1, std::memory_order_relaxed);
        return true;
    }
    const bool awaited = static_cast<bool>(done);
    out.done = std::move(done);
    out.deadline = steady::now() + options_.connect_timeout();
    pending_bytes_ += bytes;
    pending_.push_back(std::move(out));
    ++published;
    start_joining();
    return !awaited;
}

void core::publish_locally(
    std::string_view topic, event_draft&& draft, const publish_options& how
) {
    context_->stamp(draft, how);
    const auto e = detail::event_access::freeze(std::move(draft), 1);
    std::string key;
    append_json_string(key, topic);
    ++published;
    auto* t = local_.find(key);
    if (t == nullptr) {
        ++unheard;
        return;
    }
    give_everyone(*t, e, nullptr);
    for (auto& g : t->groups) g.next().give(e, 0, nullptr);
}

void core::give_everyone(
    local_registry::topic& t, const event& e, const std::shared_ptr<void>& room
) {
    for (auto& m : t.everyone) m->give(e, 0, room);
}

bool core::give_group(
    local_registry::topic& t,
    std::string_view group,
    const event& e,
    std::uint64_t token,
    const std::shared_ptr<void>& room
) {
    auto* g = t.find(group);
    if (g == nullptr) return false;
    // Members that have just been stopped are skipped.
    for (auto tries = g->members.size(); tries > 0; --tries) {
        if (g->next().give(e, token, room)) return true;
    }
    return false;
}

std::uint64_t core::key_of(
    const event_id& id, std::string_view topic, std::string_view group
) noexcept {
    const auto of_group = group.empty() ? 0 : base::hash_text(group) * 31;
    return std::hash<event_id>{}(id) ^ base::hash_text(topic) ^ of_group;
}

bool core::came_before(
    const event& e, std::string_view topic, std::string_view group, bool resent
) {
    const auto key = key_of(e.id(), topic, group);
    if (resent && recent_.has(key)) {
        ++numbers.duplicates;
        return true;
    }
    recent_.note(key);
    if (!group.empty()) recent_in_groups_.note(key);
    return false;
}

// --- writing -------------------------------------------------------------------------------------

void core::mark_dirty(connection& c) {
    if (c.dirty) return;
    c.dirty = true;
    dirty_.push_back(c.shared_from_this());
}

void core::send(connection& to, std::string_view text) {
    to.out.append(text);
    mark_dirty(to);
}

void core::send(connection& to, shared_text text) {
    to.out.append(std::move(text));
    mark_dirty(to);
}

void core::flush_dirty() {
    // Writing may make others dirty; the two lists keep their memory.
    while (!dirty_.empty()) {
        std::swap(dirty_, being_written_);
        for (auto& c : being_written_) {
            c->dirty = false;
            write(*c);
        }
        being_written_.clear();
    }
}

void core::flush_soon() {
    if (std::exchange(flush_posted_, true)) return;
    boost::asio::post(io(), [self = shared_from_this()] {
        const section held(*self);
        self->flush_posted_ = false;
        self->end_turn();
    });
}

void core::write(connection& c) {
    if (!c.open() || c.write_waits || c.out.empty()) return;
    const auto result = c.write();
    if (result == connection::write_result::failed) {
        lose_soon(c);
        return;
    }
    if (result == connection::write_result::blocked) {
        c.write_waits = true;
        c.wait_writable([self = shared_from_this(), to = c.shared_from_this()](bool ok) {
            self->on_writable(to, ok);
        });
    }
    if (link_ != nullptr && &link_->to() == &c)
        link_->written();
    else if (broker_ != nullptr)
        broker_->written(c);
}

void core::on_writable(const std::shared_ptr<connection>& c, bool ok) {
    const section held(*this);
    c->write_waits = false;
    if (!ok || !c->open()) return;
    write(*c);
    end_turn();
}

void core::lose_soon(connection& c) {
    boost::asio::post(io(), [self = shared_from_this(), c = c.shared_from_this()] {
        self->lost(c);
    });
}

// --- reading: on the socket thread ---------------------------------------------------------------

void core::watch(connection& c) {
    c.wait_readable([self = shared_from_this(), from = c.shared_from_this()](bool ok) {
        self->on_readable(from, ok);
    });
}

void core::on_readable(const std::shared_ptr<connection>& c, bool ok) {
    bool ended = !ok;
    for (int turn = 0; turn < reads_per_turn && !ended; ++turn) {
        {
            const section held(*this);
            if (!c->open()) return;
        }
        const auto got = c->fill();
        ended = got == connection::read_result::ended;
        const bool read = got == connection::read_result::some || got == connection::read_result::all;
        if (read && !process(c)) return;
        if (got != connection::read_result::some) break;
    }
    if (ended) {
        lost(c);
        return;
    }
    const section held(*this);
    end_turn();
    if (c->open()) watch(*c);
}

// Handles the lines that are there. False when reading has to wait or is over.
bool core::process(const std::shared_ptr<connection>& c) {
    std::shared_ptr<void> room;
    while (const auto line = c->in.next()) {
        const auto* f = c->scanner.scan(*line);
        if (room == nullptr) {
            room = when_released([self = shared_from_this(), c] {
                boost::asio::post(self->io(), [self, c] { self->resume(c); });
            });
        }
        const section held(*this);
        if (!c->open()) return false;
        if (f == nullptr) {
            ++numbers.frames_ignored;
            continue;
        }
        if (link_ != nullptr && &link_->to() == c.get())
            link_->handle(*f, *line, room);
        else if (broker_ != nullptr)
            broker_->handle(*c, *f, *line, room);
        if (room.use_count() > 1) {  // some queue is full: its release goes on reading
            c->paused = true;
            end_turn();
            return false;
        }
    }
    if (c->in.overflow()) {
        log(log_level::warn,
            "a peer sent a frame over the limit and is disconnected",
            {{"limit", std::to_string(options_.max_inbound_frame_bytes())}});
        {
            const section held(*this);
            ++numbers.clients_dropped;
        }
        lost(c);
        return false;
    }
    return true;
}

void core::resume(const std::shared_ptr<connection>& c) {
    {
        const section held(*this);
        if (!std::exchange(c->paused, false) || !c->open()) return;
    }
    if (!process(c)) return;
    const section held(*this);
    end_turn();
    if (c->open()) watch(*c);
}

void core::end_turn() {
    if (broker_ != nullptr) broker_->end_turn();
    if (link_ != nullptr) {
        std::vector<std::uint64_t> tokens;
        {
            const std::lock_guard lock(settled_mutex_);
            tokens = std::exchange(settled_, {});
        }
        if (!tokens.empty()) link_->report(std::move(tokens), "trunkline.settled");
        link_->end_turn();
    }
    flush_dirty();
}

void core::lost(const std::shared_ptr<connection>& c) {
    {
        const section held(*this);
        if (link_ == nullptr || link_->shared() != c) {
            if (broker_ != nullptr) broker_->lost(c);
            c->close();
            end_turn();
            return;
        }
        c->close();
        released_.push_back(c);
        take_back(link_->unwritten());
        link_.reset();
        if (over()) return;
        log(log_level::info, "the broker is gone", {{"path", path_.text()}});
        set_phase(phase::joining);
    }
    run_join();
}

void core::take_back(std::deque<outgoing>&& unwritten) {
    const auto deadline = steady::now() + options_.connect_timeout();
    while (!unwritten.empty()) {
        auto& out = unwritten.back();
        out.resent = true;
        out.deadline = deadline;
        pending_bytes_ += out.e.size_bytes();
        pending_.push_front(std::move(out));
        unwritten.pop_back();
        ++numbers.resent;
    }
}

// --- joining -------------------------------------------------------------------------------------

void core::start_joining() {
    if (phase_ != phase::idle) return;
    set_phase(phase::joining);
    boost::asio::post(io(), [self = shared_from_this()] { self->run_join(); });
}

// Nothing else happens on the socket thread meanwhile: there is no connection to serve.
void core::run_join() {
    unique_fd guard;
    std::optional<election_lock> lock;
    std::optional<file_identity> refused;
    socket_path::connection made;
    socket_path::listener listening;
    error_code failure = path_.create_directory(access_);
    election e;
    auto next = failure ? election::step::failed : e.begin();
    for (;;) {
        {
            const section held(*this);
            if (over()) return;
            expire(steady::now());
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
                } else if (problem == ECONNREFUSED || problem == ENOTSOCK || problem == EPROTOTYPE) {
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
                    become_client(std::move(made.fd), made.file);
                    return;
                }
                failure = errc::permission_denied;
                next = e.error();
                break;
            case election::step::broker:
                become_broker(std::move(listening));
                return;
            case election::step::failed: {
                join_failed(failure, false);
                std::unique_lock pausing(mutex_);
                if (phase_ == phase::idle) return;
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
    if (over()) return;
    auto c = std::make_shared<connection>(
        io(), std::move(fd), own_process, options_.max_inbound_frame_bytes()
    );
    static std::atomic<std::uint32_t> lives{0};
    link_ = std::make_unique<link>(*this, c, file, ++lives);
    set_phase(phase::client);
    log(log_level::info, "joined as client", {{"path", path_.text()}});
    link_->introduce();
    send_pending();
    end_turn();
    watch(*c);
    arm_tick();
}

void core::become_broker(socket_path::listener&& made) {
    const section held(*this);
    if (over()) {
        path_.remove(made.file);
        return;
    }
    broker_ = std::make_unique<broker>(*this, std::move(made));
    ++numbers.elections;
    set_phase(phase::broker);
    log(log_level::info, "joined as broker", {{"path", path_.text()}});
    local_.each_membership([&](const std::string& topic, const std::string* group, auto& members) {
        if (group != nullptr) broker_->join_own(topic, *group);
        announced(topic, group != nullptr ? std::optional<std::string_view>(*group) : std::nullopt);
        static_cast<void>(members);
    });
    broker_->start();
    send_pending();
    end_turn();
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
    if (out.confirmed && out.number == 0) out.number = last_number_ + 1;
    const bool good =
        link_ != nullptr ? link_->publish(out, false, ec) : broker_->publish(out, ec);
    if (!good && ec == errc::queue_full && !out.done) {
        // It was accepted before: what is promised is kept, and the limit is the pending one.
        context_->dropped.fetch_add(1, std::memory_order_relaxed);
        log(log_level::warn, "an accepted event was dropped, a queue is full", {{"topic", out.topic}});
    }
    finish(std::move(out.done), ec);
}

void core::join_failed(error_code ec, bool final) {
    const section held(*this);
    if (over()) return;
    log(log_level::warn,
        "cannot join the bus",
        {{"path", path_.text()}, {"error", ec.message()}});
    for (auto& [done, deadline] : std::exchange(join_waiters_, {})) finish(std::move(done), ec);
    for (auto& out : std::exchange(pending_, {})) {
        context_->dropped.fetch_add(out.done ? 0 : 1, std::memory_order_relaxed);
        finish(std::move(out.done), ec);
    }
    pending_bytes_ = 0;
    released_.reserve(released_.size() + join_barriers_.size());
    for (auto& [barrier, deadline] : std::exchange(join_barriers_, {}))
        released_.push_back(std::move(barrier));
    bool members = false;
    local_.each_membership([&](const std::string&, const std::string*, auto& list) {
        members = true;
        for (auto& m : list) {
            if (m->state == member::standing::waiting) refuse_waiting(*m, ec);
        }
    });
    if (final || !members) set_phase(phase::idle);
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

// --- subscribing ---------------------------------------------------------------------------------

std::shared_ptr<subscription_state> core::subscribe(
    std::string_view topic, handler h, const subscribe_options& how
) {
    auto who = std::make_shared<member>(weak_from_this(), context_, topic, std::move(h), how);
    who->enroll();
    {
        const section held(*this);
        if (!over()) {
            who->deadline = steady::now() + options_.connect_timeout();
            const bool first = local_.add(who);
            const auto group = who->group() ? std::optional<std::string_view>(*who->group())
                                            : std::nullopt;
            if (phase_ == phase::broker) {
                if (group && first) broker_->join_own(who->topic(), *group);
                who->state = member::standing::announced;
            } else if (phase_ == phase::client) {
                who->deadline = steady::now() + options_.membership_ack_timeout();
                // One membership per topic and group: a later subscription shares its answer.
                const auto* t = local_.find(who->topic());
                const auto& list = group ? const_cast<local_registry::topic*>(t)->find(*group)->members
                                         : t->everyone;
                if (first)
                    link_->subscribe(who->topic(), group);
                else if (list.front()->state == member::standing::announced)
                    who->state = member::standing::announced;
                flush_dirty();
            } else {
                start_joining();
            }
            return who;
        }
        who->state = member::standing::refused;
        who->problem = errc::closed;
    }
    who->stop();
    return who;
}

void core::announced(std::string_view topic, std::optional<std::string_view> group) {
    auto* t = local_.find(topic);
    if (t == nullptr) return;
    auto* g = group ? t->find(*group) : nullptr;
    if (group && g == nullptr) return;
    for (auto& m : group ? g->members : t->everyone) {
        m->state = member::standing::announced;
        m->problem = {};
        for (auto& done : std::exchange(m->ready_waiters, {})) finish(std::move(done), {});
    }
}

void core::announce_all() {
    const auto deadline = steady::now() + options_.membership_ack_timeout();
    local_.each_membership([&](const std::string& topic, const std::string* group, auto& members) {
        for (auto& m : members) m->deadline = deadline;
        link_->subscribe(
            topic, group != nullptr ? std::optional<std::string_view>(*group) : std::nullopt
        );
    });
}

void core::when_ready(const std::shared_ptr<member>& who, completion done) {
    const section held(*this);
    if (who->state == member::standing::announced)
        finish(std::move(done), {});
    else if (who->problem)
        finish(std::move(done), who->problem);
    else if (!who->active() || over())
        finish(std::move(done), errc::closed);
    else
        who->ready_waiters.push_back(std::move(done));
}

void core::leave(const std::shared_ptr<member>& who) noexcept {
    {
        const section held(*this);
        for (auto& done : std::exchange(who->ready_waiters, {})) finish(std::move(done), errc::closed);
        const auto left = local_.remove(*who);
        released_.push_back(who);
        if (left == local_registry::left::was_last) {
            const auto group = who->group() ? std::optional<std::string_view>(*who->group())
                                            : std::nullopt;
            if (phase_ == phase::broker && group) broker_->leave_own(who->topic(), *group);
            if (phase_ == phase::client) {
                link_->unsubscribe(who->topic(), group);
                flush_dirty();
            }
        }
    }
    // Until a drain task has given back what it found, flush must not think that all is handled.
    rounds_->taken_out();
    auto rest = who->take_leftovers(when_released([rounds = rounds_] { rounds->handed_on(); }));
    if (!rest.empty() && who->group()) give_back(who, std::move(rest));
}

// --- settling and redelivery ---------------------------------------------------------------------

void core::settled(std::uint64_t token) noexcept {
    if (token == 0) return;
    {
        const std::lock_guard lock(settled_mutex_);
        settled_.push_back(token);
        if (settled_.size() > 1) return;
    }
    boost::asio::post(io(), [self = shared_from_this()] {
        const section held(*self);
        self->end_turn();
    });
}

void core::redeliver(
    const std::shared_ptr<member>& to, const event& e, std::uint64_t token
) noexcept {
    const auto delay = redelivery_delay(e.delivery_attempt());
    const section held(*this);
    if (over()) return;
    if (!delay || redeliveries_.size() >= redeliveries_max) {
        context_->exhausted.fetch_add(1, std::memory_order_relaxed);
        log(log_level::error,
            "event given up after its last delivery attempt",
            {{"topic", to->topic_name()},
             {"event", e.id().text()},
             {"attempt", std::to_string(e.delivery_attempt())}});
        settled(token);
        return;
    }
    rounds_->sent_on_its_way();
    context_->redelivered.fetch_add(1, std::memory_order_relaxed);
    const auto number = ++last_redelivery_;
    auto& entry = redeliveries_[number];
    entry.to = to;
    entry.e = e.with_attempt(e.delivery_attempt() + 1);
    entry.token = token;
    entry.timer = context_->time().async_wait_until(
        context_->time().now() + *delay,
        context_->executor(),
        completion{[self = shared_from_this(), number](error_code ec) {
            if (!ec) self->redelivery_due(number);
        }}
    );
}

void core::redelivery_due(std::uint64_t number) {
    redelivery due;
    const auto counted = when_released([rounds = rounds_] { rounds->handed_on(); });
    const section held(*this);
    const auto at = redeliveries_.find(number);
    if (at == redeliveries_.end()) {
        rounds_->taken_out();  // close has counted it already
        return;
    }
    due = std::move(at->second);
    redeliveries_.erase(at);
    if (due.to->give(due.e, due.token, nullptr)) return;
    if (due.to->group())
        hand_on(due.to->topic(), *due.to->group(), due.e, due.token);
    else
        settled(due.token);
}

// A group event whose subscription is gone: to another of this process, or of another process.
void core::hand_on(
    const std::string& topic, const std::string& group, const event& e, std::uint64_t token
) {
    auto* t = local_.find(topic);
    if (t != nullptr && give_group(*t, group, e, token, nullptr)) return;
    if (link_ != nullptr && token != 0) {
        link_->report({token}, "trunkline.returned");
        flush_soon();
        return;
    }
    if (broker_ != nullptr && broker_->hand_on(topic, group, e, own_process)) {
        flush_soon();
        return;
    }
    context_->dropped.fetch_add(1, std::memory_order_relaxed);
    log(log_level::warn,
        "event dropped, its group has no member left",
        {{"topic", topic}, {"group", group}});
}

void core::give_back(
    const std::shared_ptr<member>& from, std::vector<queued_event> events
) noexcept {
    rounds_->moved();
    const section held(*this);
    if (over()) return;
    for (auto& item : events) hand_on(from->topic(), *from->group(), item.e, item.token);
}

void core::confirmed(std::uint64_t number, error_code ec) {
    while (!unconfirmed_.empty() && unconfirmed_.front().number <= number) {
        auto out = std::move(unconfirmed_.front());
        unconfirmed_.pop_front();
        finish(std::move(out.done), ec);
        for (auto& barrier : out.barriers) released_.push_back(std::move(barrier));
    }
}

// --- time ----------------------------------------------------------------------------------------

void core::arm_tick() {
    if (!tick_timer_) tick_timer_.emplace(io());
    const auto period = broker_ != nullptr && broker_->urgent()
                            ? std::min(urgent_tick, options_.broker_path_check_interval())
                            : options_.broker_path_check_interval();
    tick_timer_->expires_after(period);
    tick_timer_->async_wait([self = weak_from_this()](error_code ec) {
        const auto bus = self.lock();
        if (bus != nullptr && !ec) bus->tick();
    });
}

void core::tick() {
    bool moved = false;
    {
        const section held(*this);
        if (phase_ != phase::client && phase_ != phase::broker) return;
        const auto now = steady::now();
        expire(now);
        if (broker_ != nullptr) broker_->tick(now);
        if (link_ != nullptr) link_->expire(now);
        const auto there = identity_of(path_.effective());
        const auto& known = broker_ != nullptr ? broker_->file() : link_->file();
        moved = there != known;
        if (!moved) {
            end_turn();
            arm_tick();
            return;
        }
        log(log_level::warn, "the path belongs to another broker now", {{"path", path_.text()}});
        if (broker_ != nullptr) {
            broker_->step_down();
            broker_.reset();
        } else {
            link_->to().close();
            released_.push_back(link_->shared());
            take_back(link_->unwritten());
            link_.reset();
        }
        set_phase(phase::joining);
    }
    run_join();
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
            log(log_level::warn, "event dropped, there is no broker", {{"topic", out.topic}});
        }
        finish(std::move(out.done), errc::broker_lost);
    }
    local_.each_membership([&](const std::string&, const std::string*, auto& members) {
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

// --- flush, close --------------------------------------------------------------------------------

void core::flush(completion done) {
    auto network = when_released([self = shared_from_this(),
                                  done = std::make_shared<completion>(std::move(done))] {
        boost::asio::post(self->context_->executor(), [self, done] {
            self->rounds_->start(std::move(*done));
        });
    });
    const section held(*this);
    flush_network(network);
}

// Released once everything published so far has left, and everything routed to this process before
// has arrived.
void core::flush_network(const std::shared_ptr<void>& barrier) {
    if (!unconfirmed_.empty()) unconfirmed_.back().barriers.push_back(barrier);
    if (phase_ == phase::client) {
        link_->barrier(barrier);
        end_turn();
    } else if (phase_ == phase::broker) {
        end_turn();
        broker_->barrier(barrier);
    } else if (phase_ == phase::joining && !pending_.empty()) {
        join_barriers_.emplace_back(barrier, steady::now() + options_.connect_timeout());
    }
}

void core::close(completion done) {
    auto network = when_released([self = shared_from_this(),
                                  done = std::make_shared<completion>(std::move(done))] {
        boost::asio::post(self->context_->executor(), [self, done] {
            self->tear_down(std::move(*done));
        });
    });
    const section held(*this);
    if (over()) return;
    flush_network(network);
    if (network.use_count() == 1) return;
    // A peer that does not read or answer is not waited for.
    farewell_.emplace(io(), farewell_time);
    farewell_->async_wait([self = weak_from_this()](error_code ec) {
        const auto bus = self.lock();
        if (bus != nullptr && !ec) bus->cut_short();
    });
}

void core::cut_short() {
    const section held(*this);
    constexpr auto never = steady::time_point::max();
    expire(never);
    if (link_ != nullptr) link_->expire(never);
    if (broker_ != nullptr) broker_->release_barriers();
    for (auto& out : unconfirmed_) {
        for (auto& barrier : std::exchange(out.barriers, {})) released_.push_back(std::move(barrier));
    }
}

void core::tear_down(completion done) {
    {
        const section held(*this);
        if (!over()) set_phase(phase::closing);
        hurry_.notify_all();
    }
    auto last = when_released([self = shared_from_this(),
                               done = std::make_shared<completion>(std::move(done))] {
        self->shut_down();
        if (*done) (*done)({});
    });
    for (const auto& s : context_->subscribers()) s->close(completion{[last](error_code) {}});
}

void core::shut_down() noexcept {
    std::map<std::uint64_t, redelivery> late;
    const section held(*this);
    if (phase_ == phase::closed) return;
    set_phase(phase::closed);
    hurry_.notify_all();
    late = std::exchange(redeliveries_, {});
    for (std::size_t i = 0; i < late.size(); ++i) rounds_->handed_on();
    for (auto& [done, deadline] : std::exchange(join_waiters_, {}))
        finish(std::move(done), errc::closed);
    for (auto& out : std::exchange(pending_, {})) finish(std::move(out.done), errc::closed);
    confirmed(UINT64_MAX, errc::closed);
    if (link_ != nullptr) {
        for (auto& out : link_->unwritten()) finish(std::move(out.done), errc::closed);
        link_->to().close();
        link_.reset();
    }
    if (broker_ != nullptr) {
        path_.remove(broker_->file());
        broker_->step_down();
        broker_.reset();
    }
    if (tick_timer_) tick_timer_->cancel();
    if (farewell_) farewell_->cancel();
    for (auto& c : std::exchange(dirty_, {})) released_.push_back(c);
    for (auto& [barrier, deadline] : std::exchange(join_barriers_, {}))
        released_.push_back(std::move(barrier));
}

void core::end() noexcept {
    for (const auto& s : context_->subscribers()) s->stop();
    shut_down();
    io_.stop();
    context_->shut_down();
}

// --- numbers -------------------------------------------------------------------------------------

bus_counters core::counters() const {
    auto sum = context_->counters();
    const std::lock_guard lock(mutex_);
    sum.published += published;
    sum.unheard += unheard;
    return sum;
}

unix_socket_counters core::socket_counters() const {
    const std::lock_guard lock(mutex_);
    auto now = numbers;
    if (broker_ != nullptr) {
        now.clients = broker_->clients();
        now.queued_bytes = broker_->queued_bytes();
    }
    return now;
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
