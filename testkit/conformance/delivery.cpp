#include "support.hpp"

#include <trunkline/tagged.hpp>

#include <boost/json/object.hpp>

#include <array>
#include <atomic>
#include <set>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

TEST_P(PubsubConformance, FanoutReachesEverySubscriber) {
    auto bus = open();
    const auto a = bus->record(), b = bus->record(), c = bus->record();
    bus->publish("x");
    bus->run_until([&] { return a.size() + b.size() + c.size() >= 3; });
    bus->quiesce();
    for (const auto* each : {&a, &b, &c}) EXPECT_THAT(each->types(), ElementsAre("x"));
    EXPECT_EQ(a.ids(), b.ids());
    EXPECT_EQ(b.ids(), c.ids());
}

TEST_P(PubsubConformance, FanoutCrossesInstances) {
    TRUNKLINE_REQUIRES(cross_instance);
    auto bus = open();
    const auto here = bus->record(), there = bus->record({.instance = 1});
    bus->publish("from here");
    bus->publish({.type = "from there", .instance = 1});
    bus->run_until([&] { return here.size() == 2 && there.size() == 2; });
    bus->quiesce();
    EXPECT_THAT(here.types(), UnorderedElementsAre("from here", "from there"));
    EXPECT_THAT(there.types(), UnorderedElementsAre("from here", "from there"));
}

TEST_P(PubsubConformance, FanoutStaysInTheInstance) {
    TRUNKLINE_REQUIRES_OFF(cross_instance);
    auto bus = open();
    const auto here = bus->record(), there = bus->record({.instance = 1});
    bus->publish("from here");
    bus->publish({.type = "from there", .instance = 1});
    bus->quiesce();
    EXPECT_THAT(here.types(), ElementsAre("from here"));
    EXPECT_THAT(there.types(), ElementsAre("from there"));
}

TEST_P(PubsubConformance, PublisherHearsItself) {
    auto bus = open();
    const auto seen = bus->record();
    bus->publish("x");
    bus->run_until([&] { return seen.size() == 1; });
    EXPECT_EQ(seen.at(0).type(), "x");
}

TEST_P(PubsubConformance, PublishingToNobodySucceeds) {
    auto bus = open();
    EXPECT_EQ(bus->try_publish({.type = "x"}), error_code{});
    // Nothing is kept for those who come later.
    const auto late = bus->record();
    bus->quiesce();
    EXPECT_THAT(late.types(), IsEmpty());
}

TEST_P(PubsubConformance, TopicsAreIsolated) {
    auto bus = open();
    const auto a = bus->record({.topic = "a"}), b = bus->record({.topic = "b"});
    // A prefix of a topic is another topic.
    const auto ab = bus->record({.topic = "ab"});
    bus->publish({.type = "for a", .topic = "a"});
    bus->publish({.type = "for b", .topic = "b"});
    bus->quiesce("a");
    bus->quiesce("b");
    bus->quiesce("ab");
    EXPECT_THAT(a.types(), ElementsAre("for a"));
    EXPECT_THAT(b.types(), ElementsAre("for b"));
    EXPECT_THAT(ab.types(), IsEmpty());
}

TEST_P(PubsubConformance, OrderIsPublishOrder) {
    auto bus = open();
    const auto a = bus->record(), b = bus->record();
    const auto types = numbered("e", 100);
    bus->publish_all(types);
    bus->run_until([&] { return a.size() == 100 && b.size() == 100; });
    EXPECT_THAT(a.types(), ElementsAreArray(types));
    EXPECT_THAT(b.types(), ElementsAreArray(types));
}

TEST_P(PubsubConformance, BackendAssignsIdAndTime) {
    auto bus = open();
    const auto seen = bus->record();
    const auto before = bus->clock()->wall();
    const auto foreign = event_id::from_text("11111111-2222-4333-8444-555555555555");
    bus->publish_draft(event_draft{"x", "r"}.id(foreign).created_at(wall_time{milliseconds{5}}));
    bus->publish("y");
    bus->run_until([&] { return seen.size() == 2; });
    const auto after = bus->clock()->wall();
    EXPECT_NE(seen.at(0).id(), foreign);
    EXPECT_NE(seen.at(0).id(), seen.at(1).id());
    for (const auto& e : seen.events()) {
        const auto id = e.id().text();
        EXPECT_THAT(
            id,
            testing::MatchesRegex(
                "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
            )
        );
        EXPECT_GE(e.created_at(), before);
        EXPECT_LE(e.created_at(), after);
        EXPECT_EQ(e.delivery_attempt(), 1U);
    }
}

TEST_P(PubsubConformance, IdsDoNotRepeat) {
    auto bus = open();
    const auto seen = bus->record();
    bus->publish_all(numbered("e", 300));
    bus->run_until([&] { return seen.size() == 300; });
    const auto ids = seen.ids();
    EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 300U);
}

TEST_P(PubsubConformance, KeptIdentityArrivesAndTheRestIsAssigned) {
    auto bus = open();
    const auto seen = bus->record();
    const auto id = event_id::from_text("11111111-2222-4333-8444-555555555555");
    const wall_time time{milliseconds{1'700'000'000'123}};
    const auto keep = publish_options{}.keep_identity();
    bus->publish_draft(event_draft{"both", "r"}.id(id).created_at(time), default_topic, keep);
    bus->publish_draft(event_draft{"no time", "r"}.id(id), default_topic, keep);
    bus->publish_draft(event_draft{"no id", "r"}.created_at(time), default_topic, keep);
    bus->run_until([&] { return seen.size() == 3; });
    EXPECT_EQ(seen.at(0).id(), id);
    EXPECT_EQ(seen.at(0).created_at(), time);
    EXPECT_EQ(seen.at(1).id(), id);
    EXPECT_NE(seen.at(1).created_at(), time);
    EXPECT_FALSE(seen.at(2).id().is_nil());
    EXPECT_NE(seen.at(2).id(), id);
    EXPECT_EQ(seen.at(2).created_at(), time);
}

// A bridge publishes what it received: the event stays the same one.
TEST_P(PubsubConformance, ForwardedEventKeepsIdAndTime) {
    auto bus = open();
    const auto from = bus->record({.topic = "from"}), to = bus->record({.topic = "to"});
    bus->publish({.type = "x", .topic = "from", .run_id = "r", .data = {boost::json::value("d")}});
    bus->run_until([&] { return from.size() == 1; });
    bus->advance(milliseconds{20});
    bus->publish_draft(event_draft::forward(from.at(0)), "to");
    bus->run_until([&] { return to.size() == 1; });
    EXPECT_EQ(to.at(0).id(), from.at(0).id());
    EXPECT_EQ(to.at(0).created_at(), from.at(0).created_at());
    EXPECT_EQ(to.at(0).data().tree(), boost::json::value("d"));
}

TEST_P(PubsubConformance, IndexAndRunIdPassThrough) {
    auto bus = open();
    const auto seen = bus->record();
    bus->publish_draft(event_draft{"x", "run-é"}.index(41));
    bus->publish_draft(event_draft{"y", "run-2"});
    bus->run_until([&] { return seen.size() == 2; });
    EXPECT_THAT(seen.run_ids(), ElementsAre("run-é", "run-2"));
    if (features().offsets) {
        // A bus that numbers its events discards what the publisher brought.
        EXPECT_THAT(seen.indices(), ElementsAre(0U, 1U));
    } else {
        EXPECT_THAT(seen.indices(), ElementsAre(std::optional<std::uint64_t>{41}, std::nullopt));
    }
}

TEST_P(PubsubConformance, TaggedValuesSurvive) {
    auto bus = open();
    const auto seen = bus->record();
    const wall_time time{milliseconds{1'700'000'000'123}};
    // An initialiser list of one array would be that array itself.
    boost::json::array pairs;
    pairs.push_back(boost::json::array{"k", 1});
    const boost::json::value tree = {
        {"when", tagged::date(time)},
        {"big", tagged::bigint("12345678901234567890")},
        {"nothing", tagged::undefined()},
        {"set", tagged::set({1, 2})},
        {"map", tagged::map(pairs)},
        {"null", nullptr},
        {"nested", {{"list", {1, 2.5, "three", true, nullptr}}}},
    };
    bus->publish({.data = {tree}});
    bus->run_until([&] { return seen.size() == 1; });
    const auto e = seen.at(0);
    EXPECT_EQ(e.data().tree(), tree);
    EXPECT_EQ(tagged::as_date(e.data().tree().at("when")), time);
    EXPECT_EQ(tagged::as_bigint(e.data().tree().at("big")), "12345678901234567890");
    EXPECT_TRUE(tagged::is_undefined(e.data().tree().at("nothing")));
}

TEST_P(PubsubConformance, TextPayloadArrivesAsItsValue) {
    auto bus = open();
    const auto seen = bus->record();
    bus->publish({.data = payload::from_json_text(R"({"a":[1,2,{"b":"\u00e9"}]})")});
    bus->run_until([&] { return seen.size() == 1; });
    const boost::json::value expected = {{"a", {1, 2, {{"b", "é"}}}}};
    EXPECT_EQ(seen.at(0).data().tree(), expected);
}

TEST_P(PubsubConformance, AbsentDataIsNotNull) {
    auto bus = open();
    const auto seen = bus->record();
    bus->publish({.type = "absent"});
    bus->publish({.type = "null", .data = {boost::json::value(nullptr)}});
    bus->run_until([&] { return seen.size() == 2; });
    EXPECT_TRUE(seen.at(0).data().absent());
    EXPECT_FALSE(seen.at(1).data().absent());
    EXPECT_TRUE(seen.at(1).data().tree().is_null());
}

TEST_P(PubsubConformance, UnknownFieldsAreTolerated) {
    auto bus = open();
    const auto seen = bus->record();
    bus->publish_draft(event_draft{"x", "r"}
                           .extra("tenant", "acme")
                           .extra("depth", boost::json::value{{"a", {1, 2}}}));
    bus->publish_draft(event_draft{"plain", "r"});
    bus->run_until([&] { return seen.size() == 2; });
    const auto e = seen.at(0);
    ASSERT_NE(e.extra(), nullptr);
    const boost::json::object expected = {{"tenant", "acme"}, {"depth", {{"a", {1, 2}}}}};
    EXPECT_EQ(*e.extra(), expected);
    EXPECT_TRUE(seen.at(1).extra() == nullptr || seen.at(1).extra()->empty());
}

// Larger than any buffer, and than the byte limit of a small queue: it still passes alone.
TEST_P(PubsubConformance, LargePayloadArrivesWhole) {
    auto bus = open();
    const auto seen = bus->record();
    std::string text(std::size_t{1} << 20, 'x');
    for (std::size_t i = 0; i < text.size(); i += 997) text[i] = static_cast<char>('a' + i % 26);
    bus->publish({.type = "large", .data = {boost::json::value(text)}});
    bus->publish("small");
    bus->run_until([&] { return seen.size() == 2; });
    EXPECT_THAT(seen.types(), ElementsAre("large", "small"));
    EXPECT_TRUE(seen.at(0).data().tree().as_string() == text);
}

TEST_P(PubsubConformance, ConcurrentPublishersLoseNothing) {
    constexpr std::size_t publishers = 4, each = 100;
    auto bus = open();
    const auto a = bus->record(), b = bus->record();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    std::array<error_code, publishers> failures;
    bus->in_threads(publishers, [&](std::size_t p) {
        for (const auto& type : numbered("p" + std::to_string(p) + "-", each)) {
            if (const auto ec = publish_patiently(target, topic, type)) failures[p] = ec;
        }
    });
    EXPECT_THAT(failures, Each(error_code{}));
    bus->run_until([&] { return a.size() >= publishers * each && b.size() >= publishers * each; });
    bus->quiesce();
    for (const auto* seen : {&a, &b}) {
        EXPECT_EQ(seen->overlaps(), 0U);
        const auto types = seen->types();
        EXPECT_EQ(types.size(), publishers * each);
        // Nothing twice, and each publisher's events in its own order.
        for (std::size_t p = 0; p < publishers; ++p) {
            const auto mine = "p" + std::to_string(p) + "-";
            std::vector<std::string> from_p;
            for (const auto& type : types) {
                if (type.starts_with(mine)) from_p.push_back(type);
            }
            EXPECT_THAT(from_p, ElementsAreArray(numbered(mine, each)));
        }
    }
}

TEST_P(PubsubConformance, AllSubscribersSeeOneOrder) {
    TRUNKLINE_REQUIRES(common_order);
    auto bus = open();
    const auto a = bus->record(), b = bus->record(), c = bus->record();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    bus->in_threads(3, [&](std::size_t p) {
        for (const auto& type : numbered(std::to_string(p) + ".", 60)) {
            EXPECT_EQ(publish_patiently(target, topic, type), error_code{});
        }
    });
    bus->run_until([&] { return a.size() == 180 && b.size() == 180 && c.size() == 180; });
    EXPECT_EQ(a.types(), b.types());
    EXPECT_EQ(b.types(), c.types());
}

// Row 1: what a handler publishes on its own topic comes behind the current event, for everybody.
TEST_P(PubsubConformance, HandlerMayPublish) {
    TRUNKLINE_PUBSUB_ROW(1);
    auto bus = open();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    const auto first = bus->record({.judge = [&](const event& e) {
        if (e.type() == "outer") EXPECT_FALSE(target.publish(topic, event_draft{"inner", "r"}));
        return verdict::ack;
    }});
    const auto second = bus->record();
    bus->publish("outer");
    bus->run_until([&] { return first.size() == 2 && second.size() == 2; });
    EXPECT_THAT(first.types(), ElementsAre("outer", "inner"));
    EXPECT_THAT(second.types(), ElementsAre("outer", "inner"));
    EXPECT_EQ(first.overlaps(), 0U);
}

// Each event brings the next one: no recursion, or the stack would end it.
TEST_P(PubsubConformance, NestedPublishingDoesNotRecurse) {
    TRUNKLINE_PUBSUB_ROW(1);
    constexpr std::size_t depth = 5000;
    auto bus = open();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    std::atomic<std::size_t> left{depth};
    const auto seen = bus->record({.judge = [&](const event&) {
        if (left.fetch_sub(1) > 1) EXPECT_FALSE(target.publish(topic, event_draft{"next", "r"}));
        return verdict::ack;
    }});
    bus->publish("first");
    bus->run_until([&] { return seen.size() == depth; });
    EXPECT_EQ(seen.overlaps(), 0U);
}

TEST_P(PubsubConformance, HandlersMayPublishToEachOthersTopics) {
    auto bus = open();
    auto& target = bus->bus();
    const auto ping = bus->topic("ping"), pong = bus->topic("pong");
    std::atomic<int> left{50};
    const auto forward = [&](const std::string& to) {
        return [&left, &target, to](const event&) {
            if (left.fetch_sub(1) > 0) EXPECT_FALSE(target.publish(to, event_draft{"hop", "r"}));
            return verdict::ack;
        };
    };
    const auto a = bus->record({.topic = "ping", .judge = forward(pong)});
    const auto b = bus->record({.topic = "pong", .judge = forward(ping)});
    bus->publish({.type = "hop", .topic = "ping"});
    bus->run_until([&] { return a.size() + b.size() == 51; });
    EXPECT_EQ(a.size(), 26U);
    EXPECT_EQ(b.size(), 25U);
}

TEST_P(PubsubConformance, SlowHandlerDoesNotBlockOthers) {
    auto bus = open();
    slow_handler slow{.executor = bus->executor(), .door = {}};
    auto door = slow.door;
    const auto started = slow.started, finished = slow.finished;
    auto feed = bus->subscribe(default_topic, on_executor(bus->executor(), slow));
    const auto seen = bus->record();
    bus->publish("a");
    bus->publish("b");
    bus->run_until([&] { return seen.size() == 2 && started->load() == 2; });
    EXPECT_EQ(finished->load(), 0);
    door.open();
    bus->run_until([&] { return finished->load() == 2; });
}

// Row 29: what a handler throws reaches neither the publisher nor the subscribers after it.
TEST_P(PubsubConformance, ThrowingHandlerDoesNotPoisonOthers) {
    TRUNKLINE_PUBSUB_ROW(29);
    auto bus = open();
    for (const auto form : {handler_form::reference, handler_form::value, handler_form::event}) {
        const auto before = bus->record();
        const auto thrower =
            bus->record({.judge = [](const event&) { return verdict::throws; }, .form = form});
        const auto after = bus->record();
        EXPECT_EQ(bus->try_publish({.type = "a"}), error_code{});
        EXPECT_EQ(bus->try_publish({.type = "b"}), error_code{});
        bus->run_until([&] { return before.size() == 2 && after.size() == 2; });
        bus->run_until([&] { return thrower.size() >= 2; });
        EXPECT_THAT(after.types(), ElementsAre("a", "b"));
    }
    bus->flush();
    EXPECT_GE(bus->bus().counters().handler_failures, 6U);
    EXPECT_GE(bus->log().count(log_level::warn) + bus->log().count(log_level::error), 1U);
}

// Row 31: the reference gives these names a meaning of its own; here they are topics.
TEST_P(PubsubConformance, NoTopicNameIsSpecial) {
    TRUNKLINE_PUBSUB_ROW(31);
    auto bus = open();
    auto& target = bus->bus();
    const std::vector<std::string> names{
        "error",
        "newListener",
        "removeListener",
        "__proto__",
        "constructor",
        "*",
        "#",
        " ",
        "é/日本",
        std::string("a\0b", 3)
    };
    for (const auto& name : names) {
        // Only in-process names can be used as they are; elsewhere others might use them as well.
        const auto topic = features().cross_instance ? bus->topic(name) : name;
        EXPECT_EQ(target.publish(topic, event_draft{"unheard", "r"}), error_code{}) << name;
        const recorder seen, other;
        seen.on_change([&] { bus->loop().wake(); });
        auto feed = target.subscribe(topic, seen.handler());
        auto second = target.subscribe(topic, other.handler());
        second = subscription{};
        ASSERT_FALSE(bus->await([&](auto done) { feed.ready(std::move(done)); }));
        ASSERT_FALSE(bus->await([&](auto done) {
            target.async_publish(topic, event_draft{"x", "r"}, std::move(done));
        }));
        bus->run_until([&] { return seen.size() >= 1; });
        bus->flush();
        EXPECT_THAT(seen.types(), ElementsAre("x")) << name;
        EXPECT_THAT(other.types(), IsEmpty()) << name;
    }
}

TEST_P(PubsubConformance, WrongArgumentsAreRefused) {
    auto bus = open();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    const auto seen = bus->record();
    const auto publish = [&](std::string_view to, event_draft draft) {
        const auto at_once = target.publish(to, draft.clone());
        const auto later = bus->await([&](auto done) {
            target.async_publish(to, std::move(draft), std::move(done));
        });
        EXPECT_EQ(at_once, later);
        return at_once;
    };
    EXPECT_EQ(publish("", event_draft{"x", "r"}), errc::invalid_argument);
    EXPECT_EQ(publish("\xff", event_draft{"x", "r"}), errc::invalid_argument);
    EXPECT_EQ(publish("\xed\xa0\x80", event_draft{"x", "r"}), errc::invalid_argument);
    EXPECT_EQ(publish(std::string(65'536, 'a'), event_draft{"x", "r"}), errc::invalid_argument);
    EXPECT_EQ(publish(topic, event_draft{"", "r"}), errc::invalid_argument);
    EXPECT_EQ(publish(topic, event_draft{"\xff", "r"}), errc::invalid_argument);
    EXPECT_EQ(publish(topic, event_draft{"x", ""}), errc::invalid_argument);
    EXPECT_EQ(publish(topic, event_draft{"x", "\xc0\x80"}), errc::invalid_argument);
    EXPECT_FALSE(is_transient(errc::invalid_argument));
    EXPECT_GE(bus->log().count(log_level::warn), 1U) << bus->log().text();
    bus->quiesce();
    EXPECT_THAT(seen.types(), IsEmpty());
}

TEST_P(PubsubConformance, WrongSubscriptionsAreRefused) {
    auto bus = open();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    const recorder seen;
    const auto refuses = [&](std::string_view to, const subscribe_options& options = {}) {
        EXPECT_THROW((void)target.subscribe(to, seen.handler(), options), std::invalid_argument);
        EXPECT_THROW(
            (void)target.subscribe_with_replay(to, seen.handler(), options), std::invalid_argument
        );
        EXPECT_THROW(
            (void)target.subscribe_from_offset(to, 3, seen.handler(), options),
            std::invalid_argument
        );
    };
    refuses("");
    refuses("\xff");
    refuses(std::string(65'536, 'a'));
    refuses(topic, subscribe_options{}.group(""));
    refuses(topic, subscribe_options{}.group("\xff"));
    refuses(topic, subscribe_options{}.in_flight(0));
    refuses(topic, subscribe_options{}.queue_limit(0));
    refuses(topic, subscribe_options{}.queue_bytes(0));
    refuses(topic, subscribe_options{}.batch(batch_options{}.max_size(0)));
    refuses(topic, subscribe_options{}.batch(batch_options{}.max_buffer_size(0)));
    refuses(topic, subscribe_options{}.batch(batch_options{}.max_wait(milliseconds{-1})));
    refuses(topic, subscribe_options{}.batch(batch_options{}.min_interval(milliseconds{-1})));
    bus->publish("x");
    bus->quiesce();
    EXPECT_THAT(seen.types(), IsEmpty());
}

TEST_P(PubsubConformance, LongestTopicWorks) {
    auto bus = open();
    auto& target = bus->bus();
    const auto ending = bus->topic("");
    const auto topic = std::string(pubsub::topic_bytes_max - ending.size(), 'a') + ending;
    const recorder seen;
    seen.on_change([&] { bus->loop().wake(); });
    auto feed = target.subscribe(topic, seen.handler());
    ASSERT_FALSE(bus->await([&](auto done) { feed.ready(std::move(done)); }));
    EXPECT_FALSE(target.publish(topic, event_draft{"x", "r"}));
    bus->run_until([&] { return seen.size() == 1; });
}

TEST_P(PubsubConformance, InlineHandlersRunBeforePublishReturns) {
    TRUNKLINE_REQUIRES(inline_delivery);
    auto bus = open();
    auto& target = bus->bus();
    std::thread::id thread;
    const auto seen = bus->record({.judge = [&](const event&) {
        thread = std::this_thread::get_id();
        return verdict::ack;
    }});
    const auto member = bus->record("g");
    EXPECT_FALSE(target.publish(bus->topic(), event_draft{"x", "r"}));
    EXPECT_EQ(seen.size(), 1U);
    EXPECT_EQ(member.size(), 1U);
    EXPECT_EQ(thread, std::this_thread::get_id());
}

TEST_P(PubsubConformance, QueuedHandlersNeverRunInsidePublish) {
    TRUNKLINE_REQUIRES_OFF(inline_delivery);
    auto bus = open();
    auto& target = bus->bus();
    static thread_local bool publishing = false;
    std::atomic<int> inside{0};
    const auto seen = bus->record({.judge = [&](const event&) {
        if (publishing) inside.fetch_add(1);
        return verdict::ack;
    }});
    publishing = true;
    EXPECT_FALSE(target.publish(bus->topic(), event_draft{"x", "r"}));
    publishing = false;
    bus->run_until([&] { return seen.size() == 1; });
    EXPECT_EQ(inside.load(), 0);
}

TEST_P(PubsubConformance, CountersCountWhatHappened) {
    auto bus = open();
    const auto a = bus->record(), b = bus->record();
    bus->publish_all({"1", "2", "3"});
    bus->publish({.type = "4", .topic = "nobody is here"});
    (void)bus->bus().publish("", event_draft{"x", "r"});
    bus->run_until([&] { return a.size() == 3 && b.size() == 3; });
    bus->flush();
    const auto counters = bus->bus().counters();
    EXPECT_EQ(counters.published, 4U);
    EXPECT_EQ(counters.delivered, 6U);
    EXPECT_EQ(counters.unheard, features().counts_unheard ? 1U : 0U);
    EXPECT_EQ(counters.refused, 1U);
    EXPECT_EQ(counters.handler_failures, 0U);
    EXPECT_EQ(counters.dropped, 0U);
}

TEST_P(PubsubConformance, TraitsAgreeWithTheFeatures) {
    auto bus = open();
    const auto traits = bus->bus().traits();
    EXPECT_FALSE(traits.name.empty());
    EXPECT_TRUE(traits.pull || traits.push);
    EXPECT_EQ(traits.native_batching, features().native_batching);
    EXPECT_EQ(traits.offsets, features().offsets);
    EXPECT_EQ(traits.redelivers_groups, features().redelivers_to_group);
    EXPECT_EQ(traits.cross_process, features().cross_instance);
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
