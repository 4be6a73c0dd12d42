#include "contract/caching/replay.hpp"

#include "base/time.hpp"
#include "contract/caching/core.hpp"
#include "contract/describe.hpp"
#include "contract/handler_frame.hpp"

#include <boost/asio/post.hpp>

#include <exception>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace caching {

namespace {

constexpr std::size_t page_events = 256;

bool is_newer(std::uint32_t generation, std::uint32_t than) noexcept {
    return static_cast<std::int32_t>(generation - than) > 0;
}

// The inner subscription's handler; asynchronous when the user's is, so that close waits for it.
struct inner_handler {
    replay* target;
    void (replay::*call)(delivery&);
    void operator()(delivery& d) const { (target->*call)(d); }
};
struct asynchronous_inner_handler : detail::asynchronous_handler_tag, inner_handler {
    explicit asynchronous_inner_handler(inner_handler h) : inner_handler(h) {}
};

}  // namespace

replay::replay(
    std::shared_ptr<core> bus,
    std::string_view topic,
    std::uint64_t offset,
    handler h,
    const subscribe_options& options
)
    : bus_(std::move(bus)),
      topic_(topic),
      handler_(std::move(h)),
      asynchronous_(handler_->asynchronous()),
      options_(options),
      expected_(offset) {}

replay::~replay() {
    bus_->forget(*this);
}

void replay::start() {
    subscribe_options how;
    how.in_flight(options_.in_flight())
        .queue_limit(options_.queue_limit())
        .queue_bytes(options_.queue_bytes())
        .on_full(options_.on_full());
    // `this` outlives every call: destroying `inner_` waits for one that runs elsewhere, and
    // on_inner keeps itself alive on its own stack.
    const inner_handler h{this, &replay::on_inner};
    scheduled_ = true;
    if (asynchronous_)
        inner_ = bus_->inner().subscribe(topic_, asynchronous_inner_handler{h}, how);
    else
        inner_ = bus_->inner().subscribe(topic_, h, how);
    schedule();
}

// --- live events ---------------------------------------------------------------------------------

void replay::on_inner(delivery& d) {
    const auto self = shared_from_this();
    if (!live_.load(std::memory_order_acquire)) {
        if (keep(d)) return;
        // It went live in the meantime.
    }
    switch (judge(d.event())) {
        case live_step::pass:
            (*handler_)(d);
            return;
        case live_step::drop:
            std::move(d).ack();
            return;
        case live_step::read: {
            const std::lock_guard lock(mutex_);
            live_.store(false, std::memory_order_relaxed);
            scheduled_ = true;
            newest_.emplace(std::move(d));
            break;
        }
    }
    schedule();
}

std::uint32_t replay::generation_of(const event& e) const noexcept {
    return bus_->generation_of(e);
}

// An index that positions the event in this process's log. Retries and events that a foreign log
// numbered are passed on by themselves.
bool replay::is_positioned(const event& e) const noexcept {
    return e.index().has_value() && e.delivery_attempt() <= 1 && generation_of(e) != 0;
}

replay::live_step replay::judge(const event& e) {
    if (!is_positioned(e)) {
        const bool ahead = e.index() && generation_of(e) == generation_ && *e.index() >= expected_;
        if (ahead) expected_ = *e.index() + 1;
        return live_step::pass;
    }
    if (generation_of(e) == generation_) {
        if (*e.index() == expected_) [[likely]] {
            ++expected_;
            return live_step::pass;
        }
        return *e.index() < expected_ ? live_step::drop : live_step::read;
    }
    // The topic was cleared: a newer life starts over, what is left of an older one is forgotten.
    if (!is_newer(generation_of(e), generation_)) return live_step::drop;
    if (*e.index() != 0) return live_step::read;
    generation_ = generation_of(e);
    expected_ = 1;
    return live_step::pass;
}

// Keeps a live event while reading; false, and untouched, when this is live by now.
bool replay::keep(delivery& d) {
    std::optional<delivery> superseded;
    bool overflow = false;
    bool wake = false;
    {
        const std::lock_guard lock(mutex_);
        if (live_.load(std::memory_order_relaxed)) return false;
        if (!active_.load()) return true;  // left unsettled: nobody handles it here
        if (is_positioned(d.event())) {
            superseded = std::move(newest_);
            newest_.emplace(std::move(d));
            wake = std::exchange(parked_, false);
        } else if (others_.size() >= options_.queue_limit()) {
            overflow = true;
        } else {
            others_.push_back(std::move(d));
            wake = std::exchange(parked_, false);
        }
    }
    if (superseded) std::move(*superseded).ack();  // the log has it
    if (overflow) {
        bus_->dropped.fetch_add(1, std::memory_order_relaxed);
        bus_->log(
            log_level::warn,
            "too many retries while a replay catches up",
            // NOLINTNEXTLINE(bugprone-use-after-move): it was moved in the other branches only
            {{"topic", topic_}, {"event", d.event().id().text()}}
        );
        std::move(d).nack();
    }
    if (wake) schedule();
    return true;
}

// --- the reading task ----------------------------------------------------------------------------

void replay::schedule() noexcept {
    boost::asio::post(executor(), [self = shared_from_this()] { self->read_on(); });
}

void replay::read_on() {
    if (!active_.load()) return finish();
    if (page_at_ < page_.size()) return deliver_page();
    if (log_ == nullptr) log_ = bus_->log_of(topic_);
    if (log_ == nullptr) return fail(errc::invalid_argument, "the history key holds no events");
    log_->read(
        expected_ == pubsub::oldest_offset ? 0 : expected_,
        page_events,
        [self = shared_from_this()](error_code ec, event_log::page page) {
            self->on_page(ec, std::move(page));
        }
    );
}

void replay::on_page(const error_code& ec, event_log::page page) {
    if (!active_.load()) return finish();
    if (ec) return fail(ec, "history could not be read");
    if (expected_ == pubsub::oldest_offset)
        expected_ = page.first;
    else if (generation_ == 0)
        positioned_ = true;
    if (generation_ == 0) generation_ = page.generation;
    if (page.generation != generation_) {
        // Cleared while reading: the new life is read from its start.
        generation_ = page.generation;
        expected_ = 0;
        return schedule();
    }
    if (expected_ < page.first && !meet_gap(page.first)) return;
    page_ = std::move(page.events);
    page_at_ = 0;
    if (page_.empty())
        deliver_kept();
    else
        deliver_page();
}

// Retention removed what comes next. False when the subscription ended because of it.
bool replay::meet_gap(std::uint64_t oldest) {
    const offset_gap gap{expected_, oldest};
    bool was_ready = false;
    {
        const std::lock_guard lock(mutex_);
        gap_ = gap;
        was_ready = result_.has_value();
    }
    if (!options_.on_gap() && !was_ready && positioned_ && !delivered_) {
        fail(errc::offset_gone, "the offset is older than what is retained");
        return false;
    }
    bus_->log(
        log_level::warn,
        "events are gone from the history and were skipped",
        {{"topic", topic_},
         {"first_missing", std::to_string(gap.first_missing)},
         {"oldest", std::to_string(gap.oldest)}}
    );
    expected_ = oldest;
    if (options_.on_gap() && !std::exchange(told_gap_, true)) {
        try {
            options_.on_gap()(gap);
        } catch (...) {
            report_failure({}, std::current_exception());
        }
    }
    return true;
}

void replay::deliver_page() {
    gap_seen_ = false;
    while (page_at_ < page_.size()) {
        auto& e = page_[page_at_++];
        expected_ = *e.index() + 1;
        delivered_ = true;
        delivery d(std::move(e), this, 0);
        if (!call(d, true)) return finish();
        if (busy_elsewhere()) {
            const std::lock_guard lock(mutex_);
            if (!may_go_on()) {
                awaiting_place_ = true;
                return;
            }
        }
    }
    page_.clear();
    page_at_ = 0;
    schedule();
}

// The log has nothing from `expected_` on: what came in meanwhile is next, then live.
void replay::deliver_kept() {
    for (;;) {
        std::unique_lock lock(mutex_);
        if (!active_.load()) {
            lock.unlock();
            return finish();
        }
        std::optional<delivery> next;
        if (newest_) {
            const auto& e = newest_->event();
            const bool same_life = generation_of(e) == generation_;
            if (!same_life && is_newer(generation_of(e), generation_)) {
                lock.unlock();
                log_.reset();       // another log may have taken its key
                return schedule();  // it shows the new life
            }
            if (!same_life || *e.index() < expected_) {
                next = std::move(newest_);
                newest_.reset();
                lock.unlock();
                std::move(*next).ack();
                continue;
            }
            if (*e.index() > expected_) return wait_for_predecessor(lock);
            ++expected_;
            next = std::move(newest_);
            newest_.reset();
        } else if (!others_.empty()) {
            next = std::move(others_.front());
            others_.pop_front();
        } else if (!std::exchange(passed_turn_, true)) {
            // An event may have gone to the inner bus before this subscribed there, and into the
            // log after this looked: once behind its turn, look again.
            lock.unlock();
            bus_->after_turn(topic_, when_released([self = shared_from_this()] {
                                 self->schedule();
                             }));
            return;
        } else {
            return become_live(lock);
        }
        gap_seen_ = false;
        lock.unlock();
        call(*next, false);
    }
}

void replay::wait_for_predecessor(std::unique_lock<std::mutex>& lock) {
    const auto now = bus_->time().now();
    if (!gap_seen_) {
        // The page may have been read before its event was confirmed: look once more at once.
        gap_seen_ = true;
        gap_since_ = now;
        lock.unlock();
        return schedule();
    }
    const auto until = base::saturating_add(gap_since_, bus_->options().gap_timeout());
    if (now >= until) {
        const auto first_missing = std::exchange(expected_, *newest_->event().index());
        gap_seen_ = false;
        lock.unlock();
        bus_->dropped.fetch_add(expected_ - first_missing, std::memory_order_relaxed);
        bus_->log(
            log_level::warn,
            "a predecessor never arrived and was skipped",
            {{"topic", topic_}, {"first_missing", std::to_string(first_missing)}}
        );
        return schedule();
    }
    parked_ = true;
    gap_timer_ = bus_->time().async_wait_until(
        until, executor(), completion{[weak = weak_from_this()](error_code ec) {
            const auto self = weak.lock();
            if (ec || self == nullptr) return;
            {
                const std::lock_guard inner(self->mutex_);
                if (!std::exchange(self->parked_, false)) return;
            }
            self->read_on();
        }}
    );
}

void replay::become_live(std::unique_lock<std::mutex>& lock) {
    live_.store(true, std::memory_order_release);
    scheduled_ = false;
    if (!result_) result_.emplace();
    const auto result = *result_;
    auto waiters = std::exchange(ready_waiters_, {});
    const auto released = std::exchange(markers_, {});
    lock.unlock();
    for (auto& done : waiters) done(result);
}

bool replay::call(delivery& d, bool replayed) noexcept {
    const handler_frame frame(this);
    bool good = true;
    bool failed_live = false;
    running_.store(true);
    if (active_.load()) {
        if (replayed) bus_->replayed.fetch_add(1, std::memory_order_relaxed);
        try {
            (*handler_)(d);
        } catch (...) {
            const bool here = !d.moved_out();
            report_failure(here ? d.event() : event{}, std::current_exception());
            if (replayed) {
                // As the reference: a failure in the history ends the subscription.
                good = false;
            } else {
                failed_live = here && d.unsettled();
            }
        }
    } else {
        good = false;
    }
    if (failed_live)
        std::move(d).reject();
    else if (replayed && !d.moved_out())
        d.release();
    running_.store(false);
    if (!active_.load()) {
        const std::lock_guard lock(mutex_);
        idle_.notify_all();
    } else if (!good) {
        fail(errc::closed, "the handler failed on a replayed event");
    }
    return good;
}

// --- ending --------------------------------------------------------------------------------------

void replay::fail(const error_code& ec, std::string_view why) noexcept {
    bus_->log(log_level::error, why, {{"topic", topic_}, {"error", ec.message()}});
    {
        const std::lock_guard lock(mutex_);
        if (!result_) result_ = ec;
    }
    active_.store(false);
    inner_.stop();
    finish();
}

// The task is over and the subscription has ended.
void replay::finish() noexcept {
    std::optional<delivery> newest;
    std::deque<delivery> others;
    std::vector<completion> ready;
    std::vector<completion> closed;
    std::vector<std::shared_ptr<void>> released;
    std::unique_ptr<clock::wait> timer;
    std::optional<handler> ended;  // may own deliveries of this very subscription
    error_code result;
    {
        const std::lock_guard lock(mutex_);
        if (!live_.load() && !running_.load()) ended = std::exchange(handler_, std::nullopt);
        scheduled_ = false;
        newest = std::move(newest_);
        newest_.reset();
        others = std::exchange(others_, {});
        released = std::exchange(markers_, {});
        timer = std::move(gap_timer_);
        if (!result_) result_ = errc::closed;
        result = *result_;
        ready = std::exchange(ready_waiters_, {});
        if (!running_.load() && !busy_elsewhere()) closed = std::exchange(close_waiters_, {});
        idle_.notify_all();
    }
    for (auto& done : ready) done(result);
    for (auto& done : closed) done({});
}

void replay::stop() noexcept {
    if (!active_.exchange(false)) return;
    inner_.stop();
    bool over = false;
    bool wake = false;
    {
        const std::lock_guard lock(mutex_);
        over = !scheduled_;
        wake = std::exchange(parked_, false) || std::exchange(awaiting_place_, false);
    }
    if (over)
        finish();
    else if (wake)
        schedule();
}

void replay::wait_idle() noexcept {
    if (handler_frame::contains(this)) return;
    {
        std::unique_lock lock(mutex_);
        idle_.wait(lock, [this] { return !running_.load(); });
    }
    inner_.stop_and_wait();
}

void replay::mark(std::shared_ptr<void> barrier) {
    const std::lock_guard lock(mutex_);
    if (scheduled_) markers_.push_back(std::move(barrier));
}

void replay::ready(completion done) {
    error_code result;
    {
        const std::lock_guard lock(mutex_);
        if (!result_) {
            ready_waiters_.push_back(std::move(done));
            return;
        }
        result = *result_;
    }
    done(result);
}

void replay::close(completion done) {
    stop();
    auto both = when_released([done = std::make_shared<completion>(std::move(done))] {
        if (*done) (*done)({});
    });
    inner_.close([both](error_code) {});
    const std::lock_guard lock(mutex_);
    if (scheduled_ || running_.load() || busy_elsewhere())
        close_waiters_.push_back(completion{[both](error_code) {}});
}

std::optional<offset_gap> replay::gap() const {
    const std::lock_guard lock(mutex_);
    return gap_;
}

boost::asio::any_io_executor replay::executor() {
    return bus_->inner().executor();
}

// --- replayed deliveries that were moved out -----------------------------------------------------

void replay::hold() noexcept {
    const std::lock_guard lock(mutex_);
    if (held_.fetch_add(1) == 0 && calls_.load() == 0) self_ = shared_from_this();
}

void replay::begin_call() noexcept {
    const std::lock_guard lock(mutex_);
    if (calls_.fetch_add(1) == 0 && held_.load() == 0) self_ = shared_from_this();
}

void replay::end_call() noexcept {
    release_one(calls_);
}

void replay::release_one(std::atomic<std::uint32_t>& count) noexcept {
    std::shared_ptr<replay> self;
    std::vector<completion> closed;
    bool wake = false;
    {
        const std::lock_guard lock(mutex_);
        count.fetch_sub(1);
        if (may_go_on()) wake = std::exchange(awaiting_place_, false);
        if (!busy_elsewhere()) self = std::move(self_);
        if (self != nullptr && !wake && !scheduled_ && !active_.load())
            closed = std::exchange(close_waiters_, {});
    }
    if (wake) schedule();
    for (auto& done : closed) done({});
}

// Replayed deliveries that were moved out, or coroutines that are not at their end.
bool replay::busy_elsewhere() const noexcept {
    return held_.load() > 0 || calls_.load() > 0;
}

// Coroutines are awaited one by one while the history is read; other handlers may keep up to
// `in_flight` deliveries.
bool replay::may_go_on() const noexcept {
    return asynchronous_ ? !busy_elsewhere() : held_.load() < options_.in_flight();
}

void replay::extend(const event&, std::uint64_t, completion done) noexcept {
    if (done) done({});
}

void replay::report_failure(const event& e, std::exception_ptr failure) noexcept {
    bus_->handler_failures.fetch_add(1, std::memory_order_relaxed);
    bus_->log(
        log_level::warn,
        "handler failed",
        {{"topic", topic_},
         {"error", describe(std::move(failure))},
         {"event", e ? e.id().text() : std::string{}}}
    );
}

}  // namespace caching
TRUNKLINE_NAMESPACE_END
