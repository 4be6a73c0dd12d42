#include "support.hpp"

#include <algorithm>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

TEST_P(PubsubConformance, GroupDeliversOnce) {
    auto bus = open();
    const auto a = bus->record("g"), b = bus->record("g"), c = bus->record("g");
    const auto types = numbered("e", 30);
    bus->publish_all(types);
    bus->run_until([&] { return a.size() + b.size() + c.size() >= 30; });
    bus->quiesce();
    std::vector<std::string> all;
    for (const auto* each : {&a, &b, &c}) {
        const auto mine = each->types();
        all.insert(all.end(), mine.begin(), mine.end());
    }
    EXPECT_THAT(all, UnorderedElementsAreArray(types));
}

TEST_P(PubsubConformance, GroupsAreIndependent) {
    auto bus = open();
    const auto a1 = bus->record("a"), a2 = bus->record("a"), b = bus->record("b");
    // The same name on another topic is another group.
    const auto elsewhere = bus->record({.topic = "other", .group = "a"});
    bus->publish_all({"1", "2", "3", "4"});
    bus->run_until([&] { return a1.size() + a2.size() == 4 && b.size() == 4; });
    bus->quiesce();
    bus->quiesce("other");
    EXPECT_EQ(a1.size() + a2.size(), 4U);
    EXPECT_THAT(b.types(), ElementsAre("1", "2", "3", "4"));
    EXPECT_THAT(elsewhere.types(), IsEmpty());
}

TEST_P(PubsubConformance, GroupAndFanoutCoexist) {
    auto bus = open();
    const auto before = bus->record();
    const auto a = bus->record("g"), b = bus->record("g");
    const auto after = bus->record();
    bus->publish_all({"1", "2", "3"});
    bus->run_until([&] {
        return before.size() == 3 && after.size() == 3 && a.size() + b.size() == 3;
    });
    bus->quiesce();
    EXPECT_THAT(before.types(), ElementsAre("1", "2", "3"));
    EXPECT_THAT(after.types(), ElementsAre("1", "2", "3"));
    EXPECT_EQ(a.size() + b.size(), 3U);
}

TEST_P(PubsubConformance, RoundRobinIsStrict) {
    TRUNKLINE_REQUIRES(strict_round_robin);
    auto bus = open();
    const auto a = bus->record("g"), b = bus->record("g"), c = bus->record("g");
    const auto alone = bus->record("h");
    bus->publish_all({"1", "2", "3", "4", "5", "6", "7"});
    bus->run_until([&] { return a.size() + b.size() + c.size() == 7 && alone.size() == 7; });
    EXPECT_THAT(a.types(), ElementsAre("1", "4", "7"));
    EXPECT_THAT(b.types(), ElementsAre("2", "5"));
    EXPECT_THAT(c.types(), ElementsAre("3", "6"));
}

TEST_P(PubsubConformance, SplitIsUnspecifiedButEachEventComesOnce) {
    TRUNKLINE_REQUIRES_OFF(strict_round_robin);
    auto bus = open();
    const auto a = bus->record("g"), b = bus->record("g");
    bus->publish_all(numbered("e", 20));
    bus->run_until([&] { return a.size() + b.size() >= 20; });
    bus->quiesce();
    auto all = a.types();
    for (const auto& type : b.types()) all.push_back(type);
    EXPECT_THAT(all, UnorderedElementsAreArray(numbered("e", 20)));
}

// The counter stays where it is when members come: it is taken modulo their number.
TEST_P(PubsubConformance, JoiningMemberTakesItsTurn) {
    TRUNKLINE_REQUIRES(strict_round_robin);
    auto bus = open();
    const auto a = bus->record("g");
    bus->publish("0");
    bus->run_until([&] { return a.size() == 1; });
    const auto b = bus->record("g");
    bus->publish_all({"1", "2", "3", "4"});
    bus->run_until([&] { return a.size() + b.size() == 5; });
    if (features().joins_in_turn) {
        EXPECT_THAT(a.types(), ElementsAre("0", "2", "4"));
        EXPECT_THAT(b.types(), ElementsAre("1", "3"));
    } else {
        EXPECT_THAT(a.types(), ElementsAre("0", "1", "3"));
        EXPECT_THAT(b.types(), ElementsAre("2", "4"));
    }
}

TEST_P(PubsubConformance, GroupSpansInstances) {
    TRUNKLINE_REQUIRES(cross_instance);
    auto bus = open();
    const auto here = bus->record("g");
    const auto there = bus->record({.group = "g", .instance = 1});
    bus->publish_all(numbered("e", 20));
    bus->run_until([&] { return here.size() + there.size() >= 20; });
    bus->quiesce();
    auto all = here.types();
    for (const auto& type : there.types()) all.push_back(type);
    EXPECT_THAT(all, UnorderedElementsAreArray(numbered("e", 20)));
}

TEST_P(PubsubConformance, GroupsOfTwoInstancesAreSeparate) {
    TRUNKLINE_REQUIRES_OFF(cross_instance);
    auto bus = open();
    const auto here = bus->record("g");
    const auto there = bus->record({.group = "g", .instance = 1});
    bus->publish("here");
    bus->publish({.type = "there", .instance = 1});
    bus->quiesce();
    EXPECT_THAT(here.types(), ElementsAre("here"));
    EXPECT_THAT(there.types(), ElementsAre("there"));
}

TEST_P(PubsubConformance, LeavingMemberHandsOver) {
    auto bus = open();
    auto leaves = bus->record("g");
    const auto stays = bus->record("g");
    bus->publish_all({"1", "2"});
    bus->run_until([&] { return leaves.size() + stays.size() == 2; });
    bus->flush();
    const auto then = leaves.size();
    leaves.unsubscribe();
    bus->publish_all({"3", "4", "5", "6"});
    bus->run_until([&] { return leaves.size() + stays.size() >= 6; });
    bus->quiesce();
    EXPECT_EQ(leaves.size(), then);
    EXPECT_EQ(stays.size(), 6 - then);
}

TEST_P(PubsubConformance, LastMemberLeavingStopsDelivery) {
    auto bus = open();
    auto member = bus->record("g");
    const auto witness = bus->record();
    bus->publish("1");
    bus->run_until([&] { return member.size() == 1; });
    member.unsubscribe();
    bus->publish("2");
    bus->run_until([&] { return witness.size() == 2; });
    bus->quiesce();
    EXPECT_THAT(member.types(), ElementsAre("1"));
}

TEST_P(PubsubConformance, GroupKeepsCheckpoint) {
    TRUNKLINE_REQUIRES(keeps_group_checkpoint);
    auto bus = open();
    auto first = bus->record("g");
    bus->publish("1");
    bus->run_until([&] { return first.size() == 1; });
    bus->flush();
    first.unsubscribe();
    bus->publish("2");
    const auto second = bus->record("g");
    bus->publish("3");
    bus->run_until([&] { return second.size() >= 2; });
    bus->quiesce();
    EXPECT_THAT(second.types(), ElementsAre("2", "3"));
}

TEST_P(PubsubConformance, EventsWhileDetachedAreLost) {
    TRUNKLINE_REQUIRES_OFF(keeps_group_checkpoint);
    auto bus = open();
    auto first = bus->record("g");
    bus->publish("1");
    bus->run_until([&] { return first.size() == 1; });
    first.unsubscribe();
    bus->publish("2");
    const auto second = bus->record("g");
    bus->publish("3");
    bus->run_until([&] { return second.size() >= 1; });
    bus->quiesce();
    EXPECT_THAT(first.types(), ElementsAre("1"));
    EXPECT_THAT(second.types(), ElementsAre("3"));
}

// The turn is forgotten with the last member: a new group begins with its first one.
TEST_P(PubsubConformance, EmptyGroupForgetsWhoseTurnItWas) {
    TRUNKLINE_REQUIRES(strict_round_robin);
    auto bus = open();
    {
        const auto a = bus->record("g"), b = bus->record("g");
        bus->publish("0");
        bus->run_until([&] { return a.size() == 1; });
    }
    const auto a = bus->record("g"), b = bus->record("g");
    bus->publish_all({"1", "2"});
    bus->run_until([&] { return a.size() + b.size() == 2; });
    EXPECT_THAT(a.types(), ElementsAre("1"));
    EXPECT_THAT(b.types(), ElementsAre("2"));
}

TEST_P(PubsubConformance, ConcurrentPublishersShareAGroupFairly) {
    TRUNKLINE_REQUIRES(strict_round_robin);
    auto bus = open();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    const auto a = bus->record("g"), b = bus->record("g");
    bus->in_threads(4, [&](std::size_t p) {
        for (const auto& type : numbered(std::to_string(p) + ".", 25)) {
            EXPECT_EQ(publish_patiently(target, topic, type), error_code{});
        }
    });
    bus->run_until([&] { return a.size() + b.size() >= 100; });
    bus->quiesce();
    EXPECT_EQ(a.size(), 50U);
    EXPECT_EQ(b.size(), 50U);
    auto ids = a.ids();
    for (const auto& id : b.ids()) ids.push_back(id);
    std::sort(ids.begin(), ids.end());
    EXPECT_EQ(std::unique(ids.begin(), ids.end()), ids.end());
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
