#pragma once

#include "base/asymmetric_fence.hpp"
#include "contract/batch_buffer.hpp"
#include "contract/bus_context.hpp"

#include <trunkline/delivery.hpp>
#include <trunkline/handler.hpp>
#include <trunkline/options.hpp>
#include <trunkline/subscription.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN

/// One subscription as a backend keeps it: calls its handler, never twice at once and in order,
/// either on the giver's stack or from a bounded queue that is drained on the executor.
///
/// Giving side (`admit`, `give`, `mark`): one thread at a time, the holder of the topic's turn or a
/// backend's strand. Everything else: any thread.
///
///   idle       --give, no inline-->       scheduled (one drain task is posted or runs)
///   scheduled  --queue empty-->           idle
///   scheduled  --in_flight reached-->     stalled   --a delivery is settled-->  scheduled
///   any        --stop-->                  ended: what waits is given back to the backend
class TRUNKLINE_EXPORT subscriber : public subscription_state,
                                    public settler,
                                    public std::enable_shared_from_this<subscriber> {
public:
    enum class mode { inlined, queued };
    enum class admission {
        yes,            ///< there is room, or a policy drops for it
        after_room,     ///< accepted, but the publisher has to wait for room
        full,           ///< refused
        would_deadlock  ///< waiting for room is waiting for the caller itself
    };

    subscriber(
        std::shared_ptr<bus_context> context,
        handler h,
        const subscribe_options& options,
        mode how,
        bool settles,
        bool rejection_is_nack
    );
    ~subscriber() override;

    /// Makes this known to its context, once a shared pointer owns it.
    void enroll();

    /// Could `give` take this event now? `may_wait`: an awaited publish asks, from
    /// inside a handler of `origin` (null: from none).
    admission admit(const event& e, bool may_wait, const void* origin) const noexcept {
        if (mode_ == mode::inlined && !backlog_.load(std::memory_order_acquire)) [[likely]]
            return admission::yes;
        return admit_to_queue(e.size_bytes(), may_wait, origin);
    }

    /// Hands over one event: calls the handler at once, or queues it. False when the subscription
    /// has ended. Over the limit it is taken all the same: `admit`
    /// decides. `room`, if any, is released when the queue is clearly below its limits again.
    bool give(const event& e, std::uint64_t token, const std::shared_ptr<void>& room) {
        if (mode_ == mode::inlined && !backlog_.load(std::memory_order_acquire) &&
            places() < place_limit_) [[likely]]
            return run(e, token);
        return give_to_queue(e, token, room);
    }

    /// Releases `barrier` once everything given before has been handled; also flushes a batch.
    void mark(std::shared_ptr<void> barrier);

    /// After `stop`: what waited and was never started. If a drain task still owns it, that gives
    /// it back, and `pending` is kept until then.
    std::vector<queued_event> take_leftovers(std::shared_ptr<void> pending);

    unsigned long long delivered() const noexcept {
        return delivered_.load(std::memory_order_relaxed);
    }

    // For bus_context, with its mutex held.
    std::size_t registry_position() const noexcept { return registry_position_; }
    void set_registry_position(std::size_t position) noexcept { registry_position_ = position; }

    // subscription_state
    void stop() noexcept override;
    void wait_idle() noexcept override;
    void ready(completion done) override { done({}); }
    void close(completion done) override;
    bool active() const noexcept override { return active_.load(); }
    std::optional<offset_gap> gap() const override { return std::nullopt; }
    boost::asio::any_io_executor executor() override { return context_->executor(); }

    // settler
    void hold() noexcept override;
    void ack(const event& e, std::uint64_t token, bool held) noexcept override;
    void nack(const event& e, std::uint64_t token, bool held) noexcept override;
    void reject(const event& e, std::uint64_t token, bool held) noexcept override;
    void drop(const event& e, std::uint64_t token, bool held) noexcept override;
    void extend(const event& e, std::uint64_t token, completion done) noexcept override;
    void report_failure(const event& e, std::exception_ptr failure) noexcept override;
    void begin_call() noexcept override;
    void end_call() noexcept override;

protected:
    /// How a delivery ended, for the backend.
    virtual void on_ack(const event&, std::uint64_t) noexcept {}
    virtual void on_nack(const event&, std::uint64_t) noexcept {}
    /// Neither: let go unsettled, or failed where that is no nack.
    virtual void on_drop(const event&, std::uint64_t) noexcept {}
    virtual void on_stop() noexcept {}
    /// Events that were queued here and never started; the subscription has ended.
    virtual void give_back(std::vector<queued_event>) noexcept {}

    bus_context& context() const noexcept { return *context_; }
    std::shared_ptr<bus_context> shared_context() const noexcept { return context_; }

private:
    struct marker {
        std::uint64_t position;
        std::shared_ptr<void> barrier;
    };
    using barriers = std::vector<std::shared_ptr<void>>;

    bool run(const event& e, std::uint64_t token) noexcept;
    admission admit_to_queue(std::size_t bytes, bool may_wait, const void* origin) const noexcept;
    bool give_to_queue(const event& e, std::uint64_t token, const std::shared_ptr<void>& room);
    void end_run() noexcept {
        running_.store(false, std::memory_order_release);
        base::light_fence();
        if (!active_.load(std::memory_order_acquire)) [[unlikely]]
            wake_stopped();
    }
    void wake_stopped() noexcept;
    void note_failure(const event& e, std::exception_ptr failure) noexcept;
    void push(queued_event&& item, std::shared_ptr<void> room);
    void push_batched(queued_event&& item, std::shared_ptr<void> room);
    void schedule() noexcept;
    void drain();
    enum class next_step { work, again, over };
    next_step next_work(bool& spun);
    next_step next_batch(std::unique_lock<std::mutex>& lock);
    void abandon() noexcept;
    void arm_batch_timer();
    void wake_for_batch();
    void dropped(const queued_event& item, std::string_view why);
    std::size_t event_limit() const noexcept;
    bool is_immediate(const event& e) noexcept;
    void release_one(std::atomic<std::uint32_t>& count) noexcept;
    /// Deliveries outside the handler; a coroutine occupies its place until it has ended, settled
    /// or not.
    std::uint32_t places() const noexcept { return std::max(held_.load(), calls_.load()); }
    bool asynchronous_work() const noexcept;
    void release_reached_markers(barriers& out);
    void wait_for_room(std::shared_ptr<void> room, std::size_t bytes);
    void release_room_waiters(barriers& out);
    bool over_limit() const noexcept;
    bool has_room_again() const noexcept;
    void count_in(const event& e) noexcept;
    void count_out(const event& e) noexcept;

    const std::shared_ptr<bus_context> context_;
    std::optional<handler>
        handler_;  // destroyed with the subscription's end: it may own deliveries
    const bool asynchronous_;
    const subscribe_options options_;
    const mode mode_;
    const bool settles_;  // ack and nack mean something to the backend
    const bool rejection_is_nack_;
    const std::uint32_t place_limit_;  // inside a batch each call is awaited before the next
    std::size_t registry_position_ = 0;
    bool enrolled_ = false;

    std::atomic<bool> active_{true};
    std::atomic<bool> running_{false};
    std::atomic<bool> backlog_{false};      // inline calls must queue behind what waits
    std::atomic<bool> room_wanted_{false};  // somebody waits in room_waiters_
    std::atomic<std::uint32_t> held_{0};    // moved out and unsettled
    std::atomic<std::uint32_t> calls_{0};   // asynchronous handlers at work
    std::atomic<unsigned long long> delivered_{0};

    std::atomic<std::size_t> waiting_events_{0};  // queue_ and work_
    std::atomic<std::size_t> waiting_bytes_{0};
    std::atomic<std::size_t> room_events_{0};  // of awaiting publishers, counted above too
    std::atomic<std::size_t> room_bytes_{0};
    std::atomic<std::uint64_t> pushed_{0};

    mutable std::mutex mutex_;
    std::condition_variable idle_;
    std::vector<queued_event> queue_;
    bool scheduled_ = false;
    bool stalled_ = false;
    std::vector<marker> markers_;
    barriers room_waiters_;
    std::vector<completion> close_waiters_;
    std::shared_ptr<void> leftovers_pending_;
    std::shared_ptr<subscriber> self_;  // while a delivery is held outside

    // Of the drain task only.
    std::vector<queued_event> work_;
    std::size_t work_at_ = 0;
    std::uint64_t drained_ = 0;  // written with mutex_ held

    // Batching; with mutex_ held.
    std::optional<batch_buffer> batch_;
    bool batch_due_ = false;
    bool batch_delivering_ = false;
    std::unique_ptr<clock::wait> batch_timer_;
    std::optional<clock::time_point> batch_timer_at_;
};

TRUNKLINE_NAMESPACE_END
