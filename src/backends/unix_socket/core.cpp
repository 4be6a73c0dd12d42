#include "backends/unix_socket/core.hpp"

#include "backends/unix_socket/broker.hpp"
#include "backends/unix_socket/link.hpp"
#include "contract/handler_frame.hpp"

#include <trunkline/detail/event_access.hpp>
#include <trunkline/json_text.hpp>

#include <boost/asio/post.hpp>
#include <boost/system/system_error.hpp>

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
// How long close waits for what is still to be written and confirmed.
constexpr milliseconds farewell_time{1000};
// Plain publishes closer together than this share writes.
constexpr microseconds burst_gap{20};
// Bytes read from one peer before others have their turn.
constexpr int reads_per_turn = 4;
// What may wait for room before a peer is not read any more.
constexpr std::size_t parked_max = std::size_t{4} << 20;

access_rules rules_of(const unix_socket_options& options) {
    access_rules rules;
    if (!options.group_access()) return rules;
    rules.directory_mode = 0750;
    rules.socket_mode = 0660;
    rules.group = options.group_access();
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
    const auto notes = std::exchange(of_.notes_, {});
    lock_.unlock();
    for (const auto& n : notes) of_.context_->log(n.level, n.text, n.fields);
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
        context_->stamp(draft, how);
        const auto e = detail::event_access::freeze(std::move(draft), 1);
        const section held(*this);
        if (ending())
            ec = errc::closed;
        else
            publish_locally(topic, e);
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
    if (ending()) {
        ec = errc::closed;
        return true;
    }
    switch (phase_) {
        case phase::closing:
        case phase::closed:
            break;
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
        out.number = ++last_number_;
    }
    const auto now = steady::now();
    // A client's publish is done when the kernel has it, a broker's when it is routed.
    const bool write_now = (awaited && link_ != nullptr) || now - last_direct_write >= burst_gap;
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

void core::publish_locally(std::string_view topic, const event& e) {
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
    post_to_sockets([](core& self) {
        const section held(self);
        self.flush_posted_ = false;
        self.end_turn();
    });
}

void core::write(connection& c) {
    if (!c.open() || c.write_waits || c.out.empty()) return;
    const auto result = c.write();
    // The reader sees the end of the stream, behind what the peer said before.
    if (result == connection::write_result::failed) c.write_waits = true;
    if (result == connection::write_result::blocked) {
        c.write_waits = true;
        c.wait_writable([bus = weak_from_this(), to = c.shared_from_this()](bool ok) {
            if (const auto self = bus.lock()) self->on_writable(to, ok);
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
    post_to_sockets([c = c.shared_from_this()](core& self) { self.lost(c); });
}

// --- reading: on the socket thread ---------------------------------------------------------------

void core::watch(connection& c) {
    c.wait_readable([bus = weak_from_this(), from = c.shared_from_this()](bool ok) {
        if (const auto self = bus.lock()) self->on_readable(from, ok);
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
        const bool read =
            got == connection::read_result::some || got == connection::read_result::all;
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

void core::handle_line(
    connection& c, const frame& f, std::string_view line, std::shared_ptr<void>& room
) {
    if (link_ != nullptr && &link_->to() == &c)
        link_->handle(f, line, room);
    else if (broker_ != nullptr)
        broker_->handle(c, f, line, room);
}

// Whoever finds a queue full keeps a copy; when the last one goes, what waits is handled.
std::shared_ptr<void> core::make_room(const std::shared_ptr<connection>& c) {
    return when_released([bus = weak_from_this(), c, pause = ++c->pauses] {
        const auto self = bus.lock();
        if (self == nullptr) return;
        self->post_to_sockets([c, pause](core& of) { of.resume(c, pause); });
    });
}

// Handles the lines that are there. Events that meet a full queue wait, and what comes behind them,
// but confirmations, receipts and the like go on: handlers may be waiting for those. False when
// reading has to stop or is over.
bool core::process(const std::shared_ptr<connection>& c) {
    std::shared_ptr<void> room;
    while (const auto line = c->in.next()) {
        const auto* f = c->scanner.scan(*line);
        const section held(*this);
        if (!c->open()) return false;
        if (f == nullptr) {
            ++numbers.frames_ignored;
            continue;
        }
        const bool waits = f->kind == frame_kind::event || f->kind == frame_kind::publish ||
                           f->kind == frame_kind::unsubscribe ||
                           f->kind == frame_kind::unsubscribed;
        if (c->paused && waits) {
            c->parked_bytes += line->size();
            c->parked.emplace_back(*line);
            if (c->parked_bytes < parked_max) continue;
            c->stopped = true;
            end_turn();
            return false;
        }
        if (room == nullptr && !c->paused) room = make_room(c);
        handle_line(*c, *f, *line, room);
        if (room != nullptr && room.use_count() > 1) {
            c->paused = true;
            room.reset();
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

// False when there is no room again.
bool core::handle_parked(const std::shared_ptr<connection>& c) {
    frame_scanner scanner;
    auto room = make_room(c);
    while (!c->parked.empty()) {
        const auto line = std::move(c->parked.front());
        c->parked.pop_front();
        c->parked_bytes -= line.size();
        const auto* f = scanner.scan(line);
        if (f != nullptr) handle_line(*c, *f, line, room);
        if (!c->open()) return true;
        if (room.use_count() > 1) return false;
    }
    return true;
}

void core::resume(const std::shared_ptr<connection>& c, std::uint64_t pause) {
    bool was_stopped = false;
    {
        const section held(*this);
        if (!c->paused || c->pauses != pause || !c->open()) return;
        const bool room_again = handle_parked(c);
        end_turn();
        if (!room_again) return;
        c->paused = false;
        was_stopped = std::exchange(c->stopped, false);
    }
    if (!was_stopped || !process(c)) return;
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
        lose_link();
        if (over()) return;
        note(log_level::info, "the broker is gone", {{"path", path_.text()}});
        set_phase(phase::joining);
    }
    run_join(true);
}

// What was under way goes to the next broker, or ends in time.
void core::lose_link() {
    const auto deadline = steady::now() + options_.connect_timeout();
    link_->to().close();
    released_.push_back(link_->shared());
    take_back(link_->unwritten());
    for (auto& barrier : link_->take_barriers())
        join_barriers_.emplace_back(std::move(barrier), deadline);
    for (auto& out : unconfirmed_) out.deadline = deadline;
    link_.reset();
    local_.each_membership([&](const std::string&, const std::string*, auto& members) {
        for (auto& m : members) {
            m->state = member::standing::waiting;
            m->problem = {};
            m->deadline = deadline;
        }
    });
}

void core::take_back(std::deque<outgoing>&& unwritten) {
    const auto deadline = steady::now() + options_.connect_timeout();
    while (!unwritten.empty()) {
        auto& out = unwritten.back();
        out.resent = true;
        out.number = 0;  // it gets another in its new place
        out.deadline = deadline;
        pending_bytes_ += out.e.size_bytes();
        pending_.push_front(std::move(out));
        unwritten.pop_back();
        ++numbers.resent;
    }
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
    } else if (phase_ == phase::joining && (!pending_.empty() || !unconfirmed_.empty())) {
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
    if (closing_at_) return;
    closing_at_ = steady::now() + farewell_time;
    if (network.use_count() == 1) return;
    // A peer that does not read or answer is not waited for.
    farewell_.emplace(io(), farewell_time);
    farewell_->async_wait([self = weak_from_this()](error_code ec) {
        const auto bus = self.lock();
        if (bus == nullptr || ec) return;
        const section held_now(*bus);
        bus->cut_short();
    });
}

void core::cut_short() {
    constexpr auto never = steady::time_point::max();
    expire(never);
    if (link_ != nullptr) link_->expire(never);
    if (broker_ != nullptr) broker_->release_barriers();
    for (auto* list : {&unconfirmed_, &pending_}) {
        for (auto& out : *list) {
            for (auto& barrier : std::exchange(out.barriers, {}))
                released_.push_back(std::move(barrier));
        }
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
    const section held(*this);
    if (leases_ != nullptr) leases_->close(completion{[last](error_code) {}});
}

lease_provider& core::leases() {
    const section held(*this);
    if (leases_ == nullptr) {
        // A directory that cannot be made shows with the first lease.
        static_cast<void>(path_.create_directory(access_));
        leases_ = std::make_unique<file_lease_provider>(
            path_.directory(), context_->executor(), options_.clock(), options_.logger()
        );
        if (over()) leases_->close({});
    }
    return *leases_;
}

void core::shut_down() noexcept {
    std::map<std::uint64_t, redelivery> late;
    const section held(*this);
    if (phase_ == phase::closed) return;
    set_phase(phase::closed);
    hurry_.notify_all();
    late = std::exchange(redeliveries_, {});
    for (std::size_t i = 0; i < late.size(); ++i) rounds_->handed_on();
    end_turn();  // what was settled until now is settled for the others, too
    for (auto& [done, deadline] : std::exchange(join_waiters_, {}))
        finish(std::move(done), errc::closed);
    confirmed(UINT64_MAX, errc::closed);
    if (link_ != nullptr) {
        take_back(link_->unwritten());
        link_->to().close();
        released_.push_back(link_->shared());
        link_.reset();
    }
    if (broker_ != nullptr) {
        path_.remove(broker_->file());
        broker_->step_down();
        broker_.reset();
    }
    for (auto& out : std::exchange(pending_, {})) {
        finish(std::move(out.done), errc::closed);
        for (auto& barrier : out.barriers) released_.push_back(std::move(barrier));
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
    leases_.reset();
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
