#pragma once

#include <trunkline/completion.hpp>
#include <trunkline/config.hpp>
#include <trunkline/wall_time.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <chrono>
#include <memory>

TRUNKLINE_NAMESPACE_BEGIN

/// The only source of time; tests bring their own (`testkit::manual_clock`). Threading: any.
class TRUNKLINE_EXPORT clock {
public:
    using time_point = std::chrono::steady_clock::time_point;
    using duration = std::chrono::steady_clock::duration;

    /// A wait that has been started; destroying it cancels it.
    class wait {
    public:
        wait() = default;
        wait(const wait&) = delete;
        wait& operator=(const wait&) = delete;
        virtual ~wait() = default;
    };

    virtual ~clock() = default;

    /// Steady time, for intervals.
    virtual time_point now() const noexcept = 0;
    /// Calendar time, for timestamps.
    virtual wall_time wall() const noexcept = 0;
    /// Calls `done` on `executor`: without error at `when` (soon, if that is past). Destroying the
    /// result first cancels: `done` then runs with operation_aborted or not at all, and a call that
    /// is already on its way may still arrive, so `done` must check what it finds.
    [[nodiscard]] virtual std::unique_ptr<wait> async_wait_until(
        time_point when, const boost::asio::any_io_executor& executor, completion done
    ) = 0;
};

/// The operating system's clocks.
TRUNKLINE_EXPORT std::shared_ptr<clock> system_clock();

TRUNKLINE_NAMESPACE_END
