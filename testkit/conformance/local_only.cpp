#include "support.hpp"

#include <map>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

TEST_P(PubsubConformance, LocalOnlyStaysInside) {
    TRUNKLINE_REQUIRES(local_only);
    auto bus = open();
    const auto here = bus->record(), there = bus->record({.instance = 1});
    const auto member = bus->record("g");
    bus->publish({.type = "local", .options = publish_options{}.local_only()});
    bus->run_until([&] { return here.size() >= 1 && member.size() >= 1; });
    bus->quiesce();
    EXPECT_THAT(here.types(), ElementsAre("local"));
    EXPECT_THAT(member.types(), ElementsAre("local"));
    EXPECT_THAT(there.types(), IsEmpty());
}

// A live object is not copied on its way: everybody gets the very one.
TEST_P(PubsubConformance, LocalOnlyKeepsIdentity) {
    TRUNKLINE_REQUIRES(local_only);
    auto bus = open();
    using table = std::map<std::string, int>;
    const auto object = std::make_shared<const table>(table{{"a", 1}});
    const auto fanout = bus->record(), member = bus->record("g");
    bus->publish(
        {.type = "local", .data = payload::live(object), .options = publish_options{}.local_only()}
    );
    bus->run_until([&] { return fanout.size() == 1 && member.size() == 1; });
    for (const auto* seen : {&fanout, &member}) {
        const auto e = seen->at(0);
        EXPECT_TRUE(e.data().is_live());
        EXPECT_EQ(e.data().live_as<table>(), object.get());
        EXPECT_EQ(e.data().live_as<int>(), nullptr);
        EXPECT_FALSE(e.id().is_nil());
        EXPECT_EQ(e.delivery_attempt(), 1U);
    }
}

TEST_P(PubsubConformance, LocalObjectIsReleasedWithTheEvent) {
    TRUNKLINE_REQUIRES(local_only);
    auto bus = open();
    auto object = std::make_shared<const int>(5);
    const std::weak_ptr<const int> watch = object;
    {
        const auto seen = bus->record();
        bus->publish(
            {.type = "local",
             .data = payload::live(std::move(object)),
             .options = publish_options{}.local_only()}
        );
        bus->run_until([&] { return seen.size() == 1; });
    }
    bus->flush();
    bus->run_until([&] { return watch.expired(); });
}

TEST_P(PubsubConformance, LocalEventsKeepTheirPlaceInTheOrder) {
    TRUNKLINE_REQUIRES(local_only);
    TRUNKLINE_REQUIRES_OFF(cross_instance);
    auto bus = open();
    const auto seen = bus->record();
    for (int i = 0; i < 10; ++i) {
        bus->publish(
            {.type = std::to_string(i), .options = publish_options{}.local_only(i % 3 == 0)}
        );
    }
    bus->run_until([&] { return seen.size() == 10; });
    EXPECT_THAT(seen.types(), ElementsAreArray(numbered("", 10)));
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
