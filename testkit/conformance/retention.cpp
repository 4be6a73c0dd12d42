#include "support.hpp"

#include <atomic>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

// --- History and indices

// Row 30
TEST_P(PubsubConformance, HistoryOfAnUnknownTopicIsEmpty) {
    TRUNKLINE_PUBSUB_ROW(30);
    auto bus = open();
    const auto [ec, page] = bus->history(0, 0, "never used");
    EXPECT_EQ(ec, error_code{});
    EXPECT_TRUE(page.events.empty());
    EXPECT_EQ(page.oldest, page.next);
    const auto wrong = bus->await_value<history_page>([&](auto done) {
        bus->bus().async_history("", 0, 0, std::move(done));
    });
    EXPECT_EQ(wrong.first, errc::invalid_argument);
}

TEST_P(PubsubConformance, HistorySelectsByIndex) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    bus->publish_all(numbered("e", 10));
    const auto [all_ec, all] = bus->history();
    EXPECT_EQ(all_ec, error_code{});
    EXPECT_THAT(types_of(all), ElementsAreArray(numbered("e", 10)));
    EXPECT_EQ(all.oldest, 0U);
    EXPECT_EQ(all.next, 10U);
    EXPECT_THAT(types_of(bus->history(7).second), ElementsAre("e7", "e8", "e9"));
    EXPECT_THAT(types_of(bus->history(3, 2).second), ElementsAre("e3", "e4"));
    const auto [end_ec, end] = bus->history(10);
    EXPECT_EQ(end_ec, error_code{});
    EXPECT_TRUE(end.events.empty());
    EXPECT_EQ(end.next, 10U);
}

// Row 19: ten publishes at once have the indices 0 to 9, and 10 entries.
TEST_P(PubsubConformance, ConcurrentPublishesGetDistinctIndices) {
    TRUNKLINE_PUBSUB_ROW(19);
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    bus->in_threads(10, [&](std::size_t i) {
        EXPECT_EQ(publish_patiently(target, topic, "e" + std::to_string(i)), error_code{});
    });
    const auto [ec, page] = bus->history();
    EXPECT_EQ(ec, error_code{});
    EXPECT_THAT(types_of(page), UnorderedElementsAreArray(numbered("e", 10)));
    std::vector<std::optional<std::uint64_t>> indices;
    for (const auto& e : page.events) indices.push_back(e.index());
    EXPECT_THAT(indices, ElementsAreArray(indices_from_to(0, 10)));
}

// The reference delivers live in the order of arrival, and its watermark then drops the lower one.
TEST_P(PubsubConformance, LiveOrderIsIndexOrder) {
    TRUNKLINE_PUBSUB_ROW(19);
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    const auto replay = bus->record({.offset = 0}), plain = bus->record();
    bus->in_threads(4, [&](std::size_t p) {
        for (const auto& type : numbered(std::to_string(p) + ".", 50)) {
            EXPECT_EQ(publish_patiently(target, topic, type), error_code{});
        }
    });
    bus->run_until([&] { return replay.size() >= 200 && plain.size() >= 200; });
    bus->quiesce();
    EXPECT_THAT(replay.indices(), ElementsAreArray(indices_from_to(0, 200)));
    EXPECT_THAT(plain.indices(), ElementsAreArray(indices_from_to(0, 200)));
}

TEST_P(PubsubConformance, IndicesContinueAfterAReopen) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    bus->publish_all({"0", "1"});
    bus->reopen();
    const auto seen = bus->record({.offset = 0});
    bus->publish("2");
    bus->run_until([&] { return seen.size() >= 3; });
    bus->quiesce();
    EXPECT_THAT(seen.types(), ElementsAre("0", "1", "2"));
    EXPECT_THAT(seen.indices(), ElementsAreArray(indices_from_to(0, 3)));
}

TEST_P(PubsubConformance, IndicesArePerTopic) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    const auto a = bus->record({.topic = "a"}), b = bus->record({.topic = "b"});
    bus->publish_all({"0", "1"}, {.topic = "a"});
    bus->publish({.type = "0", .topic = "b"});
    bus->run_until([&] { return a.size() == 2 && b.size() == 1; });
    EXPECT_THAT(a.indices(), ElementsAre(0U, 1U));
    EXPECT_THAT(b.indices(), ElementsAre(0U));
}

TEST_P(PubsubConformance, UncachedTopicsPassThrough) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    bus->settings().caching.should_cache([](std::string_view topic) {
        return !topic.starts_with("private");
    });
    const auto hidden = bus->record({.topic = "private"}), kept = bus->record();
    bus->publish({.type = "x", .topic = "private"});
    bus->publish("y");
    bus->run_until([&] { return hidden.size() == 1 && kept.size() == 1; });
    EXPECT_THAT(hidden.indices(), ElementsAre(std::nullopt));
    EXPECT_THAT(kept.indices(), ElementsAre(0U));
    EXPECT_TRUE(bus->history(0, 0, "private").second.events.empty());
    EXPECT_EQ(bus->history().second.events.size(), 1U);
}

TEST_P(PubsubConformance, LocalEventsHaveNoIndex) {
    TRUNKLINE_REQUIRES(offsets);
    TRUNKLINE_REQUIRES(local_only);
    auto bus = open();
    const auto seen = bus->record({.offset = 0});
    // One by one: no order is promised between what travels and what does not.
    bus->publish("0");
    bus->run_until([&] { return seen.size() >= 1; });
    bus->publish({.type = "local", .options = publish_options{}.local_only()});
    bus->run_until([&] { return seen.size() >= 2; });
    bus->publish("1");
    bus->run_until([&] { return seen.size() >= 3; });
    bus->quiesce();
    EXPECT_THAT(seen.types(), ElementsAre("0", "local", "1"));
    EXPECT_THAT(
        seen.indices(),
        ElementsAre(std::optional<std::uint64_t>{0}, std::nullopt, std::optional<std::uint64_t>{1})
    );
    EXPECT_THAT(types_of(bus->history(0, 2).second), ElementsAre("0", "1"));
}

// --- Faults and retention

TEST_P(PubsubConformance, CacheFailureDoesNotBlockLive) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    const auto plain = bus->record(), replay = bus->record({.offset = 0});
    bus->publish("a");
    bus->cache().fail_writes(true);
    EXPECT_EQ(bus->try_publish({.type = "b"}), error_code{});
    bus->cache().fail_writes(false);
    bus->publish("c");
    bus->run_until([&] { return plain.size() >= 3 && replay.size() >= 3; });
    EXPECT_THAT(plain.types(), ElementsAre("a", "b", "c"));
    EXPECT_THAT(replay.types(), ElementsAre("a", "b", "c"));
    // An index is never used twice.
    EXPECT_THAT(
        plain.indices(),
        ElementsAre(std::optional<std::uint64_t>{0}, std::nullopt, std::optional<std::uint64_t>{1})
    );
    EXPECT_THAT(types_of(bus->history().second), ElementsAre("a", "c"));
    EXPECT_GE(bus->log().count(log_level::warn) + bus->log().count(log_level::error), 1U);
}

TEST_P(PubsubConformance, FailedHistoryReadEndsTheReplay) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    bus->publish_all({"0", "1"});
    bus->cache().fail_reads(true);
    auto seen = bus->record({.offset = 0, .wait_ready = false});
    EXPECT_EQ(
        bus->await([&](auto done) { seen.subscription().ready(std::move(done)); }),
        errc::broker_lost
    );
    bus->cache().fail_reads(false);
    const auto witness = bus->record();
    bus->publish("2");
    bus->run_until([&] { return witness.size() == 1; });
    bus->quiesce();
    EXPECT_THAT(seen.types(), IsEmpty());
    EXPECT_FALSE(seen.subscription().active());
}

// In the reference the list expires and the counter stays, so positions show wrong events.
TEST_P(PubsubConformance, ExpiredHistorySaysOffsetGone) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    if (!bus->exact_time()) GTEST_SKIP() << "needs a clock that can be moved";
    bus->settings().cache.ttl(std::chrono::seconds{60});
    const auto live = bus->record({.offset = 0});
    bus->publish_all({"0", "1", "2"});
    bus->run_until([&] { return live.size() == 3; });
    bus->advance(std::chrono::seconds{61});
    bus->publish("3");

    const auto [ec, page] = bus->history(1);
    EXPECT_EQ(ec, errc::offset_gone);
    EXPECT_EQ(page.oldest, 3U);
    EXPECT_THAT(types_of(page), IsEmpty());
    EXPECT_THAT(types_of(bus->history(3).second), ElementsAre("3"));

    auto strict = bus->record({.offset = 1, .wait_ready = false});
    EXPECT_EQ(
        bus->await([&](auto done) { strict.subscription().ready(std::move(done)); }),
        errc::offset_gone
    );
    ASSERT_TRUE(strict.subscription().gap().has_value());
    EXPECT_EQ(strict.subscription().gap()->first_missing, 1U);
    EXPECT_EQ(strict.subscription().gap()->oldest, 3U);

    std::vector<offset_gap> gaps;
    const auto lenient =
        bus->record({.offset = 1, .options = subscribe_options{}.on_gap([&](const offset_gap& g) {
                         gaps.push_back(g);
                     })});
    bus->publish("4");
    bus->run_until([&] { return lenient.size() >= 2 && live.size() >= 5; });
    bus->quiesce();
    EXPECT_THAT(lenient.indices(), ElementsAre(3U, 4U));
    ASSERT_EQ(gaps.size(), 1U);
    EXPECT_EQ(gaps[0].first_missing, 1U);
    EXPECT_EQ(gaps[0].oldest, 3U);
    EXPECT_THAT(strict.types(), IsEmpty());
    // Who asks for what there is, misses nothing.
    auto whole = bus->record({.offset = pubsub::oldest_offset});
    bus->run_until([&] { return whole.size() >= 2; });
    EXPECT_THAT(whole.types(), ElementsAre("3", "4"));
    EXPECT_EQ(whole.subscription().gap(), std::nullopt);
    EXPECT_THAT(types_of(bus->history(pubsub::oldest_offset, 1).second), ElementsAre("3"));
    // Whoever was there all the time noticed nothing.
    EXPECT_THAT(live.indices(), ElementsAreArray(indices_from_to(0, 5)));
}

TEST_P(PubsubConformance, TrimmedHistoryKeepsItsIndices) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    bus->settings().cache.max_events(8);
    const auto live = bus->record({.offset = 0});
    bus->publish_all(numbered("e", 100));
    bus->run_until([&] { return live.size() == 100; });
    const auto [ec, gone] = bus->history(0);
    EXPECT_EQ(ec, errc::offset_gone);
    EXPECT_EQ(gone.next, 100U);
    ASSERT_GT(gone.oldest, 0U);
    ASSERT_LT(gone.oldest, 100U);
    const auto [kept_ec, kept] = bus->history(gone.oldest);
    EXPECT_EQ(kept_ec, error_code{});
    EXPECT_LE(kept.events.size(), 8U);
    std::vector<std::string> expected;
    for (auto i = gone.oldest; i < 100; ++i) expected.push_back("e" + std::to_string(i));
    EXPECT_THAT(types_of(kept), ElementsAreArray(expected));
    EXPECT_THAT(live.indices(), ElementsAreArray(indices_from_to(0, 100)));
}

// --- Clearing

// Row 27: clearing what was never used is fine, and so is an unusable name.
TEST_P(PubsubConformance, ClearTopicForgetsAndNeverThrows) {
    TRUNKLINE_PUBSUB_ROW(27);
    auto bus = open();
    auto& target = bus->bus();
    const auto clear = [&](std::string_view name) {
        return bus->await([&](auto done) {
            target.async_clear_topic(bus->topic(name), std::move(done));
        });
    };
    EXPECT_EQ(clear("never used"), error_code{});
    target.clear_topic(bus->topic("never used either"));
    bus->publish_all({"0", "1"});
    bus->publish({.type = "kept", .topic = "other"});
    EXPECT_EQ(clear(default_topic), error_code{});
    EXPECT_TRUE(bus->history().second.events.empty());
    EXPECT_EQ(bus->history().second.next, 0U);
    const auto seen = bus->record({.offset = 0});
    bus->publish("fresh");
    bus->run_until([&] { return seen.size() >= 1; });
    bus->quiesce();
    EXPECT_THAT(seen.types(), ElementsAre("fresh"));
    if (features().offsets) {
        EXPECT_THAT(seen.indices(), ElementsAre(0U));
        EXPECT_THAT(types_of(bus->history(0, 0, "other").second), ElementsAre("kept"));
    }
}

// In the reference a live replay subscriber hears nothing until the old height is passed.
TEST_P(PubsubConformance, ClearTopicKeepsSubscribers) {
    auto bus = open();
    const auto plain = bus->record(), replay = bus->record({.offset = 0});
    const auto member = bus->record("g");
    bus->publish_all({"0", "1", "2"});
    bus->run_until([&] { return plain.size() == 3 && replay.size() == 3 && member.size() == 3; });
    EXPECT_FALSE(bus->await([&](auto done) {
        bus->bus().async_clear_topic(bus->topic(), std::move(done));
    }));
    bus->publish_all({"new 0", "new 1"});
    bus->run_until([&] { return plain.size() >= 5 && replay.size() >= 5 && member.size() >= 5; });
    bus->quiesce();
    EXPECT_THAT(plain.types(), ElementsAre("0", "1", "2", "new 0", "new 1"));
    EXPECT_THAT(replay.types(), ElementsAre("0", "1", "2", "new 0", "new 1"));
    EXPECT_THAT(member.types(), ElementsAre("0", "1", "2", "new 0", "new 1"));
}

TEST_P(PubsubConformance, ClearFailureIsReportedAndNotThrown) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    const auto seen = bus->record();
    bus->publish("0");
    bus->cache().fail_writes(true);
    EXPECT_TRUE(bus->await([&](auto done) {
                       bus->bus().async_clear_topic(bus->topic(), std::move(done));
                   }
    ).failed());
    bus->bus().clear_topic(bus->topic());
    bus->cache().fail_writes(false);
    EXPECT_GE(bus->log().count(log_level::warn), 1U) << bus->log().text();
    bus->publish("1");
    bus->run_until([&] { return seen.size() == 2; });
}

TEST_P(PubsubConformance, ClearMayRaceWithPublishers) {
    TRUNKLINE_REQUIRES(offsets);
    auto bus = open();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    const auto live = bus->record({.offset = 0});
    bus->in_threads(3, [&](std::size_t i) {
        for (int n = 0; n < 60; ++n) {
            if (i == 2) {
                if (n % 10 == 0) target.clear_topic(topic);
                std::this_thread::yield();
            } else {
                EXPECT_EQ(publish_patiently(target, topic, "x"), error_code{});
            }
        }
    });
    bus->run_until([&] { return live.size() >= 120; });
    bus->quiesce();
    EXPECT_EQ(live.size(), 120U);
    // Each life of the topic counts from 0 without a gap.
    std::uint64_t next = 0;
    for (const auto& index : live.indices()) {
        ASSERT_TRUE(index.has_value());
        if (*index != next) EXPECT_EQ(*index, 0U);
        next = *index + 1;
    }
}

TEST_P(PubsubConformance, TrimmingIsHarmless) {
    auto bus = open();
    const auto seen = bus->record();
    bus->publish({.type = "mine", .run_id = "r1"});
    bus->publish({.type = "theirs", .run_id = "r2"});
    for (const auto* name : {"events", "never used"}) {
        EXPECT_FALSE(bus->await([&](auto done) {
            bus->bus().async_trim_topic(
                bus->topic(name), trim_options{"r1"}.produced_before(5), std::move(done)
            );
        }));
    }
    bus->publish("after");
    bus->run_until([&] { return seen.size() == 3; });
    if (features().offsets) {
        // The decorator leaves its own cache alone.
        EXPECT_THAT(types_of(bus->history().second), ElementsAre("mine", "theirs", "after"));
    }
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
