// The batched side of a subscriber: events wait in a batch_buffer, and each flush becomes one run
// of the drain task.
#include "contract/subscriber.hpp"

#include <exception>
#include <limits>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN

void subscriber::push_batched(queued_event&& item, std::shared_ptr<void> room) {
    const auto bytes = item.e.size_bytes();
    std::vector<queued_event> shed;
    bool wake = false;
    {
        const std::lock_guard lock(mutex_);
        count_in(item.e);
        pushed_.store(pushed_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
        if (batch_->push(std::move(item), context_->time().now())) batch_due_ = true;
        if (batch_->size() > event_limit()) {
            shed = batch_->shed();
            for (const auto& lost : shed) count_out(lost.e);
            drained_ += shed.size();
        }
        if (room != nullptr && over_limit()) wait_for_room(std::move(room), bytes);
        backlog_.store(true, std::memory_order_relaxed);
        if (batch_due_)
            wake = !std::exchange(scheduled_, true);
        else
            arm_batch_timer();
    }
    for (const auto& lost : shed) dropped(lost, "batch buffer full, event dropped");
    if (wake) schedule();
}

// One step of batched delivery, with the lock held on entry.
subscriber::next_step subscriber::next_batch(std::unique_lock<std::mutex>& lock) {
    if (batch_delivering_) {
        if (asynchronous_work()) {
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
        const auto taken = snapshot.size();
        for (const auto& item : snapshot) count_out(item.e);
        lock.unlock();
        batch_buffer::choice choice;
        try {
            choice = batch_->choose(std::move(snapshot));
            for (const auto& item : choice.coalesced) on_ack(item.e, item.token);
            for (const auto& item : choice.lost)
                dropped(
                    item,
                    choice.violation ? "coalesce answered with a foreign event, batch dropped"
                                     : "batch buffer full, event dropped"
                );
        } catch (...) {
            // Not acknowledged: a backend that keeps a pending list delivers them again.
            choice = {};
            note_failure({}, std::current_exception());
        }
        lock.lock();
        for (const auto& item : choice.deliver) count_in(item.e);
        drained_ += taken - choice.deliver.size();
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

// User code: no lock is held, and what it throws must not reach the publisher.
bool subscriber::is_immediate(const event& e) noexcept {
    try {
        return batch_->is_immediate(e);
    } catch (...) {
        note_failure(e, std::current_exception());
        return false;
    }
}

// A batch sheds by its own policy long before; this bounds immediate events, which it keeps.
std::size_t subscriber::event_limit() const noexcept {
    const auto limit = options_.queue_limit();
    if (!batch_) return limit;
    const auto more = batch_->options().max_buffer_size();
    return limit > std::numeric_limits<std::size_t>::max() - more
               ? std::numeric_limits<std::size_t>::max()
               : limit + more;
}

TRUNKLINE_NAMESPACE_END
