#include "contract/subscriber.hpp"

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

void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

}  // namespace

subscriber::subscriber(
    std::shared_ptr<bus_context> context, handler h, const subscribe_options& options, mode how
)
    : context_(std::move(context)),
      handler_(std::move(h)),
      options_(options),
      mode_(options.batch() ? mode::queued : how) {
    if (options.batch()) batch_.emplace(*options.batch());
    context_->add(*this);
}

subscriber::~subscriber() {
    context_->remove(*this);
}

// --- giving side ---------------------------------------------------------------------------------

subscriber::admission subscriber::admit(std::size_t bytes, bool may_wait, const void* origin)
    const noexcept {
    if (mode_ == mode::inlined && !backlog_.load(std::memory_order_acquire)) return admission::yes;
    const auto events = waiting_events_.load(std::memory_order_relaxed);
    const auto held_bytes = waiting_bytes_.load(std::memory_order_relaxed);
    auto limit = options_.queue_limit();
    // A batch sheds by its own policy long before; this bounds immediate events, which it keeps.
    if (batch_) limit += batch_->options().max_buffer_size();
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
    // Awaiting publishers may lead by as much again.
    const bool far_over = events >= 2 * limit || held_bytes + bytes > 2 * options_.queue_bytes();
    return far_over ? admission::full : admission::after_room;
}

bool subscriber::give(queued_event& item, std::shared_ptr<void> room) {
    if (!active_.load(std::memory_order_relaxed)) return false;
    if (mode_ == mode::inlined && !backlog_.load(std::memory_order_acquire) &&
        held_.load(std::memory_order_acquire) < place_limit())
        return run(item);
    if (batch_)
        push_batched(std::move(item), std::move(room));
    else
        push(std::move(item), std::move(room));
    return true;
}

void subscriber::push(queued_event&& item, std::shared_ptr<void> room) {
    const auto bytes = item.e.size_bytes();
    queued_event victim;
    bool wake = false;
    {
        const std::lock_guard lock(mutex_);
        if (options_.on_full() >= queue_policy::drop_oldest &&
            waiting_events_.load(std::memory_order_relaxed) > 0 &&
            (waiting_events_.load(std::memory_order_relaxed) >= options_.queue_limit() ||
             waiting_bytes_.load(std::memory_order_relaxed) + bytes > options_.queue_bytes())) {
            if (options_.on_full() == queue_policy::drop_newest || queue_.empty()) {
                victim = std::move(item);
            } else {
                victim = std::move(queue_.front());
                queue_.erase(queue_.begin());
                count_out(victim.e);
                ++drained_;
            }
        }
        if (item.e) {
            waiting_events_.fetch_add(1, std::memory_order_relaxed);
            waiting_bytes_.fetch_add(bytes, std::memory_order_relaxed);
            queue_.push_back(std::move(item));
            pushed_.store(pushed_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
        }
        if (room != nullptr) {
            room_waiters_.push_back(std::move(room));
            room_wanted_.store(true, std::memory_order_relaxed);
        }
        backlog_.store(true, std::memory_order_relaxed);
        wake = !std::exchange(scheduled_, true);
    }
    if (victim.e) dropped(victim, "queue full, event dropped");
    if (wake) schedule();
}

void subscriber::push_batched(queued_event&& item, std::shared_ptr<void> room) {
    std::vector<queued_event> shed;
    bool wake = false;
    {
        const std::lock_guard lock(mutex_);
        waiting_events_.fetch_add(1, std::memory_order_relaxed);
        waiting_bytes_.fetch_add(item.e.size_bytes(), std::memory_order_relaxed);
        pushed_.store(pushed_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
        if (batch_->push(std::move(item), context_->time().now())) batch_due_ = true;
        if (batch_->size() > batch_->options().max_buffer_size() + options_.queue_limit()) {
            shed = batch_->shed();
            for (const auto& lost : shed) count_out(lost.e);
            drained_ += shed.size();
        }
        if (room != nullptr) {
            room_waiters_.push_back(std::move(room));
            room_wanted_.store(true, std::memory_order_relaxed);
        }
        backlog_.store(true, std::memory_order_relaxed);
        if (batch_due_)
            wake = !std::exchange(scheduled_, true);
        else
            arm_batch_timer();
    }
    for (const auto& lost : shed) dropped(lost, "batch buffer full, event dropped");
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
        const bool busy = scheduled_ || (handler_.asynchronous() && held_.load() > 0);
        if (busy) markers_.push_back({pushed_.load(std::memory_order_relaxed), std::move(barrier)});
    }
    if (wake) schedule();
}

std::vector<queued_event> subscriber::take_leftovers() {
    std::vector<queued_event> left;
    barriers released;
    std::unique_ptr<clock::wait> timer;
    const std::lock_guard lock(mutex_);
    if (scheduled_) return left;  // the drain task gives back what it finds
    if (batch_) left = batch_->begin_flush();
    timer = std::move(batch_timer_);
    for (auto& m : std::exchange(markers_, {})) released.push_back(std::move(m.barrier));
    for (auto& w : std::exchange(room_waiters_, {})) released.push_back(std::move(w));
    return left;
}

// --- calling the handler -------------------------------------------------------------------------

bool subscriber::run(queued_event& item) noexcept {
    const handler_frame frame(this);
    // Sequentially consistent, as stop() is: either it sees this call running, or this call sees
    // that it must not start.
    running_.store(true);
    if (!active_.load()) {
        end_run();
        return false;
    }
    delivered_.store(delivered_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    {
        delivery d(std::move(item.e), this, item.token);
        try {
            handler_(d);
        } catch (...) {
            const bool here = !d.moved_out();
            note_failure(here ? d.event() : event{}, std::current_exception());
            if (here && d.unsettled()) std::move(d).nack();
        }
        if (!d.moved_out()) d.release();
    }
    end_run();
    return true;
}

void subscriber::end_run() noexcept {
    running_.store(false);
    if (active_.load()) [[likely]]
        return;
    std::vector<completion> waiters;
    {
        const std::lock_guard lock(mutex_);
        idle_.notify_all();
        if (!handler_.asynchronous() || held_.load() == 0)
            waiters = std::exchange(close_waiters_, {});
    }
    for (auto& done : waiters) done({});
}

void subscriber::note_failure(const event& e, std::exception_ptr failure) noexcept {
    context_->handler_failures.fetch_add(1, std::memory_order_relaxed);
    if (!context_->logs(log_level::error)) return;
    if (e)
        context_->log(
            log_level::error,
            "handler failed",
            {{"error", describe(std::move(failure))},
             {"event", e.id().text()},
             {"type", std::string(e.type())},
             {"attempt", std::to_string(e.delivery_attempt())}}
        );
    else
        context_->log(
            log_level::error, "handler failed", {{"error", describe(std::move(failure))}}
        );
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
            if (held_.load(std::memory_order_acquire) >= place_limit()) {
                const std::lock_guard lock(mutex_);
                if (held_.load(std::memory_order_relaxed) >= place_limit() && active_.load()) {
                    stalled_ = true;
                    return;
                }
            }
            if (budget-- == 0) return schedule();
            auto& item = work_[work_at_];
            count_out(item.e);
            if (!run(item)) return abandon();
            ++work_at_;
            if (room_wanted_.load(std::memory_order_relaxed)) [[unlikely]] {
                barriers released;
                const std::lock_guard lock(mutex_);
                if (!over_limit()) {
                    released = std::exchange(room_waiters_, {});
                    room_wanted_.store(false, std::memory_order_relaxed);
                }
            }
        }
    }
}

// Fetches the next run of events, or ends the task.
subscriber::next_step subscriber::next_work(bool& spun) {
    barriers released;  // destroyed after the lock: their ends may do anything
    std::unique_lock lock(mutex_);
    drained_ += work_.size();
    work_.clear();
    work_at_ = 0;
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
    if (!spun && mode_ == mode::queued) {
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

// One step of batched delivery, with the lock held on entry.
subscriber::next_step subscriber::next_batch(std::unique_lock<std::mutex>& lock) {
    if (batch_delivering_) {
        if (handler_.asynchronous() && held_.load() > 0) {
            stalled_ = true;  // the last call of the batch is still at work
            return next_step::over;
        }
        batch_->end_flush(context_->time().now());
        batch_delivering_ = false;
    }
    if (batch_due_ && batch_->size() > 0) {
        batch_due_ = false;
        batch_delivering_ = true;
        batch_timer_.reset();
        batch_timer_at_.reset();
        auto snapshot = batch_->begin_flush();
        const auto whole = snapshot;
        lock.unlock();
        batch_buffer::choice choice;
        try {
            choice = batch_->choose(std::move(snapshot));
            for (const auto& lost : choice.drop) {
                count_out(lost.e);
                if (choice.violation)
                    dropped(lost, "coalesce answered with a foreign event, batch dropped");
                else
                    on_ack(lost.e, lost.token);
            }
        } catch (...) {
            note_failure({}, std::current_exception());
            for (const auto& lost : whole) count_out(lost.e);
            choice = {};
            choice.drop = whole;
        }
        lock.lock();
        drained_ += choice.drop.size();
        work_ = std::move(choice.deliver);
        if (work_.empty()) return next_step::again;
        return next_step::work;
    }
    batch_due_ = false;
    scheduled_ = false;
    if (batch_->size() == 0)
        backlog_.store(false, std::memory_order_release);
    else
        arm_batch_timer();
    return next_step::over;
}

// The subscription ended while this task had work: everything not started goes back.
void subscriber::abandon() noexcept {
    std::vector<queued_event> left;
    barriers released;
    {
        const std::lock_guard lock(mutex_);
        left.assign(
            std::make_move_iterator(work_.begin() + static_cast<std::ptrdiff_t>(work_at_)),
            std::make_move_iterator(work_.end())
        );
        work_.clear();
        work_at_ = 0;
        auto queued = batch_ ? batch_->begin_flush() : std::exchange(queue_, {});
        std::move(queued.begin(), queued.end(), std::back_inserter(left));
        for (auto& m : std::exchange(markers_, {})) released.push_back(std::move(m.barrier));
        for (auto& w : std::exchange(room_waiters_, {})) released.push_back(std::move(w));
        batch_timer_.reset();
        scheduled_ = false;
    }
    waiting_events_.store(0, std::memory_order_relaxed);
    waiting_bytes_.store(0, std::memory_order_relaxed);
    if (!left.empty()) give_back(std::move(left));
}

// With the lock held.
void subscriber::arm_batch_timer() {
    const auto when = batch_->armed();
    if (!when || batch_timer_at_ == when) return;
    batch_timer_at_ = when;
    batch_timer_ = context_->time().async_wait_until(
        *when,
        context_->executor(),
        completion{[weak = weak_from_this(), at = *when](error_code ec) {
            const auto self = weak.lock();
            if (ec || self == nullptr) return;
            {
                const std::lock_guard lock(self->mutex_);
                if (self->batch_timer_at_ != at) return;  // replaced meanwhile
            }
            self->wake_for_batch();
        }}
    );
}

void subscriber::wake_for_batch() {
    {
        const std::lock_guard lock(mutex_);
        batch_timer_at_.reset();
        if (batch_->size() == 0) return;
        batch_due_ = true;
        if (std::exchange(scheduled_, true)) return;
    }
    schedule();
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

bool subscriber::over_limit() const noexcept {
    return waiting_events_.load(std::memory_order_relaxed) > options_.queue_limit() ||
           waiting_bytes_.load(std::memory_order_relaxed) > options_.queue_bytes();
}

void subscriber::release_reached_markers(barriers& out) {
    if (markers_.empty() || (handler_.asynchronous() && held_.load() > 0)) return;
    std::erase_if(markers_, [&](marker& m) {
        if (m.position > drained_) return false;
        out.push_back(std::move(m.barrier));
        return true;
    });
}

std::uint32_t subscriber::place_limit() const noexcept {
    // Inside a batch each call is awaited before the next.
    return batch_ && handler_.asynchronous() ? 1 : options_.in_flight();
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
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return !running_.load(); });
}

void subscriber::close(completion done) {
    stop();
    {
        const std::lock_guard lock(mutex_);
        if (running_.load() || (handler_.asynchronous() && held_.load() > 0)) {
            close_waiters_.push_back(std::move(done));
            return;
        }
    }
    done({});
}

// --- settling ------------------------------------------------------------------------------------

void subscriber::hold() noexcept {
    const std::lock_guard lock(mutex_);
    if (held_.fetch_add(1) == 0) self_ = shared_from_this();
}

void subscriber::ack(const event& e, std::uint64_t token, bool held) noexcept {
    on_ack(e, token);
    if (held) release_place();
}

void subscriber::nack(const event& e, std::uint64_t token, bool held) noexcept {
    on_nack(e, token);
    if (held) release_place();
}

void subscriber::drop(const event&, std::uint64_t, bool held) noexcept {
    if (held) release_place();
}

void subscriber::extend(const event&, std::uint64_t, completion done) noexcept {
    if (done) done({});  // no deadline here, so nothing to push back
}

void subscriber::report_failure(const event& e, std::exception_ptr failure) noexcept {
    note_failure(e, std::move(failure));
}

void subscriber::release_place() noexcept {
    std::shared_ptr<subscriber> self;  // may be the last owner: destroyed after the lock
    std::vector<completion> waiters;
    barriers released;
    bool wake = false;
    {
        const std::lock_guard lock(mutex_);
        const bool last = held_.fetch_sub(1) == 1;
        if (last) {
            self = std::move(self_);
            if (!active_.load() && !running_.load()) waiters = std::exchange(close_waiters_, {});
            if (handler_.asynchronous() && !scheduled_) release_reached_markers(released);
        }
        if (stalled_ && held_.load() < place_limit()) {
            stalled_ = false;
            wake = true;
        }
    }
    if (wake) schedule();
    for (auto& done : waiters) done({});
}

TRUNKLINE_NAMESPACE_END
