#include "backends/event_emitter/core.hpp"

#include "backends/event_emitter/member.hpp"
#include "contract/handler_frame.hpp"
#include "contract/overloaded.hpp"

#include <trunkline/detail/event_access.hpp>

#include <boost/asio/post.hpp>

#include <algorithm>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace event_emitter {

namespace {

// Operations that a publisher runs for others before it hands its turn to the executor.
constexpr unsigned turn_budget = 1024;
// Subscribing threads pause when more than this waits for a turn; they are never refused.
constexpr std::size_t crowded_backlog = 1024;
constexpr auto crowded_pause = std::chrono::milliseconds{1};

}  // namespace

std::shared_ptr<core> core::make(const event_emitter_options& options) {
    auto made = std::make_shared<core>(options);
    made->rounds_ = std::make_shared<flush_rounds>(
        made->context_,
        [self = std::weak_ptr(made)](const std::shared_ptr<void>& barrier) {
            if (const auto bus = self.lock()) bus->mark_everything(barrier);
        }
    );
    return made;
}

core::core(const event_emitter_options& options)
    : options_(options),
      context_(std::make_shared<bus_context>(
          "event_emitter",
          options.executor(),
          options.clock(),
          options.logger(),
          options.id_source()
      )) {}

shard& core::shard_of(const base::hashed_text& name) noexcept {
    // The table inside a shard uses the low bits of the same hash.
    return shards_[name.hash >> 60];
}

// --- publishing ----------------------------------------------------------------------------------

bool core::publish(
    std::string_view name,
    event_draft&& draft,
    const publish_options& how,
    completion& done,
    error_code& ec
) {
    context_->stamp(draft, how);
    auto e = detail::event_access::freeze(std::move(draft), 1);
    const base::hashed_text key(name);
    auto& home = shard_of(key);
    topic* t = nullptr;
    {
        const std::lock_guard lock(home.mutex);
        t = home.find(key);
        if (t == nullptr) {
            ++home.published;
            ++home.unheard;
            ec = {};
            return true;
        }
        if (t->busy) {
            const bool told_now = !done;
            if (t->pending_publishes >= options_.pending_limit() ||
                (told_now && t->full.load(std::memory_order_relaxed))) {
                context_->refused.fetch_add(1, std::memory_order_relaxed);
                ec = errc::queue_full;
                return true;
            }
            ++home.published;
            ++t->pending_publishes;
            t->pending.emplace_back(
                publish_operation{std::move(e), std::move(done), handler_frame::innermost()}
            );
            ec = {};
            return told_now;
        }
        t->busy = true;
        ++home.published;
    }
    const bool finished = deliver(*t, e, done, ec, handler_frame::innermost(), false);
    if (finished && ec) {
        const std::lock_guard lock(home.mutex);
        --home.published;  // refused, not accepted
    }
    run_turn(*t, turn_budget);
    return finished;
}

bool core::deliver(
    topic& t, const event& e, completion& done, error_code& ec, const void* origin, bool accepted
) {
    std::shared_ptr<void> room;
    if (!admit(t, e, done, ec, origin, accepted, room)) {
        context_->refused.fetch_add(1, std::memory_order_relaxed);
        return true;
    }
    const bool waits = room != nullptr;
    for (auto& at : t.places) {
        if (at.single != nullptr)
            at.single->give(e, 0, room);
        else
            give_to_group(*at.shared, e, room);
    }
    ec = {};
    return !waits;
}

// Decides for all subscribers at once whether the event may pass, before any of them gets it.
bool core::admit(
    topic& t,
    const event& e,
    completion& done,
    error_code& ec,
    const void* origin,
    bool accepted,
    std::shared_ptr<void>& room
) {
    using admission = subscriber::admission;
    auto worst = admission::yes;
    for (const auto& at : t.places) {
        const member* m = at.single.get();
        if (m == nullptr) {
            const auto& members = at.shared->members;
            m = members[at.shared->cursor % members.size()].get();
        }
        worst = std::max(worst, m->admit(e, static_cast<bool>(done), origin));
    }
    if (worst == admission::yes) [[likely]] {
        if (t.full.load(std::memory_order_relaxed)) t.full.store(false, std::memory_order_relaxed);
        return true;
    }
    t.full.store(true, std::memory_order_relaxed);
    switch (worst) {
        case admission::yes:
            return true;
        case admission::after_room:
            // Posted, because the last queue to let go may do so on this very stack.
            room = when_released([context = context_,
                                  done = std::make_shared<completion>(std::move(done))] {
                boost::asio::post(context->executor(), [done] { (*done)({}); });
            });
            return true;
        case admission::full:
            if (accepted) return true;  // promised before; the pending limit bounds the overshoot
            ec = errc::queue_full;
            break;
        case admission::would_deadlock:
            ec = errc::would_deadlock;
            break;
    }
    // The publisher is told; whether that is worth a line is its own decision.
    if (context_->logs(log_level::debug))
        context_->log(log_level::debug, "publish refused, a queue is full", {{"topic", t.name}});
    return false;
}

void core::give_to_group(group& g, const event& e, const std::shared_ptr<void>& room) {
    // Members that have just been stopped are skipped: their leaving is behind us in the turn.
    for (std::size_t tries = g.members.size(); tries > 0; --tries) {
        auto& m = *g.members[g.cursor++ % g.members.size()];
        if (m.give(e, 0, room)) return;
    }
    context_->dropped.fetch_add(1, std::memory_order_relaxed);
    context_->log(
        log_level::warn, "event dropped, its group has no member left", {{"group", g.name}}
    );
}

// --- the turn ------------------------------------------------------------------------------------

void core::enqueue(std::string_view name, operation op) {
    const base::hashed_text key(name);
    auto& home = shard_of(key);
    topic* t = nullptr;
    {
        std::unique_lock lock(home.mutex);
        t = home.find(key);
        if (t == nullptr)
            t = home.topics.emplace(name, std::make_unique<topic>(name, home)).first->second.get();
        if (t->busy) {
            t->pending.push_back(std::move(op));
            // Threads that subscribe and leave faster than the turn can follow let it catch up:
            // a short pause bounds the backlog, and cannot deadlock because it ends by itself.
            if (t->pending.size() > crowded_backlog && !handler_frame::any()) {
                ++home.crowd;
                home.taken.wait_for(lock, crowded_pause);
                --home.crowd;
            }
            return;
        }
        t->busy = true;
    }
    perform(*t, op);
    // Only its own operation ran here: what others appended meanwhile, handlers included, is not
    // the caller's business.
    run_turn(*t, 0);
}

void core::run_turn(topic& t, unsigned inline_budget) {
    for (;;) {
        if (t.running_at == t.running.size()) {
            t.running.clear();
            t.running_at = 0;
            const std::lock_guard lock(t.home.mutex);
            if (t.pending.empty()) {
                t.busy = false;
                if (t.places.empty()) t.home.erase(t);
                return;
            }
            std::swap(t.running, t.pending);
            t.pending_publishes = 0;
            if (t.home.crowd > 0) t.home.taken.notify_all();
        }
        while (t.running_at < t.running.size()) {
            if (inline_budget == 0) {
                boost::asio::post(context_->executor(), [self = shared_from_this(), &t] {
                    self->run_turn(t, turn_budget);
                });
                return;
            }
            --inline_budget;
            auto op = std::move(t.running[t.running_at++]);
            perform(t, op);
        }
    }
}

void core::perform(topic& t, operation& op) {
    std::visit(
        overloaded{
            [&](publish_operation& p) {
                error_code ec;
                const bool accepted = !p.done;
                if (deliver(t, p.e, p.done, ec, p.origin, accepted) && p.done) p.done(ec);
            },
            [&](join_operation& j) { join(t, std::move(j.who)); },
            [&](leave_operation& l) { leave_now(t, l.who); },
            [&](regroup_operation& r) { regroup(t, r); },
            [&](mark_operation& m) { mark(t, m.barrier); }
        },
        op
    );
}

// --- subscribing ---------------------------------------------------------------------------------

std::shared_ptr<subscription_state> core::subscribe(
    std::string_view name, handler h, const subscribe_options& how
) {
    const auto mode = options_.dispatch() == dispatch_mode::queued ? subscriber::mode::queued
                                                                   : subscriber::mode::inlined;
    auto who = std::make_shared<member>(
        weak_from_this(), context_, name, std::move(h), how, mode, life_.load()
    );
    who->enroll();
    enqueue(name, join_operation{who});
    return who;
}

void core::join(topic& t, std::shared_ptr<member> who) {
    if (!who->group_name()) {
        t.places.push_back({std::move(who), nullptr});
        return;
    }
    const auto found = std::find_if(t.places.begin(), t.places.end(), [&](const place& at) {
        return at.shared != nullptr && at.shared->name == *who->group_name();
    });
    if (found != t.places.end()) {
        found->shared->members.push_back(std::move(who));
        return;
    }
    auto fresh = std::make_shared<group>(*who->group_name());
    fresh->members.push_back(std::move(who));
    t.places.push_back({nullptr, std::move(fresh)});
}

void core::leave(std::shared_ptr<member> who) noexcept {
    const auto& name = who->topic_name();
    enqueue(name, leave_operation{who});
}

void core::leave_now(topic& t, const std::shared_ptr<member>& who) {
    for (auto at = t.places.begin(); at != t.places.end(); ++at) {
        if (at->single == who) {
            t.places.erase(at);
            break;
        }
        if (at->shared == nullptr || at->shared->name != who->group_name()) continue;
        auto& members = at->shared->members;
        std::erase(members, who);
        if (members.empty()) t.places.erase(at);
        break;
    }
    // Until a drain task has given back what it found, flush must not think that all is handled.
    rounds_->taken_out();
    auto rest = who->take_leftovers(when_released([rounds = rounds_] { rounds->handed_on(); }));
    if (rest.empty() || !who->group_name()) return;
    // Not here: this may be the stack of stop(), which runs nobody's handler.
    const std::lock_guard lock(t.home.mutex);
    t.pending.insert(t.pending.begin(), regroup_operation{who, std::move(rest), nullptr});
}

void core::regroup(topic& t, regroup_operation& op) {
    const auto found = std::find_if(t.places.begin(), t.places.end(), [&](const place& at) {
        return at.shared != nullptr && at.shared->name == op.from->group_name();
    });
    if (found == t.places.end()) {
        context_->dropped.fetch_add(op.events.size(), std::memory_order_relaxed);
        context_->log(
            log_level::warn,
            "event dropped, its group has no member left",
            {{"topic", t.name}, {"group", op.from->group_name().value_or("")}}
        );
        return;
    }
    const auto shared = found->shared;  // a handler may not change places, but keep it certain
    for (auto& item : op.events) give_to_group(*shared, item.e, nullptr);
}

// --- redelivery ----------------------------------------------------------------------------------

void core::redeliver(std::shared_ptr<member> from, const event& e) noexcept {
    if (from->life() != life_.load())
        return;  // the bus was closed: there is nobody to redeliver to
    const auto attempts_max = options_.max_delivery_attempts();
    if (attempts_max != 0 && e.delivery_attempt() >= attempts_max) {
        context_->exhausted.fetch_add(1, std::memory_order_relaxed);
        context_->log(
            log_level::error,
            "event given up after its last delivery attempt",
            {{"topic", from->topic_name()},
             {"group", from->group_name().value_or("")},
             {"event", e.id().text()},
             {"attempt", std::to_string(e.delivery_attempt())}}
        );
        return;
    }
    // Counted before anything else: flush must not see a moment in which the event is nowhere.
    rounds_->sent_on_its_way();
    context_->redelivered.fetch_add(1, std::memory_order_relaxed);
    boost::asio::post(
        context_->executor(),
        [self = shared_from_this(),
         from = std::move(from),
         again = e.with_attempt(e.delivery_attempt() + 1)]() mutable {
            auto counted = when_released([rounds = self->rounds_] { rounds->handed_on(); });
            if (self->life_.load() != from->life()) return;  // closed meanwhile
            const auto name = from->topic_name();
            std::vector<queued_event> one;
            one.push_back({std::move(again), 0});
            self->enqueue(
                name, regroup_operation{std::move(from), std::move(one), std::move(counted)}
            );
        }
    );
}

void core::give_back(std::shared_ptr<member> from, std::vector<queued_event> events) noexcept {
    const auto name = from->topic_name();
    rounds_->moved();
    enqueue(name, regroup_operation{std::move(from), std::move(events), nullptr});
}

// --- flush, close --------------------------------------------------------------------------------

void core::mark(topic& t, const std::shared_ptr<void>& barrier) {
    for (const auto& at : t.places) {
        if (at.single != nullptr) {
            at.single->mark(barrier);
            continue;
        }
        for (const auto& m : at.shared->members) m->mark(barrier);
    }
}

void core::flush(completion done) {
    rounds_->start(std::move(done));
}

void core::mark_everything(const std::shared_ptr<void>& barrier) {
    for (auto& part : shards_) {
        std::vector<std::string> names;
        {
            const std::lock_guard lock(part.mutex);
            for (const auto& entry : part.topics) names.push_back(entry.first);
        }
        for (const auto& name : names) enqueue(name, mark_operation{barrier});
    }
}

void core::close(completion done) {
    life_.fetch_add(1);
    auto finished = when_released([done = std::make_shared<completion>(std::move(done))] {
        if (*done) (*done)({});
    });
    for (const auto& s : context_->subscribers()) s->close(completion{[finished](error_code) {}});
    const std::lock_guard lock(leases_mutex_);
    if (leases_ != nullptr) leases_->clear();
}

memory_lease_provider& core::leases() {
    // Made when first asked for, because its executor may start the bus's thread.
    const std::lock_guard lock(leases_mutex_);
    if (leases_ == nullptr)
        leases_ = std::make_unique<memory_lease_provider>(context_->executor(), options_.clock());
    return *leases_;
}

bus_counters core::counters() const {
    auto sum = context_->counters();
    for (auto& part : shards_) {
        const std::lock_guard lock(part.mutex);
        sum.published += part.published;
        sum.unheard += part.unheard;
    }
    return sum;
}

}  // namespace event_emitter
TRUNKLINE_NAMESPACE_END
