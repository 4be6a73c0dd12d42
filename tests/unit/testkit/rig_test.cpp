#include <trunkline/testkit/captured_log.hpp>
#include <trunkline/testkit/rig.hpp>
#include <trunkline/testkit/test_loop.hpp>

#include <boost/asio/post.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <stdexcept>

namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using namespace trunkline::testkit;  // NOLINT(google-build-using-namespace)

TEST(UniqueName, DoesNotRepeat) {
    std::set<std::string> names;
    for (int i = 0; i < 1000; ++i) names.insert(unique_name("t-"));
    EXPECT_EQ(names.size(), 1000U);
    EXPECT_THAT(*names.begin(), testing::MatchesRegex("t-[0-9a-f]{16}"));
}

template <class Loop>
class TestLoop : public testing::Test {
protected:
    Loop loop_;
};
using loops = testing::Types<virtual_loop, wall_loop>;
TYPED_TEST_SUITE(TestLoop, loops);

TYPED_TEST(TestLoop, RunsUntilTheConditionHolds) {
    std::atomic<int> count{0};
    for (int i = 0; i < 3; ++i) {
        boost::asio::post(this->loop_.executor(), [&] {
            count.fetch_add(1);
            this->loop_.wake();
        });
    }
    EXPECT_TRUE(this->loop_.run_until([&] { return count.load() == 3; }, std::chrono::minutes{1}));
}

TYPED_TEST(TestLoop, GivesUpAtTheLimit) {
    EXPECT_FALSE(this->loop_.run_until([] { return false; }, milliseconds{5}));
}

TYPED_TEST(TestLoop, RunsWhatComesDue) {
    std::atomic<bool> fired{false};
    const auto clock = this->loop_.clock();
    const auto wait = clock->async_wait_until(
        clock->now() + milliseconds{10},
        this->loop_.executor(),
        trunkline::completion{[&](trunkline::error_code) {
            fired.store(true);
            this->loop_.wake();
        }}
    );
    EXPECT_TRUE(this->loop_.run_until([&] { return fired.load(); }, std::chrono::minutes{1}));
}

TYPED_TEST(TestLoop, RunsWhileOtherThreadsWork) {
    std::atomic<int> posted{0};
    std::atomic<int> left{4};
    this->loop_.in_threads(4, [&](std::size_t) {
        // Comes back only because the loop runs meanwhile.
        std::atomic<bool> done{false};
        boost::asio::post(this->loop_.executor(), [&] {
            posted.fetch_add(1);
            done.store(true);
            done.notify_all();
        });
        done.wait(false);
        left.fetch_sub(1);
    });
    EXPECT_EQ(posted.load(), 4);
    EXPECT_EQ(left.load(), 0);
}

TYPED_TEST(TestLoop, RethrowsFromItsThreads) {
    EXPECT_THROW(
        this->loop_.in_threads(
            3,
            [](std::size_t i) {
                if (i == 1) throw std::runtime_error("as the test asked");
            }
        ),
        std::runtime_error
    );
}

// Nothing waits and nothing runs: there is no point in letting an hour pass.
TEST(VirtualLoop, NoticesThatNothingIsLeft) {
    virtual_loop loop;
    const auto before = loop.clock()->now();
    EXPECT_FALSE(loop.run_until([] { return false; }, std::chrono::hours{1}));
    EXPECT_EQ(loop.clock()->now(), before);
}

TEST(VirtualLoop, DoesNotRunPastTheLimit) {
    virtual_loop loop;
    bool fired = false;
    const auto wait = loop.clock()->async_wait_until(
        loop.clock()->now() + milliseconds{11},
        loop.executor(),
        trunkline::completion{[&](trunkline::error_code) { fired = true; }}
    );
    EXPECT_FALSE(loop.run_until([&] { return fired; }, milliseconds{10}));
    EXPECT_FALSE(fired);
    EXPECT_TRUE(loop.run_until([&] { return fired; }, milliseconds{11}));
}

TEST(WallLoop, NeedsAThread) {
    EXPECT_THROW(wall_loop{0}, std::invalid_argument);
}

std::unique_ptr<rig> without_a_bus() {
    return std::make_unique<virtual_rig>([](const rig_environment&) {
        return std::shared_ptr<trunkline::pubsub>{};
    });
}

TEST(Rig, FailsTheTestWhenTheConditionNeverHolds) {
    EXPECT_NONFATAL_FAILURE(
        {
            auto r = without_a_bus();
            EXPECT_ANY_THROW(r->run_until([] { return false; }, milliseconds{7}));
        },
        "the condition does not hold within 7 ms of bus time"
    );
}

TEST(Rig, NamesAreStableAndItsOwn) {
    const auto a = without_a_bus(), b = without_a_bus();
    EXPECT_EQ(a->topic("x"), a->topic("x"));
    EXPECT_NE(a->topic("x"), a->topic("y"));
    EXPECT_NE(a->topic("x"), b->topic("x"));
    EXPECT_NE(a->group("g"), b->group("g"));
}

TEST(Rig, CachesAreKeptPerInstance) {
    const auto r = without_a_bus();
    EXPECT_EQ(r->shared_cache(0), r->shared_cache(0));
    EXPECT_NE(r->shared_cache(0), r->shared_cache(1));
    EXPECT_EQ(r->environment(1).cache, r->shared_cache(1));
    EXPECT_EQ(r->environment(1).instance, 1U);
}

TEST(CapturedLog, KeepsWhatIsLogged) {
    const captured_log log{trunkline::log_level::info};
    log.logger().log(trunkline::log_level::debug, "c", "too quiet");
    log.logger().log(trunkline::log_level::warn, "c", "loud", {{"topic", "t"}});
    EXPECT_EQ(log.entries().size(), 1U);
    EXPECT_EQ(log.count(trunkline::log_level::warn), 1U);
    EXPECT_EQ(log.count(trunkline::log_level::info), 0U);
    EXPECT_EQ(log.count("topic=t"), 1U);
    EXPECT_EQ(log.entries()[0].component, "c");
}

}  // namespace
