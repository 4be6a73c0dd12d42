// The replay decorator and the in-memory cache from inside; what every bus behind it must do is in
// the conformance suites.
#include <trunkline/caching_pubsub.hpp>
#include <trunkline/event_emitter_pubsub.hpp>
#include <trunkline/on_executor.hpp>
#include <trunkline/server_cache.hpp>
#include <trunkline/testkit/manual_clock.hpp>
#include <trunkline/testkit/recorder.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>

namespace trunkline {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using testkit::recorder;
using testkit::verdict;

std::vector<std::optional<std::uint64_t>> numbers(std::uint64_t from, std::uint64_t to) {
    std::vector<std::optional<std::uint64_t>> out;
    for (auto i = from; i < to; ++i) out.emplace_back(i);
    return out;
}

class caching_test : public ::testing::Test {
protected:
    void open(memory_cache_options keep = {}, event_emitter_options how = {}) {
        inner_ = std::make_shared<event_emitter_pubsub>(
            how.executor(loop_.get_executor()).logger(logger::none()).clock(time_)
        );
        cache_ = std::make_shared<memory_server_cache>(keep.clock(time_));
        bus_ = std::make_shared<caching_pubsub>(
            inner_, cache_, caching_options{}.logger(logger::none()).clock(time_)
        );
    }
    void publish(int count, std::string_view topic = "t") {
        for (int i = 0; i < count; ++i)
            ASSERT_FALSE(bus_->publish(topic, event_draft("e" + std::to_string(i), "r")));
    }
    void poll() {
        loop_.restart();
        loop_.poll();
    }
    history_page history(std::uint64_t offset, error_code want = {}, std::string_view topic = "t") {
        history_page out;
        error_code got = errc::timed_out;
        bus_->async_history(topic, offset, 0, [&](error_code ec, history_page page) {
            got = ec;
            out = std::move(page);
        });
        poll();
        EXPECT_EQ(got, want);
        return out;
    }
    std::optional<error_code> ready(subscription& s) {
        std::optional<error_code> result;
        s.ready([&](error_code ec) { result = ec; });
        poll();
        return result;
    }

    asio::io_context loop_;
    std::shared_ptr<testkit::manual_clock> time_ = std::make_shared<testkit::manual_clock>();
    std::shared_ptr<event_emitter_pubsub> inner_;
    std::shared_ptr<memory_server_cache> cache_;
    std::shared_ptr<caching_pubsub> bus_;
    recorder seen_;
};
using CachingPubsub = caching_test;
using MemoryCache = caching_test;

TEST_F(CachingPubsub, NullPartsAreRefused) {
    open();
    EXPECT_THROW(caching_pubsub(nullptr, cache_), std::invalid_argument);
    EXPECT_THROW(caching_pubsub(inner_, nullptr), std::invalid_argument);
    EXPECT_THROW(
        caching_pubsub(inner_, cache_, caching_options{}.gap_timeout(-1ms)), std::invalid_argument
    );
    EXPECT_THROW(
        (void)bus_->subscribe_with_replay("t", seen_.handler(), subscribe_options{}.group("g")),
        std::invalid_argument
    );
}

TEST_F(CachingPubsub, RefusedEventsAreNotInTheHistory) {
    open({}, event_emitter_options{}.dispatch(dispatch_mode::queued));
    const auto s = bus_->subscribe("t", seen_.handler(), subscribe_options{}.queue_limit(1));
    ASSERT_FALSE(bus_->publish("t", event_draft("kept", "r")));
    ASSERT_EQ(bus_->publish("t", event_draft("refused", "r")), errc::queue_full);
    poll();
    ASSERT_FALSE(bus_->publish("t", event_draft("next", "r")));
    const auto page = history(0);
    ASSERT_EQ(page.events.size(), 2U);
    EXPECT_EQ(page.events[1].type(), "next");
    EXPECT_EQ(page.events[1].index(), 1U);
}

TEST_F(CachingPubsub, RetentionKeepsOffsetsValid) {
    open(memory_cache_options{}.max_events(10));
    publish(25);
    const auto gone = history(3, errc::offset_gone);
    EXPECT_EQ(gone.oldest, 15U);
    EXPECT_EQ(gone.next, 25U);
    EXPECT_TRUE(gone.events.empty());
    const auto page = history(20);
    ASSERT_EQ(page.events.size(), 5U);
    EXPECT_EQ(page.events.front().index(), 20U);
    EXPECT_EQ(history(pubsub::oldest_offset).events.size(), 10U);
}

TEST_F(CachingPubsub, AGapEndsTheSubscriptionUnlessOnGapIsSet) {
    open(memory_cache_options{}.max_events(10));
    publish(25);
    auto strict = bus_->subscribe_from_offset("t", 3, seen_.handler());
    EXPECT_EQ(ready(strict), errc::offset_gone);
    EXPECT_EQ(strict.gap()->first_missing, 3U);
    EXPECT_EQ(strict.gap()->oldest, 15U);
    EXPECT_FALSE(strict.active());
    publish(1);
    poll();
    EXPECT_TRUE(seen_.empty());

    std::vector<std::uint64_t> gaps;
    auto tolerant = bus_->subscribe_from_offset(
        "t", 3, seen_.handler(), subscribe_options{}.on_gap([&](const offset_gap& g) {
            gaps = {g.first_missing, g.oldest};
        })
    );
    EXPECT_EQ(ready(tolerant), error_code{});
    EXPECT_THAT(gaps, ElementsAre(3, 16));
    EXPECT_THAT(seen_.indices(), ElementsAreArray(numbers(16, 26)));
}

TEST_F(CachingPubsub, ReplayOfEverythingStartsAtTheOldestWithoutAGap) {
    open(memory_cache_options{}.max_events(10));
    publish(25);
    auto s = bus_->subscribe_with_replay("t", seen_.handler());
    EXPECT_EQ(ready(s), error_code{});
    EXPECT_THAT(seen_.indices(), ElementsAreArray(numbers(15, 25)));
}

// The history is longer than one page, and the publisher goes on while it is read.
TEST_F(CachingPubsub, HandOverHasNoGapWhileThePublisherGoesOn) {
    for (const auto mode : {dispatch_mode::inlined, dispatch_mode::queued}) {
        open({}, event_emitter_options{}.dispatch(mode));
        recorder r;
        publish(1000);
        auto s = bus_->subscribe_with_replay("t", r.handler());
        for (int i = 0; i < 500; ++i) {
            publish(1);
            loop_.restart();
            loop_.poll_one();
        }
        poll();
        EXPECT_THAT(r.indices(), ElementsAreArray(numbers(0, 1500)));
        EXPECT_EQ(r.overlaps(), 0U);
        s = {};
    }
}

TEST_F(CachingPubsub, AnOffsetAheadOfTheHeadWaitsForIt) {
    open();
    publish(3);
    auto s = bus_->subscribe_from_offset("t", 5, seen_.handler());
    EXPECT_EQ(ready(s), error_code{});
    publish(4);
    EXPECT_THAT(seen_.indices(), ElementsAreArray(numbers(5, 7)));
}

TEST_F(CachingPubsub, ClearWhileReadingStartsTheNewLife) {
    open();
    publish(600);
    auto s = bus_->subscribe_with_replay("t", seen_.handler());
    loop_.restart();
    loop_.poll_one();  // the first page
    EXPECT_EQ(seen_.size(), 256U);
    bus_->clear_topic("t");
    publish(3);
    poll();
    auto want = numbers(0, 256);
    for (const auto i : numbers(0, 3)) want.push_back(i);
    EXPECT_THAT(seen_.indices(), ElementsAreArray(want));
}

TEST_F(CachingPubsub, ClearWhileLiveRestartsAtZero) {
    open();
    auto s = bus_->subscribe_with_replay("t", seen_.handler());
    poll();
    publish(5);
    bus_->clear_topic("t");
    publish(2);
    poll();
    EXPECT_THAT(seen_.types(), ElementsAre("e0", "e1", "e2", "e3", "e4", "e0", "e1"));
}

TEST_F(CachingPubsub, AnExpiredHistoryGoesOnCounting) {
    open(memory_cache_options{}.ttl(100ms));
    publish(4);
    time_->advance(100ms);
    EXPECT_EQ(history(0, errc::offset_gone).oldest, 4U);
    publish(1);
    const auto page = history(4);
    ASSERT_EQ(page.events.size(), 1U);
    EXPECT_EQ(page.events[0].index(), 4U);
}

TEST_F(CachingPubsub, AnEvictedTopicGoesOnCounting) {
    open(memory_cache_options{}.max_size(2));
    publish(3, "a");
    publish(1, "b");
    publish(1, "c");  // one of the others goes
    publish(1, "d");
    EXPECT_EQ(cache_->size(), 2U);
    publish(1, "a");
    EXPECT_EQ(history(pubsub::oldest_offset, {}, "a").events.at(0).index(), 3U);
}

TEST_F(CachingPubsub, LiveReplaySurvivesAnEviction) {
    open(memory_cache_options{}.max_size(1));
    auto s = bus_->subscribe_with_replay("a", seen_.handler());
    poll();
    publish(2, "a");
    publish(2, "b");
    publish(2, "a");
    poll();
    EXPECT_THAT(seen_.indices(), ElementsAreArray(numbers(0, 4)));
}

TEST_F(CachingPubsub, DroppedLiveEventsAreFilledFromTheHistory) {
    open({}, event_emitter_options{}.dispatch(dispatch_mode::queued));
    auto s = bus_->subscribe_with_replay(
        "t", seen_.handler(), subscribe_options{}.queue_limit(1).on_full(queue_policy::drop_oldest)
    );
    poll();
    publish(20);
    poll();
    EXPECT_THAT(seen_.indices(), ElementsAreArray(numbers(0, 20)));
}

TEST_F(CachingPubsub, AFailureInTheHistoryEndsTheSubscription) {
    open();
    publish(3);
    int calls = 0;
    auto s = bus_->subscribe_with_replay("t", [&](const event&) {
        ++calls;
        throw std::runtime_error("x");
    });
    EXPECT_EQ(ready(s), errc::closed);
    publish(1);
    poll();
    EXPECT_EQ(calls, 1);
    EXPECT_FALSE(s.active());
}

TEST_F(CachingPubsub, ReplayedCoroutinesAreAwaitedOneByOne) {
    open();
    publish(3);
    int running = 0;
    int most = 0;
    auto s = bus_->subscribe_with_replay(
        "t",
        on_executor(
            loop_.get_executor(),
            [&](delivery&) -> asio::awaitable<void> {
                most = std::max(most, ++running);
                co_await asio::post(loop_, asio::use_awaitable);
                --running;
            }
        )
    );
    EXPECT_EQ(ready(s), error_code{});
    EXPECT_EQ(most, 1);
}

TEST_F(CachingPubsub, StoppingInsideAReplayedEventIsFinal) {
    open();
    publish(5);
    subscription s;
    std::vector<std::uint64_t> got;
    s = bus_->subscribe_with_replay("t", [&](const event& e) {
        got.push_back(e.index().value());
        if (e.index() == 1U) s.stop();
    });
    EXPECT_EQ(ready(s), errc::closed);
    publish(1);
    poll();
    EXPECT_THAT(got, ElementsAre(0, 1));
}

TEST_F(CachingPubsub, TopicsThatAreNotCachedPassThrough) {
    open();
    bus_ = std::make_shared<caching_pubsub>(
        inner_,
        cache_,
        caching_options{}.logger(logger::none()).should_cache([](std::string_view t) {
            return t != "t";
        })
    );
    const auto s = bus_->subscribe("t", seen_.handler());
    publish(1);
    EXPECT_EQ(seen_.indices().at(0), std::nullopt);
    EXPECT_EQ(cache_->size(), 0U);
}

// The publisher is still inside an inline handler when the subscriber joins: the event went to the
// inner bus before that, and is confirmed in the log after it was read.
TEST_F(CachingPubsub, AnEventUnderWayWhileJoiningIsNotMissed) {
    open();
    subscription late;
    const auto slow = bus_->subscribe("t", [&](const event&) {
        if (late.active()) return;
        late = bus_->subscribe_with_replay("t", seen_.handler());
        loop_.poll();  // reads, finds nothing confirmed
        EXPECT_TRUE(seen_.empty());
    });
    publish(1);
    poll();
    EXPECT_THAT(seen_.indices(), ElementsAreArray(numbers(0, 1)));
}

TEST_F(CachingPubsub, AForwardedEventHasNoIndexWhereItIsNotCached) {
    open();
    event received;
    const auto from = bus_->subscribe("a", [&](const event& e) { received = e; });
    auto s = bus_->subscribe_with_replay("b", seen_.handler());
    poll();
    publish(1, "b");
    publish(3, "a");
    bus_->publish("b", event_draft::forward(received), publish_options{}.local_only());
    publish(1, "b");
    EXPECT_THAT(
        seen_.indices(),
        ElementsAre(std::optional<std::uint64_t>(0), std::nullopt, std::optional<std::uint64_t>(1))
    );
    EXPECT_EQ(seen_.at(1).id(), received.id());
}

TEST_F(CachingPubsub, ARefusedEventPushesNothingOutOfTheHistory) {
    open(
        memory_cache_options{}.max_events(1),
        event_emitter_options{}.dispatch(dispatch_mode::queued)
    );
    const auto s = bus_->subscribe("t", seen_.handler(), subscribe_options{}.queue_limit(1));
    publish(1);
    ASSERT_EQ(bus_->publish("t", event_draft("refused", "r")), errc::queue_full);
    const auto page = history(0);
    ASSERT_EQ(page.events.size(), 1U);
    EXPECT_EQ(page.events[0].type(), "e0");
}

TEST_F(CachingPubsub, InFlightHoldsWhileReplaying) {
    open();
    publish(10);
    recorder held(verdict::hold);
    auto s = bus_->subscribe_with_replay("t", held.handler(), subscribe_options{}.in_flight(2));
    poll();
    EXPECT_EQ(held.size(), 2U);
    for (int i = 0; i < 10; ++i) {
        held.settle_held(verdict::ack);
        poll();
    }
    EXPECT_THAT(held.indices(), ElementsAreArray(numbers(0, 10)));
}

TEST_F(CachingPubsub, IdSourceIsUsed) {
    open();
    bus_ = std::make_shared<caching_pubsub>(
        inner_, cache_, caching_options{}.logger(logger::none()).id_source([] {
            return event_id::from_text("seven");
        })
    );
    const auto s = bus_->subscribe("t", seen_.handler());
    publish(1);
    EXPECT_EQ(seen_.at(0).id().text(), "seven");
}

TEST_F(CachingPubsub, AnExtremeGapTimeoutDoesNotOverflow) {
    open();
    bus_ = std::make_shared<caching_pubsub>(
        inner_,
        cache_,
        caching_options{}.logger(logger::none()).gap_timeout(std::chrono::milliseconds::max())
    );
    auto s = bus_->subscribe_with_replay("t", seen_.handler());
    poll();
    publish(2);
    EXPECT_EQ(seen_.size(), 2U);
}

// --- the cache -----------------------------------------------------------------------------------

TEST_F(MemoryCache, BadOptionsAreRefused) {
    EXPECT_THROW(memory_server_cache(memory_cache_options{}.max_size(0)), std::invalid_argument);
    EXPECT_THROW(memory_server_cache(memory_cache_options{}.max_events(0)), std::invalid_argument);
}

TEST_F(MemoryCache, ByteBudgetDropsTheOldestEventsOfTheLogBeingWritten) {
    open(memory_cache_options{}.max_bytes(20'000));
    for (int i = 0; i < 100; ++i)
        bus_->publish(
            "t", event_draft("e", "r", payload::from_json_text('"' + std::string(998, 'x') + '"'))
        );
    EXPECT_LE(cache_->size_bytes(), 20'000U);
    const auto page = history(pubsub::oldest_offset);
    EXPECT_EQ(page.events.back().index(), 99U);
    EXPECT_GT(page.events.size(), 10U);
}

TEST_F(MemoryCache, ByteBudgetEvictsOtherKeysWhenOneEventFillsIt) {
    open(memory_cache_options{}.max_bytes(3000));
    publish(5, "small");
    bus_->publish(
        "big", event_draft("e", "r", payload::from_json_text('"' + std::string(2900, 'x') + '"'))
    );
    EXPECT_EQ(history(pubsub::oldest_offset, {}, "big").events.size(), 1U);
    EXPECT_EQ(history(5, {}, "small").next, 5U);
    EXPECT_TRUE(history(pubsub::oldest_offset, {}, "small").events.empty());
}

TEST_F(MemoryCache, SweepRemovesWhatExpired) {
    open(memory_cache_options{}.ttl(50ms));
    publish(2, "a");
    publish(2, "b");
    EXPECT_EQ(cache_->size(), 2U);
    time_->advance(50ms);
    EXPECT_EQ(cache_->sweep(), 2U);
    EXPECT_EQ(cache_->size(), 0U);
    EXPECT_EQ(cache_->size_bytes(), 0U);
}

TEST_F(MemoryCache, BytesReturnToZeroWhenEverythingIsErased) {
    open();
    publish(10);
    cache_->set("k", boost::json::value("text"), std::nullopt, {});
    cache_->list_push("l", boost::json::value("text"), {});
    EXPECT_GT(cache_->size_bytes(), 0U);
    cache_->clear({});
    EXPECT_EQ(cache_->size_bytes(), 0U);
    EXPECT_EQ(cache_->size(), 0U);
}

TEST_F(MemoryCache, AnEventLogReadsAsAListOfEvents) {
    open();
    publish(3);
    std::vector<boost::json::value> items;
    cache_->list_range("pubsub:t", -2, -1, [&](error_code, std::vector<boost::json::value> got) {
        items = std::move(got);
    });
    ASSERT_EQ(items.size(), 2U);
    EXPECT_EQ(items[1].at("type").as_string(), "e2");
    EXPECT_EQ(items[1].at("index").to_number<int>(), 2);
}

// Two topics that take each other's place many times must not make a third one forgotten.
TEST_F(MemoryCache, RememberedIndicesSurviveManyEvictionsOfOthers) {
    open(memory_cache_options{}.max_size(1));
    publish(3, "a");
    for (int i = 0; i < 40'000; ++i) {
        publish(1, "b");
        publish(1, "c");
    }
    EXPECT_EQ(history(3, {}, "a").next, 3U);
}

TEST_F(MemoryCache, ExtraFieldsCountAsBytes) {
    open(memory_cache_options{}.max_bytes(100'000));
    for (int i = 0; i < 50; ++i) {
        bus_->publish(
            "t", event_draft("e", "r").extra("note", boost::json::value(std::string(10'000, 'x')))
        );
    }
    EXPECT_LE(cache_->size_bytes(), 100'000U);
    EXPECT_LT(history(pubsub::oldest_offset).events.size(), 11U);
}

TEST_F(MemoryCache, AListOfEventsThatAreNoJsonIsAnError) {
    open();
    bus_->publish("t", event_draft("e", "r", payload::live(std::make_shared<const int>(1))));
    error_code result;
    cache_->list_range("pubsub:t", 0, -1, [&](error_code ec, std::vector<boost::json::value>) {
        result = ec;
    });
    EXPECT_EQ(result, errc::not_supported);
}

TEST_F(MemoryCache, AKeyThatHoldsSomethingElseStopsCachingNotDelivery) {
    open();
    cache_->set("pubsub:t", boost::json::value(1), std::nullopt, {});
    const auto s = bus_->subscribe("t", seen_.handler());
    publish(1);
    ASSERT_EQ(seen_.size(), 1U);
    EXPECT_EQ(seen_.indices().at(0), std::nullopt);
}

}  // namespace
}  // namespace trunkline
