#pragma once

#include "exit_code.hpp"

#include <trunkline/clock.hpp>

#include <atomic>
#include <optional>

namespace trunkline_cli {

/// What the main thread waits with: for the command's own progress, for input, for a moment, and
/// always also for what ends the command early: SIGINT or SIGTERM, its time limit, a failure.
///
/// One per process at a time. The first signal ends the command cleanly, a second one kills it.
/// Threading: `fail`, `wake` and `over` from any thread, the rest from the main thread.
class watch {
public:
    using time_point = trunkline::clock::time_point;

    /// `seconds`: how long the command may take, from now on.
    explicit watch(std::optional<double> seconds = std::nullopt);
    ~watch();
    watch(const watch&) = delete;
    watch& operator=(const watch&) = delete;

    static time_point now();

    /// Ends the command with `exit_code::failed`.
    void fail() noexcept;
    /// Makes `wait` look at its condition again.
    void wake() const noexcept;
    /// True once the command is to end before its work is done.
    bool over() const noexcept;
    /// Why it is over; `done` when it is not, or when a signal ended it.
    exit_code result() const noexcept;

    /// Each returns false when the command is over first.
    template <class Condition>
    bool wait(Condition condition) {
        for (;;) {
            if (condition()) return true;
            if (over()) return false;
            pause(std::nullopt, -1);
        }
    }
    /// The same with a time limit of its own.
    template <class Condition>
    bool wait_for(Condition condition, trunkline::clock::duration most) {
        for (const auto end = now() + most;;) {
            if (condition()) return true;
            if (over() || now() >= end) return false;
            pause(end, -1);
        }
    }
    /// `wait` also when the command is over, for `grace` at most: for what has begun before.
    template <class Condition>
    bool wait_out(Condition condition, trunkline::clock::duration grace) {
        if (wait(condition)) return true;
        for (const auto end = now() + grace; now() < end;) {
            if (condition()) return true;
            pause(end, -1);
        }
        return condition();
    }
    bool wait_until(time_point when);
    /// True when a read from `fd` will not block.
    bool wait_readable(int fd);

private:
    bool past_limit() const noexcept;
    bool pause(std::optional<time_point> until, int fd);

    std::optional<time_point> limit_;
    int wake_fd_;
    std::atomic<bool> failed_{false};
};

}  // namespace trunkline_cli
