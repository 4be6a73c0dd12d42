#pragma once

#include <trunkline/pubsub.hpp>
#include <trunkline/server_cache.hpp>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace caching {

class core;

/// One replay subscription: history from the log, then live events, without gap or duplicate.
///
///   reading --nothing left in the log, nothing waits--> live
///   live    --an event ahead of its predecessor-------> reading
///   any     --stop, gap without on_gap, failure-------> ended
///
/// Reading runs as a task on the executor; live events that arrive meanwhile are kept: of indexed
/// ones only the newest, because the log has the others. In `live`, deliveries are passed straight
/// through. Handler calls never overlap: the task makes them while reading, the inner bus while
/// live.
class replay final : public subscription_state,
                     public settler,
                     public std::enable_shared_from_this<replay> {
public:
    replay(
        std::shared_ptr<core> bus,
        std::string_view topic,
        std::uint64_t offset,
        handler h,
        const subscribe_options& options
    );
    ~replay() override;

    /// Subscribes to the inner bus and starts reading.
    void start();
    /// Releases `barrier` once this is live, or has ended.
    void mark(std::shared_ptr<void> barrier);

    // subscription_state
    void stop() noexcept override;
    void wait_idle() noexcept override;
    void ready(completion done) override;
    void close(completion done) override;
    bool active() const noexcept override { return active_.load(); }
    std::optional<offset_gap> gap() const override;
    boost::asio::any_io_executor executor() override;

    // settler of replayed deliveries: nothing to settle, but a coroutine's end is awaited
    void hold() noexcept override;
    void ack(const event&, std::uint64_t, bool held) noexcept override {
        if (held) release_one(held_);
    }
    void nack(const event&, std::uint64_t, bool held) noexcept override {
        if (held) release_one(held_);
    }
    void drop(const event&, std::uint64_t, bool held) noexcept override {
        if (held) release_one(held_);
    }
    void extend(const event&, std::uint64_t, completion done) noexcept override;
    void report_failure(const event& e, std::exception_ptr failure) noexcept override;
    void begin_call() noexcept override;
    void end_call() noexcept override;

private:
    void on_inner(delivery& d);
    enum class live_step { pass, drop, read };
    live_step judge(const event& e);
    std::uint32_t generation_of(const event& e) const noexcept;
    bool is_positioned(const event& e) const noexcept;
    bool keep(delivery& d);
    void schedule() noexcept;
    void read_on();
    void on_page(const error_code& ec, event_log::page page);
    bool meet_gap(std::uint64_t oldest);
    void deliver_page();
    void deliver_kept();
    bool call(delivery& d, bool replayed) noexcept;
    void fail(const error_code& ec, std::string_view why) noexcept;
    void finish() noexcept;
    void become_live(std::unique_lock<std::mutex>& lock);
    void wait_for_predecessor(std::unique_lock<std::mutex>& lock);
    void release_one(std::atomic<std::uint32_t>& count) noexcept;
    bool busy_elsewhere() const noexcept;
    bool may_go_on() const noexcept;

    const std::shared_ptr<core> bus_;
    const std::string topic_;
    std::optional<handler> handler_;  // destroyed at the end if this never went live
    const bool asynchronous_;
    const subscribe_options options_;
    subscription inner_;

    std::atomic<bool> active_{true};
    std::atomic<bool> live_{false};
    std::atomic<bool> running_{false};  // a call made by the reading task
    std::atomic<std::uint32_t> held_{0};
    std::atomic<std::uint32_t> calls_{0};  // asynchronous handlers at work on replayed events

    // Of the reading task, or of the inner bus's calls while live.
    std::shared_ptr<event_log> log_;
    std::uint64_t expected_;
    std::uint32_t generation_ = 0;
    clock::time_point gap_since_{};
    bool gap_seen_ = false;
    bool positioned_ = false;  // an offset was asked for, not just the oldest event
    bool delivered_ = false;   // something of the history
    bool told_gap_ = false;
    bool passed_turn_ = false;  // what was under way when this subscribed is in the log
    std::vector<event> page_;
    std::size_t page_at_ = 0;

    mutable std::mutex mutex_;
    std::condition_variable idle_;
    bool scheduled_ = false;  // a reading task is posted, runs, or waits for a page or a coroutine
    bool parked_ = false;     // waits for a predecessor
    bool awaiting_place_ = false;     // a coroutine is at work, or in_flight is reached
    std::optional<delivery> newest_;  // the indexed event with the highest index so far
    std::deque<delivery> others_;     // retries and events without index, in order of arrival
    std::vector<completion> ready_waiters_;
    std::vector<completion> close_waiters_;
    std::vector<std::shared_ptr<void>> markers_;
    std::optional<error_code> result_;  // of ready()
    std::optional<offset_gap> gap_;
    std::unique_ptr<clock::wait> gap_timer_;
    std::shared_ptr<replay> self_;  // while a replayed delivery is held outside
};

}  // namespace caching
TRUNKLINE_NAMESPACE_END
