#include "support.hpp"

#include <atomic>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

TEST_P(PubsubConformance, UnsubscribedIsSilent) {
    auto bus = open();
    auto gone = bus->record(), stopped = bus->record();
    const auto stays = bus->record();
    bus->publish("before");
    bus->run_until([&] { return gone.size() == 1 && stopped.size() == 1 && stays.size() == 1; });
    gone.unsubscribe();
    stopped.stop();
    bus->publish("after");
    bus->quiesce();
    EXPECT_THAT(gone.types(), ElementsAre("before"));
    EXPECT_THAT(stopped.types(), ElementsAre("before"));
    EXPECT_THAT(stays.types(), ElementsAre("before", "after"));
}

TEST_P(PubsubConformance, ClosedSubscriptionIsSilent) {
    auto bus = open();
    auto seen = bus->record();
    const auto stays = bus->record();
    EXPECT_FALSE(bus->await([&](auto done) { seen.subscription().close(std::move(done)); }));
    EXPECT_FALSE(seen.subscription().active());
    bus->publish("after");
    bus->quiesce();
    EXPECT_THAT(seen.types(), IsEmpty());
    EXPECT_THAT(stays.types(), ElementsAre("after"));
}

TEST_P(PubsubConformance, UnsubscribeUnknownIsNoOp) {
    auto bus = open();
    subscription nothing;
    nothing.stop();
    EXPECT_FALSE(nothing.active());
    EXPECT_FALSE(bus->await([&](auto done) { nothing.close(std::move(done)); }));
    EXPECT_EQ(bus->await([&](auto done) { nothing.ready(std::move(done)); }), errc::closed);

    auto seen = bus->record();
    const auto stays = bus->record();
    seen.stop();
    seen.stop();
    EXPECT_FALSE(bus->await([&](auto done) { seen.subscription().close(std::move(done)); }));
    seen.unsubscribe();
    seen.unsubscribe();
    bus->publish("x");
    bus->quiesce();
    EXPECT_THAT(seen.types(), IsEmpty());
    EXPECT_THAT(stays.types(), ElementsAre("x"));
}

// Row 7: two ends of one subscription join the same teardown, and both complete.
TEST_P(PubsubConformance, TwoClosesJoin) {
    TRUNKLINE_PUBSUB_ROW(7);
    auto bus = open();
    slow_handler slow{.executor = bus->executor(), .door = {}};
    auto door = slow.door;
    const auto started = slow.started, finished = slow.finished;
    auto feed = bus->subscribe(default_topic, on_executor(bus->executor(), slow));
    bus->publish("x");
    bus->run_until([&] { return started->load() == 1; });
    const auto first = bus->begin([&](auto done) { feed.close(std::move(done)); });
    const auto second = bus->begin([&](auto done) { feed.close(std::move(done)); });
    // Both wait for the coroutine that is still suspended.
    bus->quiesce();
    EXPECT_FALSE(first.done());
    EXPECT_FALSE(second.done());
    door.open();
    bus->run_until([&] { return first.done() && second.done(); });
    EXPECT_EQ(finished->load(), 1);
    EXPECT_EQ(first.error(), error_code{});
    EXPECT_EQ(second.error(), error_code{});
    bus->quiesce();
    EXPECT_EQ(first.calls(), 1);
    EXPECT_EQ(second.calls(), 1);
}

// One recorder stands for one callback of the reference: there, the second registration could
// never be removed again.
TEST_P(PubsubConformance, UnsubscribeOneTopicKeepsTheOther) {
    auto bus = open();
    const recorder shared;
    shared.on_change([&] { bus->loop().wake(); });
    auto a = bus->record({.topic = "a", .into = shared});
    auto b = bus->record({.topic = "b", .into = shared});
    a.unsubscribe();
    bus->publish({.type = "on a", .topic = "a"});
    bus->publish({.type = "on b", .topic = "b"});
    bus->quiesce("a");
    bus->quiesce("b");
    EXPECT_THAT(shared.types(), ElementsAre("on b"));
    b.unsubscribe();
    bus->publish({.type = "on b again", .topic = "b"});
    bus->quiesce("b");
    EXPECT_THAT(shared.types(), ElementsAre("on b"));
}

TEST_P(PubsubConformance, SameHandlerTwiceIsTwoSubscriptions) {
    auto bus = open();
    const recorder shared;
    shared.on_change([&] { bus->loop().wake(); });
    auto a = bus->record({.into = shared});
    auto b = bus->record({.into = shared});
    bus->publish("x");
    bus->run_until([&] { return shared.size() == 2; });
    a.unsubscribe();
    bus->publish("y");
    bus->quiesce();
    EXPECT_THAT(shared.types(), ElementsAre("x", "x", "y"));
    b.unsubscribe();
    bus->publish("z");
    bus->quiesce();
    EXPECT_EQ(shared.size(), 3U);
}

TEST_P(PubsubConformance, UnsubscribeDuringDelivery) {
    auto bus = open();
    std::optional<recorded> second;
    const auto first = bus->record({.judge = [&](const event& e) {
        if (e.type() == "1") second->stop();
        return verdict::ack;
    }});
    second.emplace(bus->record());
    const auto third = bus->record();
    bus->publish("1");
    bus->run_until([&] { return first.size() == 1; });
    bus->publish("2");
    bus->run_until([&] { return third.size() == 2; });
    bus->quiesce();
    // With threads the second handler may have been running already; it never starts again.
    if (bus->exact_time()) {
        EXPECT_THAT(second->types(), IsEmpty());
    } else {
        EXPECT_EQ(second->count("2"), 0U);
    }
    EXPECT_THAT(first.types(), ElementsAre("1", "2"));
    EXPECT_THAT(third.types(), ElementsAre("1", "2"));
}

TEST_P(PubsubConformance, HandlerMayEndItsOwnSubscription) {
    auto bus = open();
    std::optional<subscription> own;
    std::atomic<int> calls{0};
    const auto witness = bus->record();
    own.emplace(bus->subscribe(default_topic, [&](const event& e) {
        if (e.type() == sentinel_type) return;
        calls.fetch_add(1);
        *own = subscription{};  // neither waits for itself nor destroys what is running
    }));
    bus->publish("1");
    bus->publish("2");
    bus->run_until([&] { return witness.size() == 2; });
    bus->quiesce();
    EXPECT_EQ(calls.load(), 1);
}

// Row 2: who subscribes inside a handler does not get the current event, but the next one.
TEST_P(PubsubConformance, SubscribeDuringDelivery) {
    TRUNKLINE_PUBSUB_ROW(2);
    auto bus = open();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    const recorder late;
    late.on_change([&] { bus->loop().wake(); });
    subscription feed;
    std::atomic<bool> subscribed{false};
    const auto first = bus->record({.judge = [&](const event& e) {
        if (e.type() == "1") {
            feed = target.subscribe(topic, late.handler());
            subscribed.store(true);
        }
        return verdict::ack;
    }});
    bus->publish("1");
    bus->run_until([&] { return subscribed.load() && first.size() == 1; });
    ASSERT_FALSE(bus->await([&](auto done) { feed.ready(std::move(done)); }));
    bus->publish("2");
    bus->run_until([&] { return late.size() >= 1 && first.size() == 2; });
    bus->quiesce();
    EXPECT_THAT(late.types(), ElementsAre("2"));
    feed = {};
}

TEST_P(PubsubConformance, RacingFirstSubscribersBothReceive) {
    constexpr std::size_t subscribers = 4;
    auto bus = open();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    std::vector<recorder> seen(subscribers);
    std::vector<subscription> feeds(subscribers);
    for (auto& each : seen) each.on_change([&] { bus->loop().wake(); });
    bus->in_threads(subscribers, [&](std::size_t i) {
        feeds[i] = target.subscribe(topic, seen[i].handler());
    });
    for (auto& feed : feeds) {
        ASSERT_FALSE(bus->await([&](auto done) { feed.ready(std::move(done)); }));
    }
    bus->publish("x");
    bus->run_until([&] {
        return std::all_of(seen.begin(), seen.end(), [](auto& s) { return s.size() == 1; });
    });
    feeds.clear();
}

TEST_P(PubsubConformance, SubscribersMayComeAndGoWhilePublishing) {
    auto bus = open();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    const auto stays = bus->record();
    std::atomic<bool> publishing{true};
    bus->in_threads(3, [&](std::size_t i) {
        if (i == 0) {
            for (const auto& type : numbered("e", 200)) {
                EXPECT_EQ(publish_patiently(target, topic, type), error_code{});
            }
            publishing.store(false);
            return;
        }
        while (publishing.load()) {
            const recorder seen;
            auto feed = target.subscribe(
                topic, seen.handler(), i == 1 ? subscribe_options{} : subscribe_options{}.group("g")
            );
            feed = {};
            // Nothing starts any more once it is gone.
            const auto then = seen.size();
            std::this_thread::yield();
            EXPECT_EQ(seen.size(), then);
        }
    });
    bus->run_until([&] { return stays.size() == 200; });
    EXPECT_THAT(stays.types(), ElementsAreArray(numbered("e", 200)));
}

// From another thread, the destructor returns only after the running call has ended.
TEST_P(PubsubConformance, DestructorWaitsForARunningHandler) {
    auto bus = open();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    for (int round = 0; round < 20; ++round) {
        std::atomic<bool> started{false}, ended{false};
        auto feed = bus->subscribe(default_topic, [&](const event&) {
            started.store(true);
            started.notify_all();
            for (int i = 0; i < 200; ++i) std::this_thread::yield();
            ended.store(true);
        });
        bus->in_threads(2, [&](std::size_t i) {
            if (i == 0) {
                EXPECT_EQ(publish_patiently(target, topic, "x"), error_code{});
                return;
            }
            started.wait(false);
            feed = subscription{};
            EXPECT_TRUE(ended.load());
        });
    }
}

TEST_P(PubsubConformance, HandlersOfOneSubscriptionNeverOverlap) {
    auto bus = open();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    const auto seen = bus->record({.judge = [](const event&) {
        std::this_thread::yield();
        return verdict::ack;
    }});
    const auto member = bus->record("g", [](const event&) {
        std::this_thread::yield();
        return verdict::ack;
    });
    bus->in_threads(4, [&](std::size_t) {
        for (int i = 0; i < 50; ++i) {
            EXPECT_EQ(publish_patiently(target, topic, "x"), error_code{});
        }
    });
    bus->run_until([&] { return seen.size() == 200 && member.size() == 200; });
    EXPECT_EQ(seen.overlaps(), 0U);
    EXPECT_EQ(member.overlaps(), 0U);
}

TEST_P(PubsubConformance, EndedSubscriptionReleasesItsHandler) {
    auto bus = open();
    auto token = std::make_shared<int>(1);
    const std::weak_ptr<int> watch = token;
    const auto witness = bus->record();
    auto feed = bus->subscribe(default_topic, [token = std::move(token)](const event&) {});
    bus->publish("x");
    bus->run_until([&] { return witness.size() == 1; });
    EXPECT_FALSE(watch.expired());
    feed = {};
    // The last reference may be with the bus for a moment.
    bus->quiesce();
    bus->run_until([&] { return watch.expired(); });
}

TEST_P(PubsubConformance, AssigningEndsTheOldSubscription) {
    auto bus = open();
    const recorder old, fresh;
    old.on_change([&] { bus->loop().wake(); });
    fresh.on_change([&] { bus->loop().wake(); });
    auto feed = bus->subscribe(default_topic, old.handler());
    auto moved = std::move(feed);
    bus->publish("1");
    bus->run_until([&] { return old.size() == 1; });
    moved = bus->subscribe(default_topic, fresh.handler());
    bus->publish("2");
    bus->run_until([&] { return fresh.size() == 1; });
    bus->quiesce();
    EXPECT_THAT(old.types(), ElementsAre("1"));
    EXPECT_THAT(fresh.types(), ElementsAre("2"));
}

TEST_P(PubsubConformance, SubscriptionMayOutliveTheBus) {
    auto bus = open();
    auto seen = bus->record();
    bus->drop();
    EXPECT_FALSE(seen.subscription().active());
    seen.stop();
    EXPECT_FALSE(bus->await([&](auto done) { seen.subscription().close(std::move(done)); }));
    seen.unsubscribe();
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
