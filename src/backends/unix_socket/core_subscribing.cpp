#include "backends/unix_socket/broker.hpp"
#include "backends/unix_socket/core.hpp"
#include "backends/unix_socket/link.hpp"
#include "backends/unix_socket/redelivery.hpp"

#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

namespace {

// Redeliveries that wait for their time.
constexpr std::size_t redeliveries_max = 65'536;

}  // namespace

// --- subscribing ---------------------------------------------------------------------------------

std::shared_ptr<subscription_state> core::subscribe(
    std::string_view topic, handler h, const subscribe_options& how
) {
    auto who = std::make_shared<member>(weak_from_this(), context_, topic, std::move(h), how);
    who->enroll();
    {
        const section held(*this);
        if (!ending()) {
            who->deadline = steady::now() + options_.connect_timeout();
            const auto& same = local_.add(who);
            const bool first = same.size() == 1;
            const std::optional<std::string_view> group = who->group();
            if (phase_ == phase::broker) {
                if (group && first) broker_->join_own(who->topic(), *group);
                who->state = member::standing::announced;
            } else if (phase_ == phase::client) {
                who->deadline = steady::now() + options_.membership_ack_timeout();
                // One membership per topic and group: a later subscription shares its answer.
                if (first)
                    link_->subscribe(who->topic(), group);
                else if (same.front()->state == member::standing::announced)
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
    local_.each_membership([&](const auto& topic, const auto& group, auto& members) {
        for (auto& m : members) m->deadline = deadline;
        link_->subscribe(topic, group);
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
        for (auto& done : std::exchange(who->ready_waiters, {}))
            finish(std::move(done), errc::closed);
        const auto left = local_.remove(*who);
        released_.push_back(who);
        if (left == local_registry::left::was_last) {
            const std::optional<std::string_view> group = who->group();
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
    post_to_sockets([](core& self) {
        const section held(self);
        self.end_turn();
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
        note(
            log_level::error,
            "event given up after its last delivery attempt",
            {{"topic", to->topic_name()},
             {"event", e.id().text()},
             {"attempt", std::to_string(e.delivery_attempt())}}
        );
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
    if (link_ != nullptr && link_->owns(token)) {
        link_->report({&token, 1}, "trunkline.returned");
        flush_soon();
        return;
    }
    if (broker_ != nullptr && broker_->hand_on(topic, group, e, own_process)) {
        flush_soon();
        return;
    }
    drop_group_event(topic, group);
}

void core::drop_group_event(std::string_view topic, std::string_view group) {
    context_->dropped.fetch_add(1, std::memory_order_relaxed);
    note(
        log_level::warn,
        "event dropped, its group has no member left",
        {{"topic", std::string(topic)}, {"group", std::string(group)}}
    );
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

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
