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
// How long close waits for what is still to be written and confirmed, and then for a successor.
constexpr milliseconds farewell_time{1000};
constexpr milliseconds hand_over_time{300};
// Plain publishes closer together than this share writes.
constexpr microseconds burst_gap{20};

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
        local_.each_membership([&](const auto&, const auto&, const auto& members) {
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
      io_(std::make_shared<base::io_loop>()),
      recent_(recent_max),
      recent_in_groups_(recent_in_groups_max) {
    if (!options_.executor()) context_->run_on(io_);
}

core::~core() = default;

core::section::~section() {
    if (of_.finished_.empty() && of_.released_.empty() && of_.notes_.empty()) [[likely]]
        return;
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
    const auto refuse = [&](errc why) {
        context_->refused.fetch_add(1, std::memory_order_relaxed);
        ec = why;
        return true;
    };
    if (out.e.data().is_live()) return refuse(errc::not_supported);
    // The estimate of a tree is only that; its text decides.
    const auto limit = options_.max_inbound_frame_bytes();
    if (out.e.data().size_bytes() > limit && out.e.data().text().size() > limit)
        return refuse(errc::payload_too_large);
    const bool awaited = static_cast<bool>(done);
    const section held(*this);
    if (ending()) return refuse(errc::closed);
    if (link_ == nullptr && broker_ == nullptr) return accept_pending(std::move(out), done, ec);
    if (out.confirmed) {
        if (unconfirmed_.size() >= options_.pending_limit()) return refuse(errc::queue_full);
        out.number = ++last_number_;
    }
    const auto now = steady::now();
    // A client's publish is done when the kernel has it, a broker's when it is routed.
    const bool write_now = (awaited && link_ != nullptr) || now - last_direct_write_ >= burst_gap;
    out.done = std::move(done);
    const bool good =
        link_ != nullptr ? link_->publish(out, write_now, ec) : broker_->publish(out, ec);
    if (!good) {
        done = std::move(out.done);
        context_->refused.fetch_add(1, std::memory_order_relaxed);
        return true;
    }
    ++published;
    if (write_now) last_direct_write_ = now;
    if (broker_ != nullptr) {
        if (write_now)
            flush_dirty();
        else
            flush_soon();
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
    auto handed_over = when_released([self = shared_from_this(),
                                      done = std::make_shared<completion>(std::move(done))] {
        self->shut_down();
        if (*done) (*done)({});
    });
    const auto last =
        when_released([self = shared_from_this(), handed_over = std::move(handed_over)]() mutable {
            self->hand_over(std::move(handed_over));
        });
    for (const auto& s : context_->subscribers()) s->close(completion{[last](error_code) {}});
    const section held(*this);
    if (leases_ != nullptr) leases_->close(completion{[last](error_code) {}});
}

// A broker that leaves lets a member take the path first: clients then always find somebody there,
// and need not contend for it.
void core::hand_over(std::shared_ptr<void> done) {
    const section held(*this);
    if (broker_ == nullptr) {
        released_.push_back(std::move(done));
        return;
    }
    broker_->hand_over(std::move(done));
    end_turn();
    farewell_.emplace(io(), hand_over_time);
    farewell_->async_wait([self = weak_from_this()](error_code ec) {
        const auto bus = self.lock();
        if (bus == nullptr || ec) return;
        const section held_now(*bus);
        if (bus->broker_ != nullptr) bus->broker_->give_up_handing_over();
    });
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
    if (succession_) path_.remove(succession_->file);
    succession_.reset();
    path_watch_.reset();
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
    io_->stop();
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
