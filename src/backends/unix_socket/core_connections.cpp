#include "backends/unix_socket/broker.hpp"
#include "backends/unix_socket/core.hpp"
#include "backends/unix_socket/link.hpp"

#include <algorithm>
#include <sched.h>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

namespace {

// Reads from one peer before others have their turn.
constexpr int reads_per_turn = 4;
constexpr unsigned looks_max = 8;
// What may wait for room before a peer is not read any more.
constexpr std::size_t parked_max = std::size_t{4} << 20;

}  // namespace

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
    if (!ok)
        take_in(c, connection::read_result::ended);
    else if (c->open())
        take_in(c, c->fill());
}

void core::take_in(const std::shared_ptr<connection>& c, connection::read_result got) {
    for (int turn = 1; got != connection::read_result::nothing_yet; ++turn) {
        if (got == connection::read_result::ended) {
            {
                const section held(*this);
                handle_parked(c, nullptr);  // what it said before it left counts
            }
            lost(c);
            return;
        }
        if (!process(c)) return;
        if (got == connection::read_result::all || turn == reads_per_turn) break;
        if (!c->open()) return;
        got = c->fill();
    }
    {
        const section held(*this);
        end_turn();
        if (!c->open()) return;
    }
    // Behind the handlers of what has just come.
    post_to_sockets([c](core& self) { self.linger(c); });
}

// A peer that is at it sends more within microseconds. Who is still awake then need not be woken,
// which costs both sides more than a few looks; others may use the processor between them.
void core::linger(const std::shared_ptr<connection>& c) {
    if (!c->open()) return;
    for (unsigned i = 0; i < c->looks; ++i) {
        ::sched_yield();
        const auto got = c->fill();
        if (got == connection::read_result::nothing_yet) continue;
        c->looks = std::min(2 * c->looks, looks_max);
        take_in(c, got);
        return;
    }
    c->looks = std::max(c->looks / 2, 1U);
    watch(*c);
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
        if (!c->paused.load()) return;  // nobody kept it
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

// False when there is no room again; without `room` everything is handled, full queues or not.
bool core::handle_parked(const std::shared_ptr<connection>& c, std::shared_ptr<void> room) {
    frame_scanner scanner;
    while (!c->parked.empty()) {
        const auto line = std::move(c->parked.front());
        c->parked.pop_front();
        c->parked_bytes -= line.size();
        const auto* f = scanner.scan(line);
        if (f != nullptr) handle_line(*c, *f, line, room);
        if (!c->open()) return true;
        if (room != nullptr && room.use_count() > 1) return false;
    }
    return true;
}

void core::resume(const std::shared_ptr<connection>& c, std::uint64_t pause) {
    bool was_stopped = false;
    {
        const section held(*this);
        if (!c->paused || c->pauses != pause || !c->open()) return;
        const bool room_again = handle_parked(c, make_room(c));
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
    std::vector<std::uint64_t> tokens;
    {
        const std::lock_guard lock(settled_mutex_);
        tokens = std::exchange(settled_, {});
    }
    if (link_ != nullptr) {
        if (!tokens.empty()) link_->report(tokens, "trunkline.settled");
        link_->end_turn();
    }
    flush_dirty();
}

void core::lost(const std::shared_ptr<connection>& c) {
    {
        const section held(*this);
        if (over() || link_ == nullptr || link_->shared() != c) {
            if (broker_ != nullptr) broker_->lost(c);
            c->close();
            end_turn();
            return;
        }
        note(log_level::info, "the broker is gone", {{"path", path_.text()}});
        lose_link();
    }
    run_join(true);
}

// What was under way goes to the next broker, or ends in time.
void core::lose_link() {
    const auto deadline = steady::now() + options_.connect_timeout();
    link_->to().close();
    others.forget(link_->broker_member());
    released_.push_back(link_->shared());
    take_back(link_->unwritten());
    for (auto& barrier : link_->take_barriers())
        join_barriers_.emplace_back(std::move(barrier), deadline);
    link_.reset();
    look_again(deadline);
}

// Another broker has to be found, by `deadline`: until then nothing is announced or confirmed.
void core::look_again(steady::time_point deadline) {
    set_phase(phase::joining);
    for (auto& out : unconfirmed_) out.deadline = deadline;
    local_.each_membership([&](const auto&, const auto&, auto& members) {
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

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
