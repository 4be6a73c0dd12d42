#include <trunkline/testkit/manual_clock.hpp>

#include <boost/asio/io_context.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;
using trunkline::completion;
using trunkline::error_code;
using trunkline::testkit::manual_clock;

class ManualClock : public testing::Test {
protected:
    // Starts a wait that notes its name when it ends.
    std::unique_ptr<trunkline::clock::wait> wait(milliseconds after, std::string name) {
        return clock_->async_wait_until(
            clock_->now() + after,
            loop_.get_executor(),
            completion{[this, name = std::move(name)](error_code ec) {
                EXPECT_FALSE(ec);
                fired_.push_back(name);
            }}
        );
    }
    void advance(milliseconds by) { clock_->advance(by, loop_); }

    boost::asio::io_context loop_;
    std::shared_ptr<manual_clock> clock_ = std::make_shared<manual_clock>();
    std::vector<std::string> fired_;
};

TEST_F(ManualClock, StandsStill) {
    const auto now = clock_->now();
    const auto wall = clock_->wall();
    EXPECT_EQ(clock_->now(), now);
    EXPECT_EQ(clock_->wall(), wall);
    EXPECT_EQ(wall, manual_clock::default_start());
    EXPECT_EQ(manual_clock{}.now(), now);
}

TEST_F(ManualClock, AdvancesBothTimes) {
    const auto now = clock_->now();
    const auto wall = clock_->wall();
    advance(milliseconds{1500});
    EXPECT_EQ(clock_->now() - now, milliseconds{1500});
    EXPECT_EQ(clock_->wall() - wall, milliseconds{1500});
}

TEST_F(ManualClock, WallRoundsDown) {
    const auto wall = clock_->wall();
    clock_->advance(std::chrono::microseconds{1999});
    EXPECT_EQ(clock_->wall() - wall, milliseconds{1});
}

TEST_F(ManualClock, WallCanJumpAlone) {
    const auto now = clock_->now();
    const auto wall = clock_->wall();
    clock_->shift_wall(milliseconds{-500});
    EXPECT_EQ(clock_->now(), now);
    EXPECT_EQ(clock_->wall() - wall, milliseconds{-500});
}

TEST_F(ManualClock, FiresAtTheDeadlineAndNotBefore) {
    const auto w = wait(milliseconds{10}, "a");
    advance(milliseconds{9});
    EXPECT_THAT(fired_, IsEmpty());
    advance(milliseconds{1});
    EXPECT_THAT(fired_, ElementsAre("a"));
    advance(milliseconds{100});
    EXPECT_THAT(fired_, ElementsAre("a"));
}

TEST_F(ManualClock, FiresInOrderOfDeadlines) {
    const auto b = wait(milliseconds{20}, "b"), a = wait(milliseconds{10}, "a");
    const auto c = wait(milliseconds{30}, "c");
    advance(milliseconds{25});
    EXPECT_THAT(fired_, ElementsAre("a", "b"));
}

TEST_F(ManualClock, EqualDeadlinesFireInOrderOfStart) {
    std::vector<std::unique_ptr<trunkline::clock::wait>> waits;
    for (const auto* name : {"3", "1", "4", "1", "5"}) {
        waits.push_back(wait(milliseconds{10}, name));
    }
    advance(milliseconds{10});
    EXPECT_THAT(fired_, ElementsAre("3", "1", "4", "1", "5"));
}

// Each step is drained before the next one, so a handler sees the time of its own deadline.
TEST_F(ManualClock, MovesFromDeadlineToDeadline) {
    std::vector<milliseconds> seen;
    const auto start = clock_->now();
    std::vector<std::unique_ptr<trunkline::clock::wait>> waits;
    for (const int after : {10, 20, 20, 35}) {
        waits.push_back(clock_->async_wait_until(
            start + milliseconds{after}, loop_.get_executor(), completion{[&](error_code) {
                seen.push_back(std::chrono::duration_cast<milliseconds>(clock_->now() - start));
            }}
        ));
    }
    advance(milliseconds{100});
    EXPECT_THAT(
        seen, ElementsAre(milliseconds{10}, milliseconds{20}, milliseconds{20}, milliseconds{35})
    );
    EXPECT_EQ(clock_->now() - start, milliseconds{100});
}

TEST_F(ManualClock, ChainedWaitsFireWithinOneAdvance) {
    std::unique_ptr<trunkline::clock::wait> second;
    const auto first = clock_->async_wait_until(
        clock_->now() + milliseconds{10}, loop_.get_executor(), completion{[&](error_code) {
            second = wait(milliseconds{10}, "second");
        }}
    );
    advance(milliseconds{19});
    EXPECT_THAT(fired_, IsEmpty());
    advance(milliseconds{1});
    EXPECT_THAT(fired_, ElementsAre("second"));
}

TEST_F(ManualClock, PastDeadlineIsPostedAtOnce) {
    const auto w = wait(milliseconds{-5}, "past"), n = wait(milliseconds{0}, "now");
    EXPECT_THAT(fired_, IsEmpty());
    EXPECT_EQ(clock_->waiting(), 0U);
    loop_.poll();
    EXPECT_THAT(fired_, ElementsAre("past", "now"));
}

TEST_F(ManualClock, DestroyedWaitNeverFires) {
    auto a = wait(milliseconds{10}, "a");
    const auto b = wait(milliseconds{10}, "b");
    a.reset();
    EXPECT_EQ(clock_->waiting(), 1U);
    advance(milliseconds{20});
    EXPECT_THAT(fired_, ElementsAre("b"));
}

TEST_F(ManualClock, CancellingReleasesTheCompletion) {
    auto token = std::make_shared<int>(1);
    const std::weak_ptr<int> watch = token;
    auto w = clock_->async_wait_until(
        clock_->now() + milliseconds{1},
        loop_.get_executor(),
        completion{[token = std::move(token)](error_code) {}}
    );
    EXPECT_FALSE(watch.expired());
    w.reset();
    EXPECT_TRUE(watch.expired());
}

// One handler takes back the other one of the same instant.
TEST_F(ManualClock, WaitMayCancelAnotherOfTheSameInstant) {
    std::unique_ptr<trunkline::clock::wait> second;
    const auto first = clock_->async_wait_until(
        clock_->now() + milliseconds{10}, loop_.get_executor(), completion{[&](error_code) {
            second.reset();
        }}
    );
    second = wait(milliseconds{10}, "second");
    advance(milliseconds{10});
    EXPECT_THAT(fired_, IsEmpty());
}

TEST_F(ManualClock, WaitMayOutliveTheClock) {
    auto w = wait(milliseconds{10}, "a");
    clock_ = nullptr;
    w.reset();
    EXPECT_THAT(fired_, IsEmpty());
}

TEST_F(ManualClock, SaysWhatIsNext) {
    EXPECT_EQ(clock_->next_deadline(), std::nullopt);
    const auto b = wait(milliseconds{20}, "b"), a = wait(milliseconds{10}, "a");
    EXPECT_EQ(clock_->next_deadline(), clock_->now() + milliseconds{10});
    EXPECT_EQ(clock_->waiting(), 2U);
    EXPECT_FALSE(clock_->fire_next(clock_->now() + milliseconds{9}));
    EXPECT_TRUE(clock_->fire_next());
    EXPECT_EQ(clock_->waiting(), 1U);
    loop_.poll();
    EXPECT_THAT(fired_, ElementsAre("a"));
}

TEST_F(ManualClock, NegativeAdvanceDoesNothing) {
    const auto now = clock_->now();
    advance(milliseconds{-1});
    EXPECT_EQ(clock_->now(), now);
}

TEST_F(ManualClock, WaitsStartAndEndOnManyThreads) {
    std::vector<std::thread> threads;
    std::vector<std::vector<std::unique_ptr<trunkline::clock::wait>>> kept(4);
    for (std::size_t t = 0; t < kept.size(); ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 100; ++i) {
                auto w = wait(milliseconds{i % 10 + 1}, "x");
                if (i % 2 == 0) kept[t].push_back(std::move(w));
            }
        });
    }
    for (auto& t : threads) t.join();
    EXPECT_EQ(clock_->waiting(), 200U);
    advance(milliseconds{10});
    EXPECT_EQ(fired_.size(), 200U);
}

}  // namespace
