#include "support.hpp"

#include <trunkline/caching_pubsub.hpp>
#include <trunkline/testkit/forwarding_pubsub.hpp>

#include <boost/json/object.hpp>

#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>
#include <numeric>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

// --- Groups that begin late

TEST_P(PubsubConformance, NewGroupSeesBacklog) {
    TRUNKLINE_REQUIRES(retained_backlog);
    auto bus = open();
    bus->publish_all({"1", "2"});
    const auto seen = bus->record("g");
    bus->publish("3");
    bus->run_until([&] { return seen.size() >= 3; });
    EXPECT_THAT(seen.types(), ElementsAre("1", "2", "3"));
}

TEST_P(PubsubConformance, NewGroupMissesThePast) {
    TRUNKLINE_REQUIRES_OFF(retained_backlog);
    auto bus = open();
    bus->publish_all({"1", "2"});
    const auto seen = bus->record("g");
    bus->publish("3");
    bus->quiesce();
    EXPECT_THAT(seen.types(), ElementsAre("3"));
}

TEST_P(PubsubConformance, LatestSkipsBacklog) {
    TRUNKLINE_REQUIRES(start_from);
    auto bus = open();
    bus->publish("1");
    const auto seen = bus->record(
        {.group = "g", .options = subscribe_options{}.start_from(start_position::latest)}
    );
    bus->publish("2");
    bus->run_until([&] { return seen.size() >= 1; });
    bus->quiesce();
    EXPECT_THAT(seen.types(), ElementsAre("2"));
}

TEST_P(PubsubConformance, ExistingGroupIgnoresStartFrom) {
    TRUNKLINE_REQUIRES(start_from);
    auto bus = open();
    bus->publish("1");
    {
        const auto first = bus->record(
            {.group = "g", .options = subscribe_options{}.start_from(start_position::latest)}
        );
    }
    bus->publish("2");
    const auto second = bus->record(
        {.group = "g", .options = subscribe_options{}.start_from(start_position::earliest)}
    );
    bus->run_until([&] { return second.size() >= 1; });
    bus->quiesce();
    EXPECT_THAT(second.types(), ElementsAre("2"));
}

TEST_P(PubsubConformance, StartFromChangesNothing) {
    TRUNKLINE_REQUIRES_OFF(start_from);
    auto bus = open();
    bus->publish("1");
    const auto latest = bus->record(
        {.group = "a", .options = subscribe_options{}.start_from(start_position::latest)}
    );
    const auto earliest = bus->record(
        {.group = "b", .options = subscribe_options{}.start_from(start_position::earliest)}
    );
    const auto plain =
        bus->record({.options = subscribe_options{}.start_from(start_position::earliest)});
    bus->publish("2");
    bus->quiesce();
    EXPECT_THAT(latest.types(), ElementsAre("2"));
    EXPECT_THAT(earliest.types(), ElementsAre("2"));
    EXPECT_THAT(plain.types(), ElementsAre("2"));
}

// --- Replay

// Row 16: whoever joins while others publish gets each event once and in order.
TEST_P(PubsubConformance, ReplayThenLiveHasNoGapNoDuplicate) {
    TRUNKLINE_PUBSUB_ROW(16);
    TRUNKLINE_REQUIRES(offsets);
    constexpr std::size_t publishers = 3, each = 100, joiners = 2, joins = 4;
    auto bus = open();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    std::vector<recorder> seen(joiners * joins);
    std::vector<subscription> feeds(joiners * joins);
    for (const auto& s : seen) s.on_change([&] { bus->loop().wake(); });
    std::atomic<std::size_t> published{0};
    bus->in_threads(publishers + joiners, [&](std::size_t i) {
        if (i < publishers) {
            for (const auto& type : numbered(std::to_string(i) + ".", each)) {
                EXPECT_EQ(publish_patiently(target, topic, type), error_code{});
                published.fetch_add(1);
            }
            return;
        }
        for (std::size_t j = 0; j < joins; ++j) {
            const auto slot = (i - publishers) * joins + j;
            while (published.load() < slot * publishers * each / (joiners * joins)) {
                std::this_thread::yield();
            }
            feeds[slot] = target.subscribe_with_replay(topic, seen[slot].handler());
        }
    });
    constexpr auto total = publishers * each;
    bus->run_until([&] {
        return std::all_of(seen.begin(), seen.end(), [](auto& s) { return s.size() >= total; });
    });
    bus->flush();
    const auto first = seen.front().ids();
    for (const auto& s : seen) {
        EXPECT_THAT(s.indices(), ElementsAreArray(indices_from_to(0, total)));
        EXPECT_EQ(s.ids(), first);
        EXPECT_EQ(s.overlaps(), 0U);
    }
    feeds.clear();
}

TEST_P(PubsubConformance, ReplayGivesHistoryThenLive) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    bus->publish_all({"0", "1", "2"});
    const auto seen = bus->record({.offset = 0});
    bus->publish_all({"3", "4"});
    bus->run_until([&] { return seen.size() >= 5; });
    bus->quiesce();
    EXPECT_THAT(seen.types(), ElementsAre("0", "1", "2", "3", "4"));
    EXPECT_THAT(seen.indices(), ElementsAreArray(indices_from_to(0, 5)));
    EXPECT_THAT(seen.attempts(), Each(1U));
}

TEST_P(PubsubConformance, ReplayFromOffset) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    bus->publish_all({"0", "1", "2", "3"});
    const auto seen = bus->record({.offset = 2});
    const auto all = bus->record({.offset = 0});
    const auto none = bus->record({.offset = 4});
    bus->publish("4");
    bus->run_until([&] { return seen.size() >= 3 && all.size() >= 5 && none.size() >= 1; });
    bus->quiesce();
    EXPECT_THAT(seen.types(), ElementsAre("2", "3", "4"));
    EXPECT_THAT(all.types(), ElementsAre("0", "1", "2", "3", "4"));
    EXPECT_THAT(none.types(), ElementsAre("4"));
}

// Row 18: live events before the offset are acknowledged and not shown.
TEST_P(PubsubConformance, LiveEventsBeforeTheOffsetAreSkipped) {
    TRUNKLINE_PUBSUB_ROW(18);
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    bus->publish("0");
    const auto seen = bus->record({.offset = 4});
    bus->publish_all({"1", "2", "3", "4", "5"});
    bus->run_until([&] { return seen.size() >= 2; });
    bus->quiesce();
    EXPECT_THAT(seen.types(), ElementsAre("4", "5"));
}

// What was replayed and what comes live is the same published event.
TEST_P(PubsubConformance, ReplayedEventIsTheLiveOne) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    const auto live = bus->record();
    bus->publish_draft(event_draft{"x", "r", {boost::json::value{{"a", 1}}}}.extra("f", 2));
    bus->run_until([&] { return live.size() == 1; });
    const auto late = bus->record({.offset = 0});
    bus->run_until([&] { return late.size() == 1; });
    const auto a = live.at(0), b = late.at(0);
    EXPECT_EQ(a.id(), b.id());
    EXPECT_EQ(a.created_at(), b.created_at());
    EXPECT_EQ(a.index(), b.index());
    EXPECT_EQ(a.run_id(), b.run_id());
    EXPECT_EQ(a.data().tree(), b.data().tree());
    ASSERT_NE(b.extra(), nullptr);
    EXPECT_EQ(b.extra()->at("f"), boost::json::value(2));
}

TEST_P(PubsubConformance, PlainSubscribeNeverReplays) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    bus->publish_all({"0", "1"});
    const auto plain = bus->record();
    const auto group = bus->record("g");
    bus->publish("2");
    bus->quiesce();
    EXPECT_THAT(plain.types(), ElementsAre("2"));
    EXPECT_THAT(group.types(), ElementsAre("2"));
}

TEST_P(PubsubConformance, EmptyHistoryGoesLive) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    const auto seen = bus->record({.offset = 0});
    bus->publish("0");
    bus->run_until([&] { return seen.size() == 1; });
    EXPECT_THAT(seen.indices(), ElementsAre(0U));
}

TEST_P(PubsubConformance, ManyReplaySubscribersEachGetEverything) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    bus->publish_all(numbered("e", 20));
    std::vector<recorded> all;
    all.reserve(8);
    for (int i = 0; i < 8; ++i) all.push_back(bus->record({.offset = 0, .wait_ready = false}));
    bus->publish_all(numbered("f", 5));
    bus->run_until([&] {
        return std::all_of(all.begin(), all.end(), [](auto& s) { return s.size() >= 25; });
    });
    bus->quiesce();
    for (const auto& seen : all) {
        EXPECT_THAT(seen.indices(), ElementsAreArray(indices_from_to(0, 25)));
    }
}

TEST_P(PubsubConformance, EndedReplayIsSilent) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    bus->publish_all(numbered("e", 10));
    auto gone = bus->record({.offset = 0});
    bus->run_until([&] { return gone.size() == 10; });
    gone.unsubscribe();
    // One that ends before it has read anything.
    auto never = bus->record({.offset = 0, .wait_ready = false});
    never.unsubscribe();
    const auto then = never.size();
    bus->publish("later");
    bus->quiesce();
    EXPECT_EQ(gone.size(), 10U);
    EXPECT_EQ(never.size(), then);
}

// In the reference the second topic could not be unsubscribed any more.
TEST_P(PubsubConformance, OneHandlerMayReplayTwoTopics) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    bus->publish({.type = "a0", .topic = "a"});
    bus->publish({.type = "b0", .topic = "b"});
    const recorder shared;
    shared.on_change([&] { bus->loop().wake(); });
    auto a = bus->record({.topic = "a", .offset = 0, .into = shared});
    bus->run_until([&] { return shared.size() == 1; });
    auto b = bus->record({.topic = "b", .offset = 0, .into = shared});
    bus->run_until([&] { return shared.size() == 2; });
    a.unsubscribe();
    bus->publish({.type = "a1", .topic = "a"});
    bus->publish({.type = "b1", .topic = "b"});
    bus->quiesce("a");
    bus->quiesce("b");
    EXPECT_THAT(shared.types(), ElementsAre("a0", "b0", "b1"));
    b.unsubscribe();
    bus->publish({.type = "b2", .topic = "b"});
    bus->quiesce("b");
    EXPECT_EQ(shared.size(), 3U);
}

TEST_P(PubsubConformance, ThrowingReplayHandlerGetsTheRest) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    bus->publish_all({"0", "1", "2"});
    const auto other = bus->record({.offset = 0});
    const auto seen =
        bus->record({.judge = for_type("1", verdict::throws), .offset = 0, .wait_ready = false});
    EXPECT_EQ(bus->try_publish({.type = "3"}), error_code{});
    bus->run_until([&] { return other.size() == 4; });
    bus->quiesce();
    EXPECT_THAT(other.types(), ElementsAre("0", "1", "2", "3"));
    EXPECT_LE(seen.count("1"), 1U);
    EXPECT_EQ(seen.count("0"), 1U);
}

TEST_P(PubsubConformance, UnsupportedOffsetWarnsAndFallsBack) {
    TRUNKLINE_REQUIRES_OFF(offsets);
    auto bus = open();
    bus->publish("before");
    const auto zero = bus->record({.offset = 0});
    const auto oldest = bus->record({.offset = pubsub::oldest_offset});
    EXPECT_EQ(bus->log().count(log_level::warn), 0U) << bus->log().text();
    const auto five = bus->record({.offset = 5});
    EXPECT_EQ(bus->log().count(log_level::warn), 1U) << bus->log().text();
    bus->publish("after");
    bus->run_until([&] { return zero.size() >= 1 && five.size() >= 1; });
    bus->quiesce();
    if (!features().retained_backlog) {
        EXPECT_THAT(zero.types(), ElementsAre("after"));
        EXPECT_THAT(five.types(), ElementsAre("after"));
    }
    const auto [ec, page] = bus->history();
    EXPECT_EQ(ec, error_code{});
    EXPECT_THAT(types_of(page), IsEmpty());
}

TEST_P(PubsubConformance, SupportedOffsetDoesNotWarn) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    bus->publish_all({"0", "1", "2"});
    const auto seen = bus->record({.offset = 1});
    bus->run_until([&] { return seen.size() == 2; });
    EXPECT_EQ(bus->log().count(log_level::warn), 0U) << bus->log().text();
}

// Row 17: a retry has an index that was seen before, and must be seen again.
TEST_P(PubsubConformance, RetryPassesReplayFilter) {
    TRUNKLINE_PUBSUB_ROW(17);
    TRUNKLINE_REQUIRES(offsets);
    TRUNKLINE_REQUIRES(redelivers_to_fanout);
    auto bus = open();
    const auto seen = bus->record({.judge = at_first(verdict::nack), .offset = 0});
    bus->publish_all({"0", "1", "2"});
    bus->run_until([&] { return seen.size() >= 4; });
    EXPECT_EQ(seen.count("0"), 2U);
}

namespace {

// A backend that delivers any event once more on command, as durable ones do after a nack. The
// second delivery is part of the subscription like any other: it comes in place of a trigger event.
class redelivering_pubsub final : public forwarding_pubsub {
public:
    using forwarding_pubsub::forwarding_pubsub;

    void deliver_again(std::string_view topic, const event& e, std::uint32_t attempt) {
        {
            const std::lock_guard lock(mutex_);
            again_.push_back(e.with_attempt(attempt));
        }
        EXPECT_FALSE(inner()->publish(topic, event_draft{"trigger", "r"}));
    }

protected:
    subscription do_subscribe(
        std::string_view topic, trunkline::handler h, const subscribe_options& options
    ) override {
        const auto shared = std::make_shared<trunkline::handler>(std::move(h));
        return inner()->subscribe(
            topic,
            [this, shared](delivery& d) {
                if (d.event().type() != "trigger") return (*shared)(d);
                std::optional<event> e;
                {
                    const std::lock_guard lock(mutex_);
                    e = again_.front();
                    again_.pop_front();
                }
                delivery retry{*e, nullptr, 0};
                (*shared)(retry);
                std::move(d).ack();
            },
            options
        );
    }

private:
    std::mutex mutex_;
    std::deque<event> again_;
};

}  // namespace

// Row 17 again, for any backend below the decorator: an index below the watermark is a duplicate
// on the first attempt and a retry on a later one.
TEST_P(PubsubConformance, ReplayDecoratorTellsRetriesFromDuplicates) {
    TRUNKLINE_PUBSUB_ROW(17);
    TRUNKLINE_REQUIRES_OFF(offsets);
    auto bus = open();
    const auto below = std::make_shared<redelivering_pubsub>(bus->shared_bus());
    caching_pubsub cached{below, bus->shared_cache(), bus->environment().settings.caching};
    const recorder seen;
    seen.on_change([&] { bus->loop().wake(); });
    const auto topic = bus->topic();
    auto feed = cached.subscribe_with_replay(topic, seen.handler());
    ASSERT_FALSE(bus->await([&](auto done) { feed.ready(std::move(done)); }));
    for (const auto* type : {"0", "1", "2"}) {
        ASSERT_FALSE(bus->await([&](auto done) {
            cached.async_publish(topic, event_draft{type, "r"}, std::move(done));
        }));
    }
    bus->run_until([&] { return seen.size() == 3; });
    below->deliver_again(topic, seen.at(1), 1);
    below->deliver_again(topic, seen.at(0), 2);
    bus->run_until([&] { return seen.size() >= 4; });
    bus->flush();
    EXPECT_THAT(seen.types(), ElementsAre("0", "1", "2", "0"));
    EXPECT_THAT(seen.attempts(), ElementsAre(1U, 1U, 1U, 2U));
    feed = {};
    // The decorator's close is the inner bus's.
    ASSERT_FALSE(bus->await([&](auto done) { cached.async_close(std::move(done)); }));
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
