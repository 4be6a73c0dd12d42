#include "base/time.hpp"

#include <trunkline/clock.hpp>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>

#include <atomic>
#include <cstdint>
#include <time.h>
#include <utility>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

TRUNKLINE_NAMESPACE_BEGIN

namespace base {

namespace {
std::int64_t read_clock(clockid_t which, std::int64_t units_per_second) noexcept {
    timespec t{};
    clock_gettime(which, &t);
    return t.tv_sec * units_per_second + t.tv_nsec / (1'000'000'000 / units_per_second);
}
}  // namespace

wall_time system_wall() noexcept {
#if defined(__x86_64__)
    // A millisecond is long: within some microseconds of the last reading, and not near the end of
    // its millisecond, the answer is the same, and the cycle counter says so three times cheaper
    // than the clock. Counters run at 1 GHz or more, so `ticks` of them are at most 20 µs; one that
    // jumps (another core, a suspended machine) only costs a reading.
    constexpr std::uint64_t ticks = 20'000;
    constexpr std::int64_t ticks_ns_max = 20'000;
    struct reading {
        std::uint64_t valid_from = 0;
        std::uint64_t valid_for = 0;
        std::int64_t ms = 0;
    };
    static thread_local constinit reading last;
    const auto counter = __rdtsc();
    if (counter - last.valid_from < last.valid_for)
        return wall_time{std::chrono::milliseconds{last.ms}};
    const auto ns = read_clock(CLOCK_REALTIME, 1'000'000'000);
    last.ms = ns / 1'000'000;
    last.valid_from = counter;
    last.valid_for = ns % 1'000'000 < 1'000'000 - ticks_ns_max ? ticks : 0;
    return wall_time{std::chrono::milliseconds{last.ms}};
#else
    return wall_time{std::chrono::milliseconds{read_clock(CLOCK_REALTIME, 1000)}};
#endif
}

clock::time_point coarse_now() noexcept {
    return clock::time_point{
        std::chrono::nanoseconds{read_clock(CLOCK_MONOTONIC_COARSE, 1'000'000'000)}
    };
}

}  // namespace base

namespace {

class timer_wait final : public clock::wait {
public:
    struct shared {
        explicit shared(const boost::asio::any_io_executor& executor) : timer(executor) {}
        boost::asio::steady_timer timer;
        std::atomic<bool> cancelled{false};
    };

    explicit timer_wait(std::shared_ptr<shared> s) : shared_(std::move(s)) {}
    // The timer belongs to its executor, which may run its handler on another thread just now:
    // so the cancellation is posted there.
    ~timer_wait() override {
        shared_->cancelled.store(true, std::memory_order_relaxed);
        boost::asio::post(shared_->timer.get_executor(), [s = shared_] { s->timer.cancel(); });
    }

private:
    std::shared_ptr<shared> shared_;
};

class operating_system_clock final : public clock {
public:
    time_point now() const noexcept override { return std::chrono::steady_clock::now(); }
    wall_time wall() const noexcept override { return base::system_wall(); }

    std::unique_ptr<wait> async_wait_until(
        time_point when, const boost::asio::any_io_executor& executor, completion done
    ) override {
        // A strand, because a timer object is not safe to cancel while its handler is started.
        auto shared = std::make_shared<timer_wait::shared>(boost::asio::make_strand(executor));
        boost::asio::post(
            shared->timer.get_executor(),
            [shared, when, done = std::move(done)]() mutable {
                if (shared->cancelled.load(std::memory_order_relaxed)) {
                    done(boost::asio::error::operation_aborted);
                    return;
                }
                shared->timer.expires_at(when);
                shared->timer.async_wait([shared, done = std::move(done)](error_code ec) mutable {
                    done(ec);
                });
            }
        );
        return std::make_unique<timer_wait>(std::move(shared));
    }
};

}  // namespace

std::shared_ptr<clock> system_clock() {
    static const auto instance = std::make_shared<operating_system_clock>();
    return instance;
}

TRUNKLINE_NAMESPACE_END
