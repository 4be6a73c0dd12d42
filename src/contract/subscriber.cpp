#include "contract/subscriber.hpp"

#include "base/asymmetric_fence.hpp"
#include "contract/describe.hpp"
#include "contract/handler_frame.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <exception>
#include <string>
#include <utility>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

TRUNKLINE_NAMESPACE_BEGIN

namespace {

// Events that one drain task handles before it lets others on the executor have a turn.
constexpr unsigned drain_budget = 1024;
// Looks at an empty queue before a drain task ends: saves a post and a wake-up under load.
constexpr unsigned spins_before_idle = 200;
constexpr unsigned looks_before_sleep = 50;
// A publisher that waits for room goes on when an eighth of the limit is free: woken for every
// single place it would meet the drain task at each event.
constexpr std::size_t freed_share = 8;

void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// For the two that meet at a queue for every event: what the other does there is shorter than
// going to sleep.
std::unique_lock<std::mutex> lock_soon(std::mutex& m) {
    std::unique_lock lock(m, std::try_to_lock);
    for (unsigned i = 0; i < looks_before_sleep && !lock; ++i) {
        relax();
        if (lock.try_lock()) return lock;
    }
    if (!lock) lock.lock();
    return lock;
}

}  // namespace

subscriber::subscriber(
    std::shared_ptr<bus_context> context,
    handler h,
    const subscribe_options& options,
    mode how,
    bool settles,
    bool rejection_is_nack
)
    : context_(std::move(context)),
      handler_(std::move(h)),
      asynchronous_(handler_->asynchronous()),
      options_(options),
      mode_(options.batch() ? mode::queued : how),
      settles_(settles),
      rejection_is_nack_(options.rejection_is_nack().value_or(rejection_is_nack)),
      place_limit_(options.batch() && asynchronous_ ? 1 : options.in_flight()) {
    if (options.batch()) batch_.emplace(*options.batch());
}

subscriber::~subscriber() {
    if (enrolled_) context_->remove(*this);
}

void subscriber::enroll() {
    context_->add(*this);
    enrolled_ = true;
}

// --- giving side ---------------------------------------------------------------------------------

subscriber::admission subscriber::admit_to_queue(
    std::size_t bytes, bool may_wait, const void* origin
) const noexcept {
    const auto events = waiting_events_.load(std::memory_order_relaxed);
    const auto held_bytes = waiting_bytes_.load(std::memory_order_relaxed);
    const auto limit = event_limit();
    const bool room =
        events == 0 || (events < limit && held_bytes + bytes <= options_.queue_bytes());
    if (room) return admission::yes;
    switch (options_.on_full()) {
        case queue_policy::drop_oldest:
        case queue_policy::drop_newest:
            return admission::yes;
        case queue_policy::fail:
            return admission::full;
        case queue_policy::wait:
            break;
    }
    if (!may_wait) return admission::full;
    if (origin == this) return admission::would_deadlock;
    // Awaiting publishers may lead by as much again; what others were promised does not count.
    const bool far_over = room_events_.load(std::memory_order_relaxed) >= options_.queue_limit() ||
                          room_bytes_.load(std::memory_order_relaxed) >= options_.queue_bytes();
    return far_over ? admission::full : admission::after_room;
}

bool subscriber::give_to_queue(
    const event& e, std::uint64_t token, const std::shared_ptr<void>& room
) {
    if (!active_.load(std::memory_order_relaxed)) return false;
    if (batch_)
        push_batched({e, token, is_immediate(e)}, room);
    else
        push({e, token, false}, room);
    return true;
}

void subscriber::push(queued_event&& item, std::shared_ptr<void> room) {
    const auto bytes = item.e.size_bytes();
    queued_event victim;
    bool wake = false;
    {
        const auto lock = lock_soon(mutex_);
        const bool drops = options_.on_full() == queue_policy::drop_oldest ||
                           options_.on_full() == queue_policy::drop_newest;
        const auto waiting = waiting_events_.load(std::memory_order_relaxed);
        const bool full = waiting > 0 && (waiting >= options_.queue_limit() ||
                                          waiting_bytes_.load(std::memory_order_relaxed) + bytes >
                                              options_.queue_bytes());
        const bool drop_this =
            drops && full && (options_.on_full() == queue_policy::drop_newest || queue_.empty());
        if (drops && full && !drop_this) {
            victim = std::move(queue_.front());
            queue_.erase(queue_.begin());
            count_out(victim.e);
            ++drained_;
        }
        if (drop_this) {
            victim = std::move(item);
        } else {
            count_in(item.e);
            queue_.push_back(std::move(item));
            pushed_.store(pushed_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
        }
        if (room != nullptr && over_limit()) wait_for_room(std::move(room), bytes);
        backlog_.store(true, std::memory_order_relaxed);
        wake = !std::exchange(scheduled_, true);
    }
    if (victim.e) dropped(victim, "queue full, event dropped");
    if (wake) schedule();
}

void subscriber::mark(std::shared_ptr<void> barrier) {
    bool wake = false;
    {
        const std::lock_guard lock(mutex_);
        if (batch_ && batch_->size() > 0) {
            batch_due_ = true;
            wake = !std::exchange(scheduled_, true);
        }
        const bool busy = scheduled_ || asynchronous_work();
        if (busy) markers_.push_back({pushed_.load(std::memory_order_relaxed), std::move(barrier)});
    }
    if (wake) schedule();
}

std::vector<queued_event> subscriber::take_leftovers(std::shared_ptr<void> pending) {
    std::vector<queued_event> left;
    barriers released;
    std::unique_ptr<clock::wait> timer;
    std::optional<handler> ended;
    const std::lock_guard lock(mutex_);
    if (scheduled_) {  // the drain task gives back what it finds
        leftovers_pending_ = std::move(pending);
        return left;
    }
    ended = std::exchange(handler_, std::nullopt);
    if (batch_) left = batch_->begin_flush();
    timer = std::move(batch_timer_);
    for (auto& m : std::exchange(markers_, {})) released.push_back(std::move(m.barrier));
    release_room_waiters(released);
    return left;
}

// --- calling the handler -------------------------------------------------------------------------

bool subscriber::run(const event& e, std::uint64_t token) noexcept {
    const handler_frame frame(this);
    // Against wait_idle and close, which stop first and then pass a heavy fence: either they see
    // this call running, or this call sees that it must not start.
    running_.store(true, std::memory_order_relaxed);
    base::light_fence();
    if (!active_.load(std::memory_order_acquire)) {
        end_run();
        return false;
    }
    delivered_.store(delivered_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    {
        auto d = delivery::borrow(e, this, token, settles_);
        bool failed = false;
        try {
            (*handler_)(d);
        } catch (...) {
            note_failure(e, std::current_exception());
            failed = true;
        }
        if (!d.moved_out()) {
            if (failed && d.unsettled())
                std::move(d).reject();
            else if (settles_ && d.unsettled())
                on_drop(e, token);
            d.release();  // NOLINT(bugprone-use-after-move): settling does not move
        }
    }
    end_run();
    return true;
}

void subscriber::wake_stopped() noexcept {
    std::vector<completion> waiters;
    {
        const std::lock_guard lock(mutex_);
        idle_.notify_all();
        if (!asynchronous_work()) waiters = std::exchange(close_waiters_, {});
    }
    for (auto& done : waiters) done({});
}

void subscriber::note_failure(const event& e, std::exception_ptr failure) noexcept {
    context_->handler_failures.fetch_add(1, std::memory_order_relaxed);
    if (!context_->logs(log_level::warn)) return;
    if (e)
        context_->log(
            log_level::warn,
            "handler failed",
            {{"error", describe(std::move(failure))},
             {"event", e.id().text()},
             {"type", std::string(e.type())},
             {"attempt", std::to_string(e.delivery_attempt())}}
        );
    else
        context_->log(log_level::warn, "handler failed", {{"error", describe(std::move(failure))}});
}

// --- the drain task ------------------------------------------------------------------------------

void subscriber::schedule() noexcept {
    boost::asio::post(context_->executor(), [self = shared_from_this()] { self->drain(); });
}

void subscriber::drain() {
    unsigned budget = drain_budget;
    bool spun = false;
    for (;;) {
        if (work_at_ == work_.size()) {
            const auto step = next_work(spun);
            if (step == next_step::over) return;
            if (step == next_step::again) continue;
        }
        while (work_at_ < work_.size()) {
            if (!active_.load(std::memory_order_relaxed)) return abandon();
            if (places() >= place_limit_) {
                const std::lock_guard lock(mutex_);
                if (places() >= place_limit_ && active_.load()) {
                    stalled_ = true;
                    return;
                }
            }
            if (budget-- == 0) return schedule();
            auto& item = work_[work_at_];
            count_out(item.e);
            if (!run(item.e, item.token)) return abandon();
            item.e = {};
            ++work_at_;
            if (room_wanted_.load(std::memory_order_relaxed)) [[unlikely]] {
                barriers released;
                const std::lock_guard lock(mutex_);
                if (has_room_again()) release_room_waiters(released);
            }
        }
    }
}

// Fetches the next run of events, or ends the task.
subscriber::next_step subscriber::next_work(bool& spun) {
    barriers released;  // destroyed after the lock: their ends may do anything
    auto lock = lock_soon(mutex_);
    drained_ += work_.size();
    work_.clear();
    work_at_ = 0;
    if (room_wanted_.load(std::memory_order_relaxed) && has_room_again())
        release_room_waiters(released);
    if (!active_.load()) {
        lock.unlock();
        abandon();
        return next_step::over;
    }
    if (batch_) {
        const auto step = next_batch(lock);
        if (!lock.owns_lock()) lock.lock();
        release_reached_markers(released);
        return step;
    }
    release_reached_markers(released);
    if (!queue_.empty()) {
        if (places() >= place_limit_) {
            stalled_ = true;
            return next_step::over;
        }
        if (options_.on_full() == queue_policy::drop_oldest) {
            // What waits must stay where a push can find the oldest of it.
            work_.push_back(std::move(queue_.front()));
            queue_.erase(queue_.begin());
        } else {
            std::swap(work_, queue_);
        }
        spun = false;
        return next_step::work;
    }
    if (!spun && mode_ == mode::queued && context_->worth_another_look()) {
        spun = true;
        const auto seen = pushed_.load(std::memory_order_relaxed);
        lock.unlock();
        for (unsigned i = 0; i < spins_before_idle; ++i) {
            if (pushed_.load(std::memory_order_relaxed) != seen) break;
            relax();
        }
        return next_step::again;
    }
    scheduled_ = false;
    backlog_.store(false, std::memory_order_release);
    return next_step::over;
}

// The subscription ended while this task had work: everything not started goes back.
void subscriber::abandon() noexcept {
    std::shared_ptr<void> pending;  // released last, when everything was given back
    std::vector<queued_event> left;
    barriers released;
    std::optional<handler> ended;
    {
        const std::lock_guard lock(mutex_);
        ended = std::exchange(handler_, std::nullopt);
        left.assign(
            std::make_move_iterator(work_.begin() + static_cast<std::ptrdiff_t>(work_at_)),
            std::make_move_iterator(work_.end())
        );
        work_.clear();
        work_at_ = 0;
        auto queued = batch_ ? batch_->begin_flush() : std::exchange(queue_, {});
        std::move(queued.begin(), queued.end(), std::back_inserter(left));
        for (auto& m : std::exchange(markers_, {})) released.push_back(std::move(m.barrier));
        release_room_waiters(released);
        batch_timer_.reset();
        scheduled_ = false;
        pending = std::move(leftovers_pending_);
    }
    waiting_events_.store(0, std::memory_order_relaxed);
    waiting_bytes_.store(0, std::memory_order_relaxed);
    if (!left.empty()) give_back(std::move(left));
}

void subscriber::dropped(const queued_event& item, std::string_view why) {
    context_->dropped.fetch_add(1, std::memory_order_relaxed);
    if (context_->logs(log_level::warn))
        context_->log(
            log_level::warn,
            why,
            {{"event", item.e.id().text()}, {"type", std::string(item.e.type())}}
        );
    on_ack(item.e, item.token);
}

void subscriber::count_out(const event& e) noexcept {
    waiting_events_.fetch_sub(1, std::memory_order_relaxed);
    waiting_bytes_.fetch_sub(e.size_bytes(), std::memory_order_relaxed);
}

void subscriber::wait_for_room(std::shared_ptr<void> room, std::size_t bytes) {
    room_waiters_.push_back(std::move(room));
    room_events_.fetch_add(1, std::memory_order_relaxed);
    room_bytes_.fetch_add(bytes, std::memory_order_relaxed);
    room_wanted_.store(true, std::memory_order_relaxed);
}

void subscriber::release_room_waiters(barriers& out) {
    for (auto& w : std::exchange(room_waiters_, {})) out.push_back(std::move(w));
    room_events_.store(0, std::memory_order_relaxed);
    room_bytes_.store(0, std::memory_order_relaxed);
    room_wanted_.store(false, std::memory_order_relaxed);
}

void subscriber::count_in(const event& e) noexcept {
    waiting_events_.fetch_add(1, std::memory_order_relaxed);
    waiting_bytes_.fetch_add(e.size_bytes(), std::memory_order_relaxed);
}

bool subscriber::over_limit() const noexcept {
    return waiting_events_.load(std::memory_order_relaxed) > event_limit() ||
           waiting_bytes_.load(std::memory_order_relaxed) > options_.queue_bytes();
}

bool subscriber::has_room_again() const noexcept {
    const auto below = [](std::size_t limit) { return limit - limit / freed_share; };
    return waiting_events_.load(std::memory_order_relaxed) <= below(event_limit()) &&
           waiting_bytes_.load(std::memory_order_relaxed) <= below(options_.queue_bytes());
}

void subscriber::release_reached_markers(barriers& out) {
    if (markers_.empty() || asynchronous_work()) return;
    std::erase_if(markers_, [&](marker& m) {
        if (m.position > drained_) return false;
        out.push_back(std::move(m.barrier));
        return true;
    });
}

// --- ending --------------------------------------------------------------------------------------

void subscriber::stop() noexcept {
    if (!active_.exchange(false)) return;
    bool wake = false;
    {
        const std::lock_guard lock(mutex_);
        wake = std::exchange(stalled_, false);
    }
    if (wake) schedule();
    on_stop();
}

void subscriber::wait_idle() noexcept {
    if (handler_frame::contains(this)) return;
    base::heavy_fence();
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return !running_.load(); });
}

void subscriber::close(completion done) {
    stop();
    base::heavy_fence();
    {
        const std::lock_guard lock(mutex_);
        if (running_.load() || asynchronous_work()) {
            close_waiters_.push_back(std::move(done));
            return;
        }
    }
    done({});
}

// --- settling ------------------------------------------------------------------------------------

void subscriber::hold() noexcept {
    const std::lock_guard lock(mutex_);
    if (held_.fetch_add(1) == 0 && calls_.load() == 0) self_ = shared_from_this();
}

void subscriber::begin_call() noexcept {
    const std::lock_guard lock(mutex_);
    if (calls_.fetch_add(1) == 0 && held_.load() == 0) self_ = shared_from_this();
}

void subscriber::end_call() noexcept {
    release_one(calls_);
}

void subscriber::ack(const event& e, std::uint64_t token, bool held) noexcept {
    on_ack(e, token);
    if (held) release_one(held_);
}

void subscriber::nack(const event& e, std::uint64_t token, bool held) noexcept {
    on_nack(e, token);
    if (held) release_one(held_);
}

void subscriber::reject(const event& e, std::uint64_t token, bool held) noexcept {
    if (rejection_is_nack_)
        nack(e, token, held);
    else
        drop(e, token, held);
}

void subscriber::drop(const event& e, std::uint64_t token, bool held) noexcept {
    on_drop(e, token);
    if (held) release_one(held_);
}

void subscriber::extend(const event&, std::uint64_t, completion done) noexcept {
    if (done) done({});  // no deadline here, so nothing to push back
}

void subscriber::report_failure(const event& e, std::exception_ptr failure) noexcept {
    note_failure(e, std::move(failure));
}

// A held delivery was settled, or an asynchronous call has ended.
void subscriber::release_one(std::atomic<std::uint32_t>& count) noexcept {
    std::shared_ptr<subscriber> self;  // may be the last owner: destroyed after the lock
    std::vector<completion> waiters;
    barriers released;
    bool wake = false;
    {
        const std::lock_guard lock(mutex_);
        count.fetch_sub(1);
        if (held_.load() == 0 && calls_.load() == 0) self = std::move(self_);
        if (!asynchronous_work()) {
            if (!active_.load() && !running_.load()) waiters = std::exchange(close_waiters_, {});
            if (!scheduled_) release_reached_markers(released);
        }
        if (stalled_ && places() < place_limit_) {
            stalled_ = false;
            wake = true;
        }
    }
    if (wake) schedule();
    for (auto& done : waiters) done({});
}

bool subscriber::asynchronous_work() const noexcept {
    return asynchronous_ && places() > 0;
}

TRUNKLINE_NAMESPACE_END
