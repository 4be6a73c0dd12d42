#pragma once

#include <trunkline/clock.hpp>
#include <trunkline/config.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>

namespace boost::asio {
class io_context;
}

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

/// A clock that stands still until a test moves it.
///
/// Waits fire in the order of their deadlines and, for equal ones, in the order in which they were
/// started: the same in every run. Destroying a wait before it fired makes sure that it never
/// fires; its completion is destroyed without being called. A wait whose deadline has passed when
/// it is started is posted at once. Nothing runs on the stack of `async_wait_until`.
///
/// Threading: any member from any thread; moving the time is for one thread at a time, and not for
/// code that runs inside the drained loop.
class TRUNKLINE_EXPORT manual_clock final : public clock {
public:
    /// Runs what has become possible at the present instant, usually `io_context::poll`.
    using drain = std::function<void()>;

    /// 2024-01-01T00:00:00.000Z
    static wall_time default_start() noexcept;

    /// `start` is what `wall()` shows before time has moved.
    explicit manual_clock(wall_time start = default_start());
    ~manual_clock() override;

    time_point now() const noexcept override;
    wall_time wall() const noexcept override;
    [[nodiscard]] std::unique_ptr<wait> async_wait_until(
        time_point when, const boost::asio::any_io_executor& executor, completion done
    ) override;

    /// Drains, then moves from deadline to deadline up to `by` from now, fires one wait at each
    /// step and drains again. Ends exactly `by` later, drained. Negative durations do nothing.
    void advance(duration by, const drain& run = {});
    /// The same, draining `loop` by polling it.
    void advance(duration by, boost::asio::io_context& loop);

    /// Moves to the next deadline and fires that one wait, if it is not later than `limit`; answers
    /// whether it did. Does not drain.
    bool fire_next(time_point limit = time_point::max());

    /// Jumps the calendar without moving steady time, as an administrator or a time server does.
    void shift_wall(std::chrono::milliseconds by) noexcept;

    /// Deadline of the wait that fires next; nothing when none waits.
    std::optional<time_point> next_deadline() const;
    /// Waits that have neither fired nor been cancelled.
    std::size_t waiting() const;

private:
    class pending;
    struct table;
    void move_to(time_point when) noexcept;

    std::atomic<duration::rep> elapsed_{0};
    std::atomic<std::chrono::milliseconds::rep> wall_start_;
    std::shared_ptr<table> table_;
};

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
