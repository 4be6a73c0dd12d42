// What only the in-process backend promises; the rest is in the conformance suites.
#include <trunkline/event_emitter_pubsub.hpp>
#include <trunkline/on_executor.hpp>
#include <trunkline/testkit/captured_log.hpp>
#include <trunkline/testkit/manual_clock.hpp>
#include <trunkline/testkit/recorder.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <latch>
#include <limits>
#include <stdexcept>
#include <string>
#include <thread>

namespace trunkline {
namespace {

namespace asio = boost::asio;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testkit::recorder;
using testkit::verdict;

class event_emitter_test : public ::testing::Test {
protected:
    event_emitter_options options(dispatch_mode mode = dispatch_mode::inlined) {
        return event_emitter_options{}
            .dispatch(mode)
            .executor(loop_.get_executor())
            .logger(logger::none())
            .clock(time_);
    }
    static event_draft draft(std::string_view type = "e") { return {type, "r"}; }
    void poll() {
        loop_.restart();
        loop_.poll();
    }
    // The result of an operation that `start(token)` begins, once the loop has run dry.
    template <class Start>
    std::optional<error_code> result_of(Start&& start) {
        std::optional<error_code> result;
        start([&](error_code ec) { result = ec; });
        poll();
        return result;
    }

    asio::io_context loop_;
    std::shared_ptr<testkit::manual_clock> time_ = std::make_shared<testkit::manual_clock>();
    recorder seen_;
};
using EventEmitter = event_emitter_test;

TEST_F(EventEmitter, NestedPublishesUseConstantStack) {
    event_emitter_pubsub bus(options());
    int left = 100'000;
    const auto s = bus.subscribe("t", [&](const event&) {
        if (--left > 0) EXPECT_FALSE(bus.publish("t", draft()));
    });
    bus.publish("t", draft());
    poll();
    EXPECT_EQ(left, 0);
}

// A handler that publishes to its own topic for ever must not keep the first publisher.
TEST_F(EventEmitter, AnEndlessTurnIsHandedToTheExecutor) {
    event_emitter_pubsub bus(options());
    int calls = 0;
    auto s = bus.subscribe("t", [&](const event&) {
        ++calls;
        bus.publish("t", draft());
    });
    bus.publish("t", draft());
    EXPECT_GE(calls, 1024);
    EXPECT_LT(calls, 2048);
    s.stop();
    poll();
}

TEST_F(EventEmitter, PendingLimitRefusesWithQueueFull) {
    event_emitter_pubsub bus(options().pending_limit(3));
    std::vector<error_code> results;
    const auto s = bus.subscribe("t", [&](const event& e) {
        if (e.type() != "first") return;
        for (int i = 0; i < 5; ++i) results.push_back(bus.publish("t", draft()));
    });
    bus.publish("t", draft("first"));
    EXPECT_THAT(
        results,
        ElementsAre(error_code{}, error_code{}, error_code{}, errc::queue_full, errc::queue_full)
    );
}

TEST_F(EventEmitter, TopicsWithoutSubscribersLeaveNothingAndAreCounted) {
    event_emitter_pubsub bus(options());
    for (int i = 0; i < 10; ++i) EXPECT_FALSE(bus.publish("run." + std::to_string(i), draft()));
    EXPECT_EQ(bus.counters().published, 10U);
    EXPECT_EQ(bus.counters().unheard, 10U);
}

TEST_F(EventEmitter, BadArgumentsAreNamed) {
    testkit::captured_log log;
    event_emitter_pubsub bus(options().logger(log.logger()));
    EXPECT_EQ(bus.publish("", draft()), errc::invalid_argument);
    EXPECT_EQ(bus.publish(std::string(65536, 'x'), draft()), errc::invalid_argument);
    EXPECT_FALSE(bus.publish(std::string(65535, 'x'), draft()));
    EXPECT_EQ(bus.publish("\xff", draft()), errc::invalid_argument);
    EXPECT_EQ(bus.publish("t", draft("")), errc::invalid_argument);
    EXPECT_EQ(bus.publish("t", draft("\xc3")), errc::invalid_argument);
    EXPECT_EQ(bus.publish("t", event_draft("e", "")), errc::invalid_argument);
    EXPECT_EQ(bus.publish("t", event_draft("e", "\xc3")), errc::invalid_argument);
    EXPECT_EQ(bus.counters().refused, 7U);
    const auto nothing = [](const event&) {};
    const auto refused = [&](std::string_view topic, const subscribe_options& how) {
        try {
            (void)bus.subscribe(topic, nothing, how);
            return std::string("accepted");
        } catch (const std::invalid_argument& e) {
            return std::string(e.what());
        }
    };
    using o = subscribe_options;
    EXPECT_THAT(refused("", {}), HasSubstr("topic is empty"));
    EXPECT_THAT(refused("t", o{}.group("")), HasSubstr("group is empty"));
    EXPECT_THAT(refused("t", o{}.group("\xff")), HasSubstr("group is not UTF-8"));
    EXPECT_THAT(refused("t", o{}.in_flight(0)), HasSubstr("in_flight"));
    EXPECT_THAT(refused("t", o{}.queue_limit(0)), HasSubstr("queue_limit"));
    EXPECT_THAT(refused("t", o{}.queue_bytes(0)), HasSubstr("queue_bytes"));
    EXPECT_THAT(refused("t", o{}.batch(batch_options{}.max_size(0))), HasSubstr("max_size"));
    EXPECT_THAT(
        refused("t", o{}.batch(batch_options{}.max_buffer_size(0))), HasSubstr("max_buffer_size")
    );
    EXPECT_THROW(event_emitter_pubsub(options().pending_limit(0)), std::invalid_argument);
}

TEST_F(EventEmitter, IdentityIsKeptOnRequestOnly) {
    event_emitter_pubsub bus(options());
    const auto s = bus.subscribe("t", seen_.handler());
    const auto given = wall_time{std::chrono::milliseconds{5}};
    const auto make = [&] { return draft().id(event_id::from_text("mine")).created_at(given); };
    bus.publish("t", make());
    bus.publish("t", make(), publish_options{}.keep_identity());
    EXPECT_NE(seen_.at(0).id().text(), "mine");
    EXPECT_EQ(seen_.at(0).created_at(), time_->wall());
    EXPECT_EQ(seen_.at(1).id().text(), "mine");
    EXPECT_EQ(seen_.at(1).created_at(), given);
}

TEST_F(EventEmitter, IdSourceIsUsed) {
    event_emitter_pubsub bus(options().id_source([] { return event_id::from_text("seven"); }));
    const auto s = bus.subscribe("t", seen_.handler());
    bus.publish("t", draft());
    EXPECT_EQ(seen_.at(0).id().text(), "seven");
}

TEST_F(EventEmitter, BlockingInsideAHandlerIsRefused) {
    event_emitter_pubsub bus(options());
    std::vector<error_code> results;
    const auto s = bus.subscribe("t", [&](const event&) {
        results.push_back(bus.publish_blocking("t", draft()));
        results.push_back(bus.flush_blocking());
        results.push_back(bus.close_blocking());
    });
    bus.publish("t", draft());
    EXPECT_THAT(
        results, ElementsAre(errc::would_deadlock, errc::would_deadlock, errc::would_deadlock)
    );
}

TEST_F(EventEmitter, BlockingOnTheBusThreadIsRefused) {
    event_emitter_pubsub bus(event_emitter_options{}.logger(logger::none()));
    std::promise<error_code> result;
    asio::post(bus.executor(), [&] { result.set_value(bus.flush_blocking()); });
    EXPECT_EQ(result.get_future().get(), errc::would_deadlock);
}

// --- bounded queues ------------------------------------------------------------------------------

TEST_F(EventEmitter, AFullQueueRefusesPublishWhole) {
    event_emitter_pubsub bus(options(dispatch_mode::queued));
    const auto s = bus.subscribe("t", seen_.handler(), subscribe_options{}.queue_limit(2));
    recorder other;
    const auto o = bus.subscribe("t", other.handler());
    EXPECT_FALSE(bus.publish("t", draft()));
    EXPECT_FALSE(bus.publish("t", draft()));
    EXPECT_EQ(bus.publish("t", draft()), errc::queue_full);
    poll();
    EXPECT_EQ(seen_.size(), 2U);
    EXPECT_EQ(other.size(), 2U);
    EXPECT_FALSE(bus.publish("t", draft()));
}

TEST_F(EventEmitter, BytesCountToo) {
    event_emitter_pubsub bus(options(dispatch_mode::queued));
    const auto s = bus.subscribe("t", seen_.handler(), subscribe_options{}.queue_bytes(1000));
    const auto big = [] {
        return event_draft("e", "r", payload::from_json_text(std::string(600, ' ') + "1"));
    };
    EXPECT_FALSE(bus.publish("t", big()));
    EXPECT_EQ(bus.publish("t", big()), errc::queue_full);
    poll();
    const auto huge = event_draft("e", "r", payload::from_json_text(std::string(5000, ' ') + "1"));
    EXPECT_FALSE(bus.publish("t", huge.clone())) << "one event always passes alone";
}

TEST_F(EventEmitter, AnAwaitedPublishWaitsForRoom) {
    event_emitter_pubsub bus(options(dispatch_mode::queued));
    const auto s = bus.subscribe("t", seen_.handler(), subscribe_options{}.queue_limit(1));
    std::vector<error_code> results;
    for (int i = 0; i < 4; ++i)
        bus.async_publish("t", draft(), [&](error_code ec) { results.push_back(ec); });
    EXPECT_TRUE(results.empty());
    poll();
    // One fits, as many again may wait, the rest is refused.
    EXPECT_THAT(
        results,
        ::testing::UnorderedElementsAre(
            error_code{}, error_code{}, errc::queue_full, errc::queue_full
        )
    );
    EXPECT_EQ(seen_.size(), 2U);
}

TEST_F(EventEmitter, AWaitForRoomCanBeCancelledAndTheEventStaysAccepted) {
    event_emitter_pubsub bus(options(dispatch_mode::queued));
    const auto s = bus.subscribe("t", seen_.handler(), subscribe_options{}.queue_limit(1));
    bus.publish("t", draft("a"));
    asio::cancellation_signal signal;
    std::vector<error_code> results;
    bus.async_publish(
        "t",
        draft("b"),
        asio::bind_cancellation_slot(
            signal.slot(),
            asio::bind_executor(loop_.get_executor(), [&](error_code ec) { results.push_back(ec); })
        )
    );
    signal.emit(asio::cancellation_type::terminal);
    poll();
    EXPECT_THAT(results, ElementsAre(asio::error::operation_aborted));
    EXPECT_THAT(seen_.types(), ElementsAre("a", "b"));
}

TEST_F(EventEmitter, DropOldestKeepsTheNewest) {
    event_emitter_pubsub bus(options(dispatch_mode::queued));
    const auto s = bus.subscribe(
        "t", seen_.handler(), subscribe_options{}.queue_limit(2).on_full(queue_policy::drop_oldest)
    );
    for (const auto* type : {"a", "b", "c", "d"}) EXPECT_FALSE(bus.publish("t", draft(type)));
    poll();
    EXPECT_THAT(seen_.types(), ElementsAre("c", "d"));
    EXPECT_EQ(bus.counters().dropped, 2U);
}

TEST_F(EventEmitter, DropNewestKeepsTheOldest) {
    event_emitter_pubsub bus(options(dispatch_mode::queued));
    const auto s = bus.subscribe(
        "t", seen_.handler(), subscribe_options{}.queue_limit(2).on_full(queue_policy::drop_newest)
    );
    for (const auto* type : {"a", "b", "c"}) EXPECT_FALSE(bus.publish("t", draft(type)));
    poll();
    EXPECT_THAT(seen_.types(), ElementsAre("a", "b"));
}

TEST_F(EventEmitter, FailRefusesAwaitedPublishesToo) {
    event_emitter_pubsub bus(options(dispatch_mode::queued));
    const auto s = bus.subscribe(
        "t", seen_.handler(), subscribe_options{}.queue_limit(1).on_full(queue_policy::fail)
    );
    bus.publish("t", draft());
    EXPECT_EQ(
        result_of([&](auto done) { bus.async_publish("t", draft(), done); }), errc::queue_full
    );
}

TEST_F(EventEmitter, AwaitingRoomInOnesOwnFullQueueIsADeadlock) {
    event_emitter_pubsub bus(options(dispatch_mode::queued));
    std::vector<error_code> results;
    const auto s = bus.subscribe(
        "t",
        [&](const event& e) {
            if (e.type() != "first") return;
            for (int i = 0; i < 2; ++i)
                bus.async_publish("t", draft(), [&](error_code ec) { results.push_back(ec); });
        },
        subscribe_options{}.queue_limit(1)
    );
    bus.publish("t", draft("first"));
    poll();
    EXPECT_THAT(results, ElementsAre(error_code{}, errc::would_deadlock));
}

// --- deliveries that outlive their handler -------------------------------------------------------

TEST_F(EventEmitter, InFlightLimitsUnsettledDeliveriesInBothModes) {
    for (const auto mode : {dispatch_mode::inlined, dispatch_mode::queued}) {
        event_emitter_pubsub bus(options(mode));
        recorder held(verdict::hold);
        const auto s = bus.subscribe("t", held.handler(), subscribe_options{}.in_flight(2));
        for (int i = 0; i < 5; ++i) bus.publish("t", draft());
        poll();
        EXPECT_EQ(held.size(), 2U);
        {
            const auto gone = held.take_held();
        }  // destroyed unsettled: a place is free again
        poll();
        EXPECT_EQ(held.size(), 4U);
        held.settle_held(verdict::ack);
        poll();
        EXPECT_EQ(held.size(), 5U);
        held.settle_held(verdict::ack);
    }
}

TEST_F(EventEmitter, ADeliveryMayOutliveItsBus) {
    recorder held(verdict::hold);
    {
        event_emitter_pubsub bus(options());
        const auto s = bus.subscribe("t", held.handler(), subscribe_options{}.group("g"));
        bus.publish("t", draft());
    }
    auto deliveries = held.take_held();
    ASSERT_EQ(deliveries.size(), 1U);
    EXPECT_EQ(deliveries[0].event().type(), "e");
    std::move(deliveries[0]).nack();
    poll();
}

TEST_F(EventEmitter, ASubscriptionMayOutliveItsBus) {
    subscription s;
    {
        event_emitter_pubsub bus(options());
        s = bus.subscribe("t", seen_.handler());
    }
    EXPECT_FALSE(s.active());
    s.stop();
}

TEST_F(EventEmitter, CoroutinesStartInOrderAndAreLimited) {
    event_emitter_pubsub bus(options(dispatch_mode::queued));
    std::vector<std::string> started;
    std::vector<std::shared_ptr<asio::steady_timer>> gates;
    const auto s = bus.subscribe(
        "t",
        on_executor(
            loop_.get_executor(),
            [&](delivery& d) -> asio::awaitable<void> {
                started.emplace_back(d.event().type());
                auto gate = std::make_shared<asio::steady_timer>(
                    loop_, asio::steady_timer::time_point::max()
                );
                gates.push_back(gate);
                boost::system::error_code ec;
                co_await gate->async_wait(asio::redirect_error(asio::use_awaitable, ec));
                std::move(d).ack();
            }
        ),
        subscribe_options{}.in_flight(2)
    );
    for (const auto* type : {"a", "b", "c"}) bus.publish("t", draft(type));
    poll();
    EXPECT_THAT(started, ElementsAre("a", "b"));
    gates[0]->cancel();
    poll();
    EXPECT_THAT(started, ElementsAre("a", "b", "c"));
    for (const auto& gate : gates) gate->cancel();
    poll();
}

TEST_F(EventEmitter, CloseWaitsForASuspendedCoroutine) {
    event_emitter_pubsub bus(options());
    asio::steady_timer gate(loop_, asio::steady_timer::time_point::max());
    auto s = bus.subscribe(
        "t",
        on_executor(
            loop_.get_executor(),
            [&](delivery& d) -> asio::awaitable<void> {
                boost::system::error_code ec;
                co_await gate.async_wait(asio::redirect_error(asio::use_awaitable, ec));
                std::move(d).ack();
            }
        )
    );
    bus.publish("t", draft());
    poll();
    bool closed = false;
    s.close([&](error_code) { closed = true; });
    poll();
    EXPECT_FALSE(closed);
    gate.cancel();
    poll();
    EXPECT_TRUE(closed);
}

TEST_F(EventEmitter, CoroutinesInABatchAreAwaitedOneByOne) {
    event_emitter_pubsub bus(options());
    int running = 0;
    int most = 0;
    int done = 0;
    const auto s = bus.subscribe(
        "t",
        on_executor(
            loop_.get_executor(),
            [&](delivery&) -> asio::awaitable<void> {
                most = std::max(most, ++running);
                co_await asio::post(loop_, asio::use_awaitable);
                --running;
                ++done;
            }
        ),
        subscribe_options{}.batch(batch_options{}.max_size(3))
    );
    for (int i = 0; i < 3; ++i) bus.publish("t", draft());
    poll();
    EXPECT_EQ(done, 3);
    EXPECT_EQ(most, 1);
}

// --- ends ----------------------------------------------------------------------------------------

TEST_F(EventEmitter, DestroyingASubscriptionWaitsForItsHandlerElsewhere) {
    event_emitter_pubsub bus(event_emitter_options{}.dispatch(dispatch_mode::queued));
    std::latch inside(1);
    std::promise<void> go;
    std::atomic<bool> ended{false};
    auto s = bus.subscribe("t", [&, f = go.get_future().share()](const event&) {
        inside.count_down();
        f.wait();
        ended = true;
    });
    bus.publish("t", draft());
    inside.wait();
    std::thread opener([&] { go.set_value(); });
    s = {};
    EXPECT_TRUE(ended);
    opener.join();
}

TEST_F(EventEmitter, AHandlerMayDestroyItsOwnSubscription) {
    event_emitter_pubsub bus(options());
    subscription s;
    int calls = 0;
    s = bus.subscribe("t", [&](const event&) {
        ++calls;
        s = {};
    });
    bus.publish("t", draft());
    bus.publish("t", draft());
    EXPECT_EQ(calls, 1);
}

TEST_F(EventEmitter, AHandlerMayDestroyTheBus) {
    auto bus = std::make_unique<event_emitter_pubsub>(
        event_emitter_options{}.dispatch(dispatch_mode::queued)
    );
    std::promise<void> gone;
    const auto s = bus->subscribe("t", [&](const event&) {
        bus.reset();
        gone.set_value();
    });
    bus->publish("t", draft());
    gone.get_future().get();
}

TEST_F(EventEmitter, CloseFromInsideAHandlerCompletesAfterIt) {
    event_emitter_pubsub bus(options(dispatch_mode::queued));
    std::vector<std::string> order;
    const auto s = bus.subscribe("t", [&](const event&) {
        bus.async_close([&](error_code) { order.emplace_back("closed"); });
        order.emplace_back("handler ends");
    });
    bus.publish("t", draft());
    poll();
    EXPECT_THAT(order, ElementsAre("handler ends", "closed"));
}

TEST_F(EventEmitter, CloseCancelsScheduledRedeliveries) {
    event_emitter_pubsub bus(options());
    recorder failing(verdict::nack);
    const auto s = bus.subscribe("t", failing.handler(), subscribe_options{}.group("g"));
    bus.publish("t", draft());
    EXPECT_EQ(result_of([&](auto done) { bus.async_close(done); }), error_code{});
    const auto again = bus.subscribe("t", seen_.handler(), subscribe_options{}.group("g"));
    poll();
    EXPECT_EQ(failing.size(), 1U);
    EXPECT_TRUE(seen_.empty());
}

TEST_F(EventEmitter, CloseFreesLeases) {
    event_emitter_pubsub bus(options());
    bool acquired = false;
    const auto take = [&](std::string owner) {
        bus.leases()->async_acquire(
            "k",
            owner,
            std::chrono::hours{1},
            [&](error_code, lease_answer a) { acquired = a.acquired; }
        );
        poll();
    };
    take("one");
    take("two");
    EXPECT_FALSE(acquired);
    result_of([&](auto done) { bus.async_close(done); });
    take("two");
    EXPECT_TRUE(acquired);
}

TEST_F(EventEmitter, ALeavingMemberGivesWhatItDidNotStartToOthers) {
    event_emitter_pubsub bus(options(dispatch_mode::queued));
    recorder other;
    auto leaving = bus.subscribe("t", seen_.handler(), subscribe_options{}.group("g"));
    const auto staying = bus.subscribe("t", other.handler(), subscribe_options{}.group("g"));
    for (int i = 0; i < 10; ++i) bus.publish("t", draft());
    leaving = {};
    poll();
    EXPECT_TRUE(seen_.empty());
    EXPECT_EQ(other.size(), 10U);
    EXPECT_THAT(other.attempts(), ::testing::Each(1U));
}

TEST_F(EventEmitter, FlushCountsRedeliveries) {
    event_emitter_pubsub bus(event_emitter_options{}.logger(logger::none()));
    for (int round = 0; round < 200; ++round) {
        recorder r([](const event& e) {
            return e.delivery_attempt() < 4 ? verdict::nack : verdict::ack;
        });
        const auto s = bus.subscribe("t", r.handler(), subscribe_options{}.group("g"));
        bus.publish("t", draft());
        ASSERT_FALSE(bus.flush_blocking());
        ASSERT_THAT(r.attempts(), ElementsAre(1, 2, 3, 4));
    }
}

TEST_F(EventEmitter, FuturesAndCoroutinesCanAwaitAPublish) {
    event_emitter_pubsub bus;
    EXPECT_NO_THROW(bus.async_publish("t", draft(), asio::use_future).get());
    EXPECT_THROW(
        bus.async_publish("", draft(), asio::use_future).get(), boost::system::system_error
    );
    // A lazy token starts later: the topic must not dangle.
    auto lazy = [&bus] {
        const std::string topic = "a topic that is longer than a small string";
        return bus.async_publish(topic, draft(), asio::deferred);
    }();
    EXPECT_NO_THROW(std::move(lazy)(asio::use_future).get());
}

// --- user code in the wrong mood -----------------------------------------------------------------

TEST_F(EventEmitter, AThrowingPredicateIsCountedAndTheTopicGoesOn) {
    event_emitter_pubsub bus(options());
    const auto batched = bus.subscribe(
        "t",
        seen_.handler(),
        subscribe_options{}.batch(batch_options{}.max_size(2).is_immediate(
            [](const event&) -> bool { throw std::runtime_error("x"); }
        ))
    );
    recorder other;
    const auto s = bus.subscribe("t", other.handler());
    EXPECT_FALSE(bus.publish("t", draft()));
    EXPECT_FALSE(bus.publish("t", draft()));
    poll();
    EXPECT_EQ(other.size(), 2U);
    EXPECT_EQ(seen_.size(), 2U);
    EXPECT_EQ(bus.counters().handler_failures, 2U);
}

TEST_F(EventEmitter, APredicateMayStopItsSubscription) {
    event_emitter_pubsub bus(options());
    subscription s;
    s = bus.subscribe(
        "t",
        seen_.handler(),
        subscribe_options{}.batch(batch_options{}.max_size(1).is_immediate([&](const event&) {
            s.stop();
            return true;
        }))
    );
    bus.publish("t", draft());
    poll();
    EXPECT_FALSE(s.active());
}

TEST_F(EventEmitter, ASinkMayThrowOrUseTheBus) {
    event_emitter_pubsub* target = nullptr;
    const logger noisy(log_level::debug, [&](const log_record&) {
        target->publish("", draft());  // would log again
        throw std::runtime_error("x");
    });
    event_emitter_pubsub bus(options().logger(noisy));
    target = &bus;
    const auto s = bus.subscribe("t", [](const event&) { throw std::runtime_error("y"); });
    EXPECT_FALSE(bus.publish("t", draft()));
    EXPECT_EQ(bus.counters().handler_failures, 1U);
}

TEST_F(EventEmitter, TheLongestTimesAndLargestLimitsDoNotOverflow) {
    constexpr auto longest = std::chrono::milliseconds::max();
    event_emitter_pubsub bus(options());
    const auto s = bus.subscribe(
        "t",
        seen_.handler(),
        subscribe_options{}
            .queue_limit(std::numeric_limits<std::size_t>::max())
            .batch(batch_options{}.max_size(2).max_wait(longest).min_interval(longest))
    );
    for (int i = 0; i < 300; ++i) ASSERT_FALSE(bus.publish("t", draft()));
    poll();
    EXPECT_GE(seen_.size(), 2U);
}

// --- leaving -------------------------------------------------------------------------------------

TEST_F(EventEmitter, StopRunsNobodysHandler) {
    event_emitter_pubsub bus(options());
    auto batched = bus.subscribe(
        "t", seen_.handler(), subscribe_options{}.group("g").batch(batch_options{}.max_size(100))
    );
    bus.publish("t", draft());
    recorder other;
    const auto o = bus.subscribe("t", other.handler(), subscribe_options{}.group("g"));
    batched.stop();
    EXPECT_TRUE(other.empty());
    poll();
    EXPECT_EQ(other.size(), 1U);
}

TEST_F(EventEmitter, FlushWaitsForWhatALeavingMemberGivesBack) {
    event_emitter_pubsub bus(options(dispatch_mode::queued));
    auto leaving = bus.subscribe("t", seen_.handler(), subscribe_options{}.group("g"));
    recorder other;
    const auto o = bus.subscribe("t", other.handler(), subscribe_options{}.group("g"));
    bus.publish("t", draft());
    leaving.stop();
    std::size_t handled_at_flush = 0;
    bus.async_flush([&](error_code) { handled_at_flush = other.size(); });
    poll();
    EXPECT_EQ(handled_at_flush, 1U);
}

TEST_F(EventEmitter, WaitingForRoomLooksAtFullQueuesOnly) {
    event_emitter_pubsub bus(options(dispatch_mode::queued));
    const auto full = bus.subscribe("t", seen_.handler(), subscribe_options{}.queue_limit(1));
    recorder never;
    const auto patient = bus.subscribe(
        "t", never.handler(), subscribe_options{}.batch(batch_options{}.max_size(100))
    );
    bus.publish("t", draft());
    EXPECT_EQ(result_of([&](auto done) { bus.async_publish("t", draft(), done); }), error_code{});
    EXPECT_TRUE(never.empty());
}

TEST_F(EventEmitter, ACoroutineThatThrowsAfterItSettledIsCounted) {
    event_emitter_pubsub bus(options());
    const auto s = bus.subscribe(
        "t",
        on_executor(
            loop_.get_executor(),
            [](delivery& d) -> asio::awaitable<void> {
                std::move(d).ack();
                throw std::runtime_error("x");
                co_return;
            }
        )
    );
    bus.publish("t", draft());
    poll();
    EXPECT_EQ(bus.counters().handler_failures, 1U);
}

TEST_F(EventEmitter, RefusedPublishesAreNotPublished) {
    event_emitter_pubsub bus(options(dispatch_mode::queued));
    const auto s = bus.subscribe("t", seen_.handler(), subscribe_options{}.queue_limit(1));
    bus.publish("t", draft());
    EXPECT_EQ(bus.publish("t", draft()), errc::queue_full);
    EXPECT_EQ(bus.counters().published, 1U);
    EXPECT_EQ(bus.counters().refused, 1U);
}

TEST_F(EventEmitter, ClearingAndTrimmingCheckTheTopic) {
    event_emitter_pubsub bus(options());
    EXPECT_EQ(
        result_of([&](auto done) { bus.async_clear_topic("\xff", done); }), errc::invalid_argument
    );
    EXPECT_EQ(
        result_of([&](auto done) { bus.async_trim_topic("", trim_options("r"), done); }),
        errc::invalid_argument
    );
}

}  // namespace
}  // namespace trunkline
