#include "support.hpp"

#define TRUNKLINE_NEEDS_EXACT_QUEUES(bus) \
    if (!(bus)->exact_time()) GTEST_SKIP() << "needs a loop that stands still"

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

namespace {

// A subscription whose handler keeps the first event, "e0", so that two more fill its queue.
recorded stuck_recorder(rig& bus, queue_policy policy, std::string group = {}) {
    record_request what{
        .judge = for_type("e0", verdict::hold),
        .options = subscribe_options{}.in_flight(1).queue_limit(2).on_full(policy)
    };
    if (!group.empty()) what.group = std::move(group);
    auto seen = bus.record(std::move(what));
    bus.publish("e0");
    bus.run_until([&] { return seen.held() == 1; });
    return seen;
}

}  // namespace

TEST_P(PubsubConformance, FullQueueRefusesAPlainPublish) {
    TRUNKLINE_REQUIRES(bounded_queues);
    auto bus = open();
    const auto witness = bus->record();
    const auto seen = stuck_recorder(*bus, queue_policy::wait);
    const auto publish = [&](std::string_view type) {
        return bus->bus().publish(bus->topic(), event_draft{type, "r"});
    };
    EXPECT_EQ(publish("e1"), error_code{});
    bus->run_until([&] { return witness.size() == 2; });
    EXPECT_EQ(publish("e2"), error_code{});
    bus->run_until([&] { return witness.size() == 3; });
    EXPECT_EQ(publish("refused"), errc::queue_full);
    EXPECT_TRUE(is_transient(errc::queue_full));
    EXPECT_EQ(bus->bus().counters().refused, 1U);
    seen.settle_held(verdict::ack);
    bus->run_until([&] { return seen.size() == 3; });
    EXPECT_EQ(publish("e3"), error_code{});
    bus->run_until([&] { return seen.size() == 4 && witness.size() >= 4; });
    bus->quiesce();
    // Refused means refused: not even those with room got it.
    EXPECT_THAT(seen.types(), ElementsAre("e0", "e1", "e2", "e3"));
    EXPECT_THAT(witness.types(), ElementsAre("e0", "e1", "e2", "e3"));
}

TEST_P(PubsubConformance, AwaitedPublishWaitsForRoom) {
    TRUNKLINE_REQUIRES(bounded_queues);
    auto bus = open();
    const auto seen = stuck_recorder(*bus, queue_policy::wait);
    const auto e1 = bus->start_publish("e1"), e2 = bus->start_publish("e2");
    bus->run_until([&] { return e1.done() && e2.done(); });
    const auto e3 = bus->start_publish("e3");
    if (bus->exact_time()) bus->advance(std::chrono::minutes{1});
    // Another topic is not held up.
    bus->publish({.type = "x", .topic = "other"});
    EXPECT_FALSE(e3.done());
    seen.settle_held(verdict::ack);
    bus->run_until([&] { return e3.done() && seen.size() == 4; });
    EXPECT_EQ(e3.error(), error_code{});
    EXPECT_THAT(seen.types(), ElementsAre("e0", "e1", "e2", "e3"));
}

TEST_P(PubsubConformance, CloseEndsAWaitForRoom) {
    TRUNKLINE_REQUIRES(bounded_queues);
    auto bus = open();
    const auto seen = stuck_recorder(*bus, queue_policy::wait);
    const auto e1 = bus->start_publish("e1"), e2 = bus->start_publish("e2");
    bus->run_until([&] { return e1.done() && e2.done(); });
    const auto e3 = bus->start_publish("e3");
    bus->close();
    bus->run_until(e3);
    EXPECT_EQ(e3.calls(), 1);
    seen.settle_held(verdict::ack);
    bus->flush();
    EXPECT_EQ(seen.size(), 1U);
}

TEST_P(PubsubConformance, UnsubscribingEndsAWaitForRoom) {
    TRUNKLINE_REQUIRES(bounded_queues);
    auto bus = open();
    auto seen = stuck_recorder(*bus, queue_policy::wait);
    const auto e1 = bus->start_publish("e1"), e2 = bus->start_publish("e2");
    bus->run_until([&] { return e1.done() && e2.done(); });
    const auto e3 = bus->start_publish("e3");
    seen.unsubscribe();
    bus->run_until(e3);
    EXPECT_EQ(e3.error(), error_code{});
}

TEST_P(PubsubConformance, FailPolicyRefusesBothKinds) {
    TRUNKLINE_REQUIRES(bounded_queues);
    auto bus = open();
    const auto witness = bus->record();
    const auto seen = stuck_recorder(*bus, queue_policy::fail);
    bus->publish("e1");
    bus->publish("e2");
    EXPECT_EQ(bus->bus().publish(bus->topic(), event_draft{"no", "r"}), errc::queue_full);
    EXPECT_EQ(bus->try_publish({.type = "no"}), errc::queue_full);
    seen.settle_held(verdict::ack);
    bus->run_until([&] { return seen.size() == 3; });
    bus->quiesce();
    EXPECT_THAT(seen.types(), ElementsAre("e0", "e1", "e2"));
    EXPECT_EQ(witness.count("no"), 0U);
}

TEST_P(PubsubConformance, DropOldestKeepsTheNewest) {
    TRUNKLINE_REQUIRES(bounded_queues);
    auto bus = open();
    for (const auto* group : {"", "g"}) {
        const auto before = bus->bus().counters();
        auto seen = stuck_recorder(*bus, queue_policy::drop_oldest, group);
        for (const auto* type : {"e1", "e2", "e3", "e4"}) bus->publish(type);
        seen.settle_held(verdict::ack);
        bus->run_until([&] { return seen.size() == 3; });
        bus->flush();
        EXPECT_THAT(seen.types(), ElementsAre("e0", "e3", "e4"));
        const auto after = bus->bus().counters();
        EXPECT_EQ(after.dropped, before.dropped + 2);
        EXPECT_EQ(after.redelivered, before.redelivered);
    }
    EXPECT_GE(bus->log().count(log_level::warn), 1U);
}

TEST_P(PubsubConformance, DropNewestKeepsTheOldest) {
    TRUNKLINE_REQUIRES(bounded_queues);
    auto bus = open();
    const auto witness = bus->record();
    for (const auto* group : {"", "g"}) {
        const auto before = bus->bus().counters();
        auto seen = stuck_recorder(*bus, queue_policy::drop_newest, group);
        for (const auto* type : {"e1", "e2", "e3", "e4"}) bus->publish(type);
        seen.settle_held(verdict::ack);
        bus->run_until([&] { return seen.size() == 3; });
        bus->flush();
        EXPECT_THAT(seen.types(), ElementsAre("e0", "e1", "e2"));
        EXPECT_EQ(bus->bus().counters().dropped, before.dropped + 2);
    }
    // The one with room got all of them, twice.
    EXPECT_EQ(witness.size(), 10U);
}

TEST_P(PubsubConformance, BytesFillAQueueToo) {
    TRUNKLINE_REQUIRES(bounded_queues);
    auto bus = open();
    const auto seen = bus->record(
        {.judge = for_type("e0", verdict::hold),
         .options = subscribe_options{}.in_flight(1).queue_bytes(4000)}
    );
    bus->publish("e0");
    bus->run_until([&] { return seen.held() == 1; });
    const payload kilobyte{boost::json::value(std::string(1000, 'x'))};
    std::size_t accepted = 0;
    while (accepted < 100 && !bus->bus().publish(bus->topic(), event_draft{"large", "r", kilobyte})
    ) {
        ++accepted;
    }
    EXPECT_GE(accepted, 2U);
    EXPECT_LE(accepted, 5U);
    seen.settle_held(verdict::ack);
    bus->run_until([&] { return seen.size() == 1 + accepted; });
}

TEST_P(PubsubConformance, ManyAwaitedPublishesRespectTheLimit) {
    TRUNKLINE_REQUIRES(bounded_queues);
    auto bus = open();
    TRUNKLINE_NEEDS_EXACT_QUEUES(bus);
    const auto seen = stuck_recorder(*bus, queue_policy::wait);
    std::vector<operation> ops;
    for (int i = 1; i <= 50; ++i) ops.push_back(bus->start_publish("e" + std::to_string(i)));
    bus->advance(milliseconds{1});
    std::size_t refused = 0, waiting = 0, taken = 0;
    for (const auto& op : ops) {
        if (!op.done())
            ++waiting;
        else if (op.error() == errc::queue_full)
            ++refused;
        else
            ++taken;
    }
    // Two fit, about as many again may wait, the rest is refused: nothing grows without bound.
    EXPECT_EQ(taken, 2U);
    EXPECT_GE(waiting, 1U);
    EXPECT_LE(waiting, 4U);
    EXPECT_EQ(taken + waiting + refused, 50U);
    seen.settle_held(verdict::ack);
    bus->run_until([&] { return seen.size() == 1 + taken + waiting; });
    bus->quiesce();
    EXPECT_THAT(seen.types(), ElementsAreArray(numbered("e", 1 + taken + waiting)));
}

TEST_P(PubsubConformance, QueueLimitsDoNotMatterInline) {
    TRUNKLINE_REQUIRES_OFF(bounded_queues);
    auto bus = open();
    const auto seen = bus->record({.options = subscribe_options{}.queue_limit(1).queue_bytes(1)});
    for (int i = 0; i < 50; ++i) {
        EXPECT_FALSE(bus->bus().publish(bus->topic(), event_draft{"x", "r"}));
    }
    bus->run_until([&] { return seen.size() == 50; });
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
