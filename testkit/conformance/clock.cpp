#include "support.hpp"

#include <atomic>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

namespace {

using std::chrono::seconds;

// Starts a wait that counts its calls and notes whether it ran inside async_wait_until.
struct observed_wait {
    struct state {
        std::atomic<int> calls{0};
        std::atomic<bool> ok{false};
        std::atomic<clock::duration::rep> at{0};
    };
    std::shared_ptr<state> seen = std::make_shared<state>();
    std::unique_ptr<clock::wait> handle;

    observed_wait(test_loop& loop, clock::time_point when) {
        handle = loop.clock()->async_wait_until(
            when, loop.executor(), completion{[s = seen, &loop](error_code ec) {
                s->at.store(loop.clock()->now().time_since_epoch().count());
                s->ok.store(!ec);
                s->calls.fetch_add(1);
                loop.wake();
            }}
        );
    }
    bool fired() const { return seen->calls.load() > 0 && seen->ok.load(); }
};

}  // namespace

TEST_P(ClockConformance, NowNeverFalls) {
    auto loop = open();
    auto last = loop->clock()->now();
    for (int i = 0; i < 100; ++i) {
        if (i % 10 == 0) loop->advance(milliseconds{1});
        const auto now = loop->clock()->now();
        EXPECT_GE(now, last);
        last = now;
    }
}

TEST_P(ClockConformance, NowMovesByWhatPasses) {
    auto loop = open();
    const auto before = loop->clock()->now();
    loop->advance(milliseconds{20});
    EXPECT_GE(loop->clock()->now() - before, milliseconds{20});
    if (loop->exact()) EXPECT_EQ(loop->clock()->now() - before, milliseconds{20});
}

TEST_P(ClockConformance, WallMovesAlong) {
    auto loop = open();
    const auto before = loop->clock()->wall();
    EXPECT_GT(before, wall_time{std::chrono::sys_days{std::chrono::year{2020} / 1 / 1}});
    loop->advance(milliseconds{20});
    if (loop->exact())
        EXPECT_EQ(loop->clock()->wall() - before, milliseconds{20});
    else
        EXPECT_GT(loop->clock()->wall(), before);
}

TEST_P(ClockConformance, WaitEndsNotBeforeItsTime) {
    auto loop = open();
    const auto when = loop->clock()->now() + milliseconds{15};
    const observed_wait wait{*loop, when};
    ASSERT_TRUE(loop->run_until([&] { return wait.fired(); }, seconds{30}));
    EXPECT_GE(clock::duration{wait.seen->at.load()}, when.time_since_epoch());
    EXPECT_EQ(wait.seen->calls.load(), 1);
}

TEST_P(ClockConformance, PastWaitEndsSoon) {
    auto loop = open();
    const observed_wait now{*loop, loop->clock()->now()};
    const observed_wait past{*loop, loop->clock()->now() - std::chrono::hours{1}};
    const observed_wait ancient{*loop, clock::time_point::min()};
    ASSERT_TRUE(
        loop->run_until([&] { return now.fired() && past.fired() && ancient.fired(); }, seconds{30})
    );
}

TEST_P(ClockConformance, CompletionIsNeverInsideTheCall) {
    auto loop = open();
    static thread_local bool starting = false;
    std::atomic<int> inside{0}, done{0};
    starting = true;
    const auto wait = loop->clock()->async_wait_until(
        loop->clock()->now() - seconds{1}, loop->executor(), completion{[&](error_code) {
            if (starting) inside.fetch_add(1);
            done.fetch_add(1);
            loop->wake();
        }}
    );
    starting = false;
    ASSERT_TRUE(loop->run_until([&] { return done.load() == 1; }, seconds{30}));
    EXPECT_EQ(inside.load(), 0);
}

TEST_P(ClockConformance, WaitsEndInTheOrderOfTheirDeadlines) {
    auto loop = open();
    std::mutex mutex;
    std::vector<int> order;
    std::vector<std::unique_ptr<clock::wait>> waits;
    const auto start = loop->clock()->now();
    for (const int step : {3, 1, 2}) {
        waits.push_back(loop->clock()->async_wait_until(
            start + milliseconds{20} * step, loop->executor(), completion{[&, step](error_code) {
                const std::lock_guard lock(mutex);
                order.push_back(step);
                loop->wake();
            }}
        ));
    }
    const auto all = [&] {
        const std::lock_guard lock(mutex);
        return order.size() == 3;
    };
    ASSERT_TRUE(loop->run_until(all, seconds{30}));
    EXPECT_THAT(order, ElementsAre(1, 2, 3));
}

TEST_P(ClockConformance, CancelledWaitDoesNotSucceed) {
    auto loop = open();
    observed_wait cancelled{*loop, loop->clock()->now() + milliseconds{10}};
    const observed_wait later{*loop, loop->clock()->now() + milliseconds{30}};
    cancelled.handle.reset();
    ASSERT_TRUE(loop->run_until([&] { return later.fired(); }, seconds{30}));
    EXPECT_FALSE(cancelled.fired());
    EXPECT_LE(cancelled.seen->calls.load(), 1);
}

TEST_P(ClockConformance, WaitMayEndAfterItsHandleIsGoneTooLate) {
    auto loop = open();
    observed_wait wait{*loop, loop->clock()->now() + milliseconds{1}};
    ASSERT_TRUE(loop->run_until([&] { return wait.fired(); }, seconds{30}));
    wait.handle.reset();
    loop->advance(milliseconds{1});
    EXPECT_EQ(wait.seen->calls.load(), 1);
}

TEST_P(ClockConformance, WaitsMayStartOnAnyThread) {
    auto loop = open();
    std::mutex mutex;
    std::vector<observed_wait> waits;
    loop->in_threads(4, [&](std::size_t i) {
        for (int n = 0; n < 50; ++n) {
            observed_wait wait{
                *loop, loop->clock()->now() + milliseconds{static_cast<int>(i) + n % 7}
            };
            if (n % 5 == 0) {
                wait.handle.reset();
                continue;
            }
            const std::lock_guard lock(mutex);
            waits.push_back(std::move(wait));
        }
    });
    const auto all = [&] {
        return std::all_of(waits.begin(), waits.end(), [](auto& w) { return w.fired(); });
    };
    ASSERT_TRUE(loop->run_until(all, seconds{30}));
    EXPECT_EQ(waits.size(), 160U);
    for (const auto& wait : waits) EXPECT_EQ(wait.seen->calls.load(), 1);
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
