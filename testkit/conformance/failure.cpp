#include "support.hpp"

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

TEST_P(PubsubConformance, RestartKeepsSubscriptions) {
    TRUNKLINE_REQUIRES(restart);
    auto bus = open();
    const auto fanout = bus->record(), member = bus->record("g");
    bus->publish("before");
    bus->run_until([&] { return fanout.size() == 1 && member.size() == 1; });
    bus->restart();
    bus->publish("after");
    bus->run_until([&] { return fanout.count("after") >= 1 && member.count("after") >= 1; });
}

TEST_P(PubsubConformance, OneBrokerAfterFailover) {
    TRUNKLINE_REQUIRES(restart);
    TRUNKLINE_REQUIRES(elects_broker);
    auto bus = open();
    const auto a = bus->record(), b = bus->record({.instance = 1});
    bus->restart();
    bus->publish("from a");
    bus->publish({.type = "from b", .instance = 1});
    bus->run_until([&] { return a.size() >= 2 && b.size() >= 2; });
    bus->quiesce();
    // Two brokers would split the instances or double the events.
    EXPECT_THAT(a.types(), UnorderedElementsAre("from a", "from b"));
    EXPECT_THAT(b.types(), UnorderedElementsAre("from a", "from b"));
}

TEST_P(PubsubConformance, PublishDuringFailoverArrivesOrFails) {
    TRUNKLINE_REQUIRES(restart);
    auto bus = open();
    const auto seen = bus->record();
    std::vector<std::pair<std::string, operation>> ops;
    for (const auto& type : numbered("e", 20)) {
        ops.emplace_back(
            type, bus->start_publish({.type = type, .options = publish_options{}.confirmed()})
        );
        if (type == "e10") bus->restart();
    }
    for (const auto& each : ops) bus->run_until(each.second);
    for (const auto& [type, op] : ops) {
        if (!op.error()) bus->run_until([&, &name = type] { return seen.count(name) >= 1; });
    }
}

TEST_P(PubsubConformance, StaleSocketIsReclaimed) {
    TRUNKLINE_REQUIRES(elects_broker);
    GTEST_SKIP() << "needs a backend with a socket file; its own tests cover it";
}

TEST_P(PubsubConformance, SlowPeerIsDroppedAtLimit) {
    TRUNKLINE_REQUIRES(elects_broker);
    GTEST_SKIP() << "needs a backend with peers; its own tests cover it";
}

TEST_P(PubsubConformance, OversizedFrameClosesThatPeerOnly) {
    TRUNKLINE_REQUIRES(elects_broker);
    GTEST_SKIP() << "needs a backend with frames; its own tests cover it";
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
