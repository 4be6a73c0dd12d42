#include <trunkline/testkit/recorder.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

struct recorder::state {
    judge decide;
    std::function<void()> changed;
    std::atomic<int> running{0};
    std::atomic<std::size_t> overlaps{0};

    mutable std::mutex mutex;
    mutable std::condition_variable noted;
    std::vector<event> events;
    std::vector<delivery> held;
    std::size_t sentinels = 0;

    void tell() {
        noted.notify_all();
        if (changed) changed();
    }

    // Notes the event and says what to do with it.
    verdict note(const event& e) {
        if (e.type() == sentinel_type) {
            {
                const std::lock_guard lock(mutex);
                ++sentinels;
            }
            return verdict::ack;
        }
        const auto what = decide ? decide(e) : verdict::ack;
        const std::lock_guard lock(mutex);
        events.push_back(e);
        return what;
    }

    void keep(delivery d) {
        const std::lock_guard lock(mutex);
        held.push_back(std::move(d));
    }

    template <class F>
    auto each(F get) const {
        std::vector<decltype(get(std::declval<const event&>()))> out;
        const std::lock_guard lock(mutex);
        out.reserve(events.size());
        for (const auto& e : events) out.push_back(get(e));
        return out;
    }
};

namespace {

[[noreturn]] void fail() {
    throw std::runtime_error("thrown by a testkit recorder, as its test asked");
}

// Whoever waits for a record sees it only when the handler is about to return or to throw, so
// that what the handler did to the delivery has happened.
template <class F>
struct at_exit {
    F f;
    ~at_exit() { f(); }
};
template <class F>
at_exit(F) -> at_exit<F>;

}  // namespace

recorder::recorder() : recorder(judge{}) {}

recorder::recorder(judge decide) : state_(std::make_shared<state>()) {
    state_->decide = std::move(decide);
}

recorder::recorder(verdict always) : recorder([always](const event&) { return always; }) {}

trunkline::handler recorder::handler(handler_form form) const {
    // Counts calls that run at once; the last thing a call does is to wake whoever waits.
    const auto watch = [](const std::shared_ptr<state>& s) {
        if (s->running.fetch_add(1) > 0) s->overlaps.fetch_add(1);
        return at_exit{[s] {
            s->running.fetch_sub(1);
            s->tell();
        }};
    };
    // Weak: what is held keeps its subscription, and with it this handler, alive.
    const std::weak_ptr<state> weak = state_;
    if (form == handler_form::event) {
        return [weak, watch](const event& e) {
            const auto s = weak.lock();
            if (s == nullptr) return;
            const auto guard = watch(s);
            const auto what = s->note(e);
            if (what == verdict::nack || what == verdict::throws) fail();
        };
    }
    if (form == handler_form::value) {
        return [weak, watch](delivery d) {
            const auto s = weak.lock();
            if (s == nullptr) return std::move(d).ack();
            const auto guard = watch(s);
            switch (s->note(d.event())) {
                case verdict::ack:
                    std::move(d).ack();
                    break;
                case verdict::nack:
                    std::move(d).nack();
                    break;
                case verdict::none:
                    break;
                case verdict::throws:
                    fail();
                case verdict::hold:
                    s->keep(std::move(d));
                    break;
            }
        };
    }
    return [weak, watch](delivery& d) {
        const auto s = weak.lock();
        if (s == nullptr) return std::move(d).ack();
        const auto guard = watch(s);
        switch (s->note(d.event())) {
            case verdict::ack:
                std::move(d).ack();
                break;
            case verdict::nack:
                std::move(d).nack();
                break;
            case verdict::none:
                break;
            case verdict::throws:
                fail();
            case verdict::hold:
                s->keep(std::move(d));
                break;
        }
    };
}

void recorder::on_change(std::function<void()> changed) const {
    state_->changed = std::move(changed);
}

std::size_t recorder::size() const {
    const std::lock_guard lock(state_->mutex);
    return state_->events.size();
}

std::vector<event> recorder::events() const {
    const std::lock_guard lock(state_->mutex);
    return state_->events;
}

std::vector<std::string> recorder::types() const {
    return state_->each([](const event& e) { return std::string(e.type()); });
}

std::vector<std::string> recorder::ids() const {
    return state_->each([](const event& e) { return e.id().text(); });
}

std::vector<std::string> recorder::run_ids() const {
    return state_->each([](const event& e) { return std::string(e.run_id()); });
}

std::vector<std::uint32_t> recorder::attempts() const {
    return state_->each([](const event& e) { return e.delivery_attempt(); });
}

std::vector<std::optional<std::uint64_t>> recorder::indices() const {
    return state_->each([](const event& e) { return e.index(); });
}

event recorder::at(std::size_t position) const {
    const std::lock_guard lock(state_->mutex);
    return state_->events.at(position);
}

std::size_t recorder::count(std::string_view type) const {
    const std::lock_guard lock(state_->mutex);
    return static_cast<std::size_t>(std::count_if(
        state_->events.begin(),
        state_->events.end(),
        [type](const event& e) { return e.type() == type; }
    ));
}

std::size_t recorder::sentinels() const {
    const std::lock_guard lock(state_->mutex);
    return state_->sentinels;
}

std::size_t recorder::overlaps() const {
    return state_->overlaps.load();
}

std::size_t recorder::held() const {
    const std::lock_guard lock(state_->mutex);
    return state_->held.size();
}

std::vector<delivery> recorder::take_held() const {
    const std::lock_guard lock(state_->mutex);
    return std::exchange(state_->held, {});
}

void recorder::settle_held(verdict how) const {
    // Settling may call back into the bus, so nothing is locked meanwhile.
    for (auto& d : take_held()) {
        if (how == verdict::ack) std::move(d).ack();
        if (how == verdict::nack) std::move(d).nack();
    }
}

void recorder::clear() const {
    std::vector<event> gone;
    const std::lock_guard lock(state_->mutex);
    gone.swap(state_->events);
    state_->sentinels = 0;
}

bool recorder::wait_for_size(std::size_t count, std::chrono::milliseconds limit) const {
    std::unique_lock lock(state_->mutex);
    return state_->noted.wait_for(lock, limit, [&] { return state_->events.size() >= count; });
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
