#include "support.hpp"

#include <trunkline/caching_pubsub.hpp>
#include <trunkline/testkit/forwarding_pubsub.hpp>

#include <atomic>

// Most of these say what has not happened yet, so they need a clock that stands still; what can be
// seen in real time as well is tested in both.
#define TRUNKLINE_NEEDS_EXACT_TIME(bus) \
    if (!(bus)->exact_time()) GTEST_SKIP() << "needs a clock that can be moved"

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

namespace {

subscribe_options batched(batch_options how) {
    return subscribe_options{}.batch(std::move(how));
}

// Runs what can run at this instant.
void settle(rig& bus) {
    bus.advance(milliseconds{0});
}

}  // namespace

TEST_P(PubsubConformance, BatchKeepsOrder) {
    TRUNKLINE_REQUIRES(native_batching);
    auto bus = open();
    const auto seen = bus->record({.options = batched(batch_options{}.max_size(10))});
    const auto types = numbered("e", 40);
    bus->publish_all(types);
    // A flush takes whatever has come by then, so the last events may be too few for another.
    bus->flush();
    EXPECT_THAT(seen.types(), ElementsAreArray(types));
    EXPECT_EQ(seen.overlaps(), 0U);
    EXPECT_THAT(seen.attempts(), Each(1U));
}

TEST_P(PubsubConformance, FlushesOnSize) {
    TRUNKLINE_REQUIRES(native_batching);
    auto bus = open();
    TRUNKLINE_NEEDS_EXACT_TIME(bus);
    const auto seen = bus->record({.options = batched(batch_options{}.max_size(3))});
    bus->publish_all({"1", "2"});
    bus->advance(std::chrono::hours{1});
    EXPECT_THAT(seen.types(), IsEmpty());
    bus->publish("3");
    settle(*bus);
    EXPECT_THAT(seen.types(), ElementsAre("1", "2", "3"));
    bus->publish("4");
    bus->advance(std::chrono::hours{1});
    EXPECT_EQ(seen.size(), 3U);
}

// The first event sets the deadline; later ones never move it.
TEST_P(PubsubConformance, FlushesOnWait) {
    TRUNKLINE_REQUIRES(native_batching);
    auto bus = open();
    TRUNKLINE_NEEDS_EXACT_TIME(bus);
    const auto seen =
        bus->record({.options = batched(batch_options{}.max_wait(milliseconds{100}))});
    bus->publish("1");
    bus->advance(milliseconds{60});
    bus->publish("2");
    bus->advance(milliseconds{39});
    EXPECT_THAT(seen.types(), IsEmpty());
    bus->advance(milliseconds{1});
    EXPECT_THAT(seen.types(), ElementsAre("1", "2"));
    // The next one starts its own.
    bus->publish("3");
    bus->advance(milliseconds{99});
    EXPECT_EQ(seen.size(), 2U);
    bus->advance(milliseconds{1});
    EXPECT_EQ(seen.size(), 3U);
}

TEST_P(PubsubConformance, WaitEndsInAnyKindOfTime) {
    TRUNKLINE_REQUIRES(native_batching);
    auto bus = open();
    const auto seen = bus->record({.options = batched(batch_options{}.max_wait(milliseconds{5}))});
    bus->publish_all({"1", "2"});
    bus->run_until([&] { return seen.size() >= 2; });
    EXPECT_THAT(seen.types(), ElementsAre("1", "2"));
}

TEST_P(PubsubConformance, KeepsMinInterval) {
    TRUNKLINE_REQUIRES(native_batching);
    auto bus = open();
    TRUNKLINE_NEEDS_EXACT_TIME(bus);
    const auto seen = bus->record(
        {.options = batched(batch_options{}.max_size(1).min_interval(milliseconds{100}))}
    );
    // Before the first flush there is no floor.
    bus->publish("1");
    settle(*bus);
    EXPECT_THAT(seen.types(), ElementsAre("1"));
    bus->advance(milliseconds{40});
    bus->publish_all({"2", "3"});
    bus->advance(milliseconds{59});
    EXPECT_EQ(seen.size(), 1U);
    bus->advance(milliseconds{1});
    EXPECT_THAT(seen.types(), ElementsAre("1", "2", "3"));
    // And the floor moved with that flush.
    bus->advance(milliseconds{99});
    bus->publish("4");
    settle(*bus);
    EXPECT_EQ(seen.size(), 3U);
    bus->advance(milliseconds{1});
    EXPECT_EQ(seen.size(), 4U);
}

TEST_P(PubsubConformance, IntervalAloneNeverFlushes) {
    TRUNKLINE_REQUIRES(native_batching);
    auto bus = open();
    TRUNKLINE_NEEDS_EXACT_TIME(bus);
    const auto seen =
        bus->record({.options = batched(batch_options{}.min_interval(milliseconds{10}))});
    bus->publish("1");
    bus->advance(std::chrono::hours{1});
    EXPECT_THAT(seen.types(), IsEmpty());
    bus->flush();
    EXPECT_THAT(seen.types(), ElementsAre("1"));
}

// The deadline waits for the floor.
TEST_P(PubsubConformance, WaitDoesNotBreakTheInterval) {
    TRUNKLINE_REQUIRES(native_batching);
    auto bus = open();
    TRUNKLINE_NEEDS_EXACT_TIME(bus);
    const auto seen = bus->record(
        {.options =
             batched(batch_options{}.max_wait(milliseconds{10}).min_interval(milliseconds{100}))}
    );
    bus->publish("1");
    bus->advance(milliseconds{10});
    ASSERT_THAT(seen.types(), ElementsAre("1"));
    bus->publish("2");
    bus->advance(milliseconds{99});
    EXPECT_EQ(seen.size(), 1U);
    bus->advance(milliseconds{1});
    EXPECT_EQ(seen.size(), 2U);
}

// Row 21: an immediate event takes the normal ones before it along, in order.
TEST_P(PubsubConformance, ImmediateFlushes) {
    TRUNKLINE_PUBSUB_ROW(21);
    TRUNKLINE_REQUIRES(native_batching);
    auto bus = open();
    TRUNKLINE_NEEDS_EXACT_TIME(bus);
    const auto seen = bus->record(
        {.options = batched(batch_options{}
                                .max_size(100)
                                .min_interval(milliseconds{100})
                                .is_immediate([](const event& e) { return e.type() == "now"; }))}
    );
    bus->publish_all({"1", "2"});
    bus->advance(milliseconds{500});
    EXPECT_THAT(seen.types(), IsEmpty());
    bus->publish("now");
    settle(*bus);
    EXPECT_THAT(seen.types(), ElementsAre("1", "2", "now"));
    // Not even it breaks the interval.
    bus->publish("now");
    bus->advance(milliseconds{99});
    EXPECT_EQ(seen.size(), 3U);
    bus->advance(milliseconds{1});
    EXPECT_EQ(seen.size(), 4U);
}

// Row 22: flushing an empty buffer is nothing; it does not start an interval.
TEST_P(PubsubConformance, EmptyFlushDelaysNothing) {
    TRUNKLINE_PUBSUB_ROW(22);
    TRUNKLINE_REQUIRES(native_batching);
    auto bus = open();
    TRUNKLINE_NEEDS_EXACT_TIME(bus);
    const auto seen = bus->record(
        {.options = batched(batch_options{}.max_size(1).min_interval(milliseconds{100}))}
    );
    bus->flush();
    bus->publish("1");
    settle(*bus);
    EXPECT_EQ(seen.size(), 1U);
    bus->advance(milliseconds{100});
    bus->flush();
    bus->publish("2");
    settle(*bus);
    EXPECT_EQ(seen.size(), 2U);
}

TEST_P(PubsubConformance, FlushDrainsBuffers) {
    TRUNKLINE_REQUIRES(native_batching);
    auto bus = open();
    const auto seen = bus->record({.options = batched(batch_options{}.max_size(100))});
    const auto member =
        bus->record({.group = "g", .options = batched(batch_options{}.max_size(100))});
    bus->publish_all({"1", "2", "3"});
    bus->flush();
    EXPECT_THAT(seen.types(), ElementsAre("1", "2", "3"));
    EXPECT_THAT(member.types(), ElementsAre("1", "2", "3"));
}

TEST_P(PubsubConformance, CoalesceMayOnlyDrop) {
    TRUNKLINE_REQUIRES(native_batching);
    auto bus = open();
    std::atomic<int> calls{0};
    enum class answer { last, invented, disordered, repeated };
    std::atomic<answer> mode{answer::last};
    std::optional<event> foreign;
    const auto seen = bus->record(
        {.options = batched(batch_options{}.max_size(3).coalesce([&](std::vector<event> all) {
             calls.fetch_add(1);
             switch (mode.load()) {
                 case answer::last:
                     return std::vector<event>{all.back()};
                 case answer::invented: {
                     // In later batches it is none of them any more.
                     if (!foreign) foreign = all.front();
                     return std::vector<event>{*foreign};
                 }
                 case answer::disordered:
                     return std::vector<event>{all[1], all[0]};
                 case answer::repeated:
                     return std::vector<event>{all[0], all[0]};
             }
             return all;
         }))}
    );
    bus->publish_all({"1", "2", "3"});
    bus->run_until([&] { return seen.size() == 1; });
    EXPECT_THAT(seen.types(), ElementsAre("3"));
    mode = answer::invented;
    // The first batch of this mode is right, and defines what is foreign to the next one.
    bus->publish_all({"4", "5", "6"});
    bus->run_until([&] { return calls.load() == 2; });
    bus->flush();
    EXPECT_THAT(seen.types(), ElementsAre("3", "4"));
    for (const auto wrong : {answer::invented, answer::disordered, answer::repeated}) {
        mode = wrong;
        const auto before = calls.load();
        bus->publish_all({"7", "8", "9"});
        bus->run_until([&] { return calls.load() == before + 1; });
        bus->flush();
        EXPECT_EQ(seen.size(), 2U) << static_cast<int>(wrong);
    }
    EXPECT_GE(bus->log().count(log_level::warn) + bus->log().count(log_level::error), 1U);
    EXPECT_GE(bus->bus().counters().dropped, 9U);
    mode = answer::last;
    bus->publish_all({"10", "11", "12"});
    bus->run_until([&] { return seen.size() == 3; });
    EXPECT_EQ(seen.at(2).type(), "12");
}

// A dropped event of a group is settled: it does not come again, to nobody.
TEST_P(PubsubConformance, CoalescedEventsAreAcknowledged) {
    TRUNKLINE_REQUIRES(native_batching);
    auto bus = open();
    const auto options = batched(batch_options{}.max_size(4).coalesce([](std::vector<event> all) {
        all.erase(all.begin(), all.end() - 1);
        return all;
    }));
    const auto seen = bus->record({.group = "g", .options = options});
    bus->publish_all({"1", "2", "3", "4"});
    bus->run_until([&] { return seen.size() == 1; });
    bus->quiesce();
    EXPECT_THAT(seen.types(), ElementsAre("4"));
    EXPECT_EQ(bus->bus().counters().redelivered, 0U);
}

TEST_P(PubsubConformance, ThrowingCoalesceLosesThatBatchOnly) {
    TRUNKLINE_REQUIRES(native_batching);
    auto bus = open();
    std::atomic<int> calls{0};
    const auto seen = bus->record(
        {.options = batched(batch_options{}.max_size(2).coalesce([&](std::vector<event> all) {
             if (calls.fetch_add(1) == 0) throw std::runtime_error("as the test asked");
             return all;
         }))}
    );
    bus->publish_all({"1", "2"});
    bus->run_until([&] { return calls.load() == 1; });
    bus->publish_all({"3", "4"});
    bus->run_until([&] { return seen.size() == 2; });
    bus->flush();
    EXPECT_THAT(seen.types(), ElementsAre("3", "4"));
    EXPECT_GE(bus->log().count(log_level::warn) + bus->log().count(log_level::error), 1U);
}

TEST_P(PubsubConformance, ThrowingHandlerDoesNotEndTheBatch) {
    TRUNKLINE_REQUIRES(native_batching);
    auto bus = open();
    const auto seen = bus->record(
        {.judge = for_type("1", verdict::throws), .options = batched(batch_options{}.max_size(3))}
    );
    bus->publish_all({"1", "2", "3"});
    bus->run_until([&] { return seen.size() == 3; });
    bus->flush();
    EXPECT_THAT(seen.types(), ElementsAre("1", "2", "3"));
    EXPECT_EQ(bus->bus().counters().handler_failures, 1U);
}

// The buffer is full when a slow handler keeps the flush busy; which events go is the policy's.
TEST_P(PubsubConformance, OverflowFollowsPolicy) {
    TRUNKLINE_REQUIRES(native_batching);
    struct expectation {
        batch_overflow policy;
        std::vector<std::string> types;
    };
    const std::vector<expectation> all{
        {batch_overflow::drop_oldest, {"e0", "e6", "e7", "e8", "e9"}},
        {batch_overflow::coalesce_or_drop_oldest, {"e0", "e6", "e7", "e8", "e9"}},
        {batch_overflow::drop_newest, {"e0", "e1", "e2", "e3", "e4"}},
    };
    for (const auto& each : all) {
        auto bus = open();
        struct slow_recorder {
            slow_handler slow;
            recorder seen;
            boost::asio::awaitable<void> operator()(delivery& d) {
                // A settled delivery may end the call, so it is noted before.
                delivery copy{d.event(), nullptr, 0};
                auto note = seen.handler();
                note(copy);
                co_await slow(d);
            }
        };
        slow_recorder handler{{.executor = bus->executor(), .door = {}}, {}};
        handler.seen.on_change([&] { bus->loop().wake(); });
        auto door = handler.slow.door;
        const auto seen = handler.seen;
        const auto started = handler.slow.started;
        auto feed = bus->subscribe(
            default_topic,
            on_executor(bus->executor(), handler),
            batched(batch_options{}.max_size(1).max_buffer_size(4).overflow(each.policy))
        );
        bus->publish("e0");
        bus->run_until([&] { return started->load() == 1; });
        for (int i = 1; i < 10; ++i) {
            EXPECT_FALSE(bus->bus().publish(bus->topic(), event_draft{"e" + std::to_string(i), "r"})
            );
        }
        settle(*bus);
        door.open();
        bus->run_until([&] { return seen.size() >= 5; });
        bus->flush();
        EXPECT_THAT(seen.types(), ElementsAreArray(each.types)) << static_cast<int>(each.policy);
        EXPECT_EQ(bus->bus().counters().dropped, 5U);
    }
}

TEST_P(PubsubConformance, FullBufferFlushesBeforeTheInterval) {
    TRUNKLINE_REQUIRES(native_batching);
    auto bus = open();
    TRUNKLINE_NEEDS_EXACT_TIME(bus);
    const auto seen = bus->record(
        {.options = batched(
             batch_options{}.max_size(1).max_buffer_size(3).min_interval(std::chrono::seconds{10})
         )}
    );
    bus->publish("0");
    settle(*bus);
    EXPECT_EQ(seen.size(), 1U);
    bus->publish_all({"1", "2"});
    settle(*bus);
    EXPECT_EQ(seen.size(), 1U);
    bus->publish("3");
    settle(*bus);
    EXPECT_THAT(seen.types(), ElementsAre("0", "1", "2", "3"));
}

// Round robin comes first: each member has a buffer of its own.
TEST_P(PubsubConformance, GroupMembersBatchSeparately) {
    TRUNKLINE_REQUIRES(native_batching);
    TRUNKLINE_REQUIRES(strict_round_robin);
    auto bus = open();
    const auto options = batched(batch_options{}.max_size(2));
    const auto a = bus->record({.group = "g", .options = options});
    const auto b = bus->record({.group = "g", .options = options});
    if (bus->exact_time()) {
        bus->publish_all({"1", "2"});
        bus->advance(std::chrono::hours{1});
        EXPECT_EQ(a.size() + b.size(), 0U);
        bus->publish_all({"3", "4"});
    } else {
        bus->publish_all({"1", "2", "3", "4"});
    }
    bus->run_until([&] { return a.size() == 2 && b.size() == 2; });
    EXPECT_THAT(a.types(), ElementsAre("1", "3"));
    EXPECT_THAT(b.types(), ElementsAre("2", "4"));
}

TEST_P(PubsubConformance, NackInABatchRedelivers) {
    TRUNKLINE_REQUIRES(native_batching);
    TRUNKLINE_REQUIRES(redelivers_to_group);
    auto bus = open();
    const auto seen = bus->record(
        {.group = "g",
         .judge = at_first(verdict::nack),
         .options = batched(batch_options{}.max_size(2))}
    );
    bus->publish_all({"1", "2"});
    bus->run_until([&] { return seen.size() >= 2; });
    // The retry waits in the buffer again; flush includes what a flush caused.
    bus->flush();
    EXPECT_THAT(seen.types(), ElementsAre("1", "2", "1"));
    EXPECT_THAT(seen.attempts(), ElementsAre(1U, 1U, 2U));
}

TEST_P(PubsubConformance, UnsubscribingDisposesOfTheBuffer) {
    TRUNKLINE_REQUIRES(native_batching);
    auto bus = open();
    auto seen =
        bus->record({.options = batched(batch_options{}.max_size(10).max_wait(milliseconds{5}))});
    const auto witness = bus->record();
    bus->publish_all({"1", "2"});
    if (bus->exact_time()) {
        seen.unsubscribe();
        bus->advance(milliseconds{100});
        EXPECT_THAT(seen.types(), IsEmpty());
    } else {
        seen.unsubscribe();
    }
    const auto then = seen.size();
    bus->publish("3");
    bus->run_until([&] { return witness.size() == 3; });
    bus->quiesce();
    EXPECT_EQ(seen.size(), then);
}

TEST_P(PubsubConformance, HandlerMayEndItsOwnBatch) {
    TRUNKLINE_REQUIRES(native_batching);
    auto bus = open();
    std::optional<recorded> seen;
    seen.emplace(bus->record(
        {.judge =
             [&](const event&) {
                 seen->stop();
                 return verdict::ack;
             },
         .options = batched(batch_options{}.max_size(3))}
    ));
    bus->publish_all({"1", "2", "3"});
    bus->run_until([&] { return seen->size() == 1; });
    bus->quiesce();
    EXPECT_THAT(seen->types(), ElementsAre("1"));
}

TEST_P(PubsubConformance, UnsupportedBatchIsOneByOne) {
    TRUNKLINE_PUBSUB_ROW(20);
    TRUNKLINE_REQUIRES_OFF(native_batching);
    auto bus = open();
    const auto seen = bus->record({.options = batched(batch_options{}.max_size(100))});
    bus->publish("1");
    bus->run_until([&] { return seen.size() == 1; });
    bus->publish("2");
    bus->run_until([&] { return seen.size() == 2; });
}

namespace {

// Any backend, as if it could not batch: it ignores the option.
class unbatched_pubsub final : public forwarding_pubsub {
public:
    using forwarding_pubsub::forwarding_pubsub;

    backend_traits traits() const override {
        auto t = forwarding_pubsub::traits();
        t.native_batching = false;
        return t;
    }

protected:
    subscription do_subscribe(
        std::string_view topic, trunkline::handler h, const subscribe_options& options
    ) override {
        subscribe_options plain;
        if (options.group()) plain.group(*options.group());
        return inner()->subscribe(topic, std::move(h), plain);
    }
};

}  // namespace

// Row 20: wrapped in the replay decorator, a backend without batching delivers one by one.
TEST_P(PubsubConformance, DecoratorOfABusWithoutBatchingIsOneByOne) {
    TRUNKLINE_PUBSUB_ROW(20);
    TRUNKLINE_REQUIRES_OFF(offsets);
    auto bus = open();
    const auto below = std::make_shared<unbatched_pubsub>(bus->shared_bus());
    caching_pubsub cached{below, bus->shared_cache(), bus->environment().settings.caching};
    EXPECT_FALSE(cached.traits().native_batching);
    const recorder seen;
    seen.on_change([&] { bus->loop().wake(); });
    const auto topic = bus->topic();
    auto feed = cached.subscribe(topic, seen.handler(), batched(batch_options{}.max_size(100)));
    ASSERT_FALSE(bus->await([&](auto done) { feed.ready(std::move(done)); }));
    for (std::size_t i = 1; i <= 2; ++i) {
        EXPECT_FALSE(cached.publish(topic, event_draft{"x", "r"}));
        bus->run_until([&] { return seen.size() == i; });
    }
    feed = {};
    ASSERT_FALSE(bus->await([&](auto done) { cached.async_close(std::move(done)); }));
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
