#include "support.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_future.hpp>

#include <atomic>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

TEST_P(PubsubConformance, FlushWaitsForInFlight) {
    auto bus = open();
    const auto fanout = bus->record();
    const auto member = bus->record("g", at_first(verdict::nack, 2));
    bus->publish_all(numbered("e", 10));
    bus->flush();
    // The two retries that the first run caused are part of what is flushed.
    const auto retries = features().redelivers_to_group ? 2U : 0U;
    EXPECT_EQ(fanout.size(), 10U);
    EXPECT_EQ(member.size(), 10U + retries);
    EXPECT_EQ(bus->bus().counters().redelivered, retries);
}

TEST_P(PubsubConformance, FlushOfAnIdleBusCompletes) {
    auto bus = open();
    bus->flush();
    bus->flush();
    const auto seen = bus->record();
    bus->flush();
    EXPECT_THAT(seen.types(), IsEmpty());
}

TEST_P(PubsubConformance, FlushFollowsNestedPublishes) {
    auto bus = open();
    auto& target = bus->bus();
    const auto second = bus->topic("second");
    const auto first = bus->record({.judge = [&](const event&) {
        EXPECT_FALSE(target.publish(second, event_draft{"nested", "r"}));
        return verdict::ack;
    }});
    const auto last = bus->record({.topic = "second"});
    bus->publish("x");
    bus->flush();
    EXPECT_EQ(first.size(), 1U);
    if (features().inline_delivery) {
        EXPECT_EQ(last.size(), 1U);
    } else {
        // What a handler publishes while the flush runs may be left to the next one.
        bus->flush();
        EXPECT_EQ(last.size(), 1U);
    }
}

// Row 9
TEST_P(PubsubConformance, CloseIsIdempotent) {
    TRUNKLINE_PUBSUB_ROW(9);
    auto bus = open();
    auto seen = bus->record();
    const auto close = [&](auto done) { bus->bus().async_close(std::move(done)); };
    const auto first = bus->begin(close), second = bus->begin(close);
    bus->run_until([&] { return first.done() && second.done(); });
    EXPECT_EQ(first.error(), error_code{});
    EXPECT_EQ(second.error(), error_code{});
    EXPECT_FALSE(seen.subscription().active());
    bus->close();
    bus->close();
    seen.stop();
    EXPECT_EQ(first.calls(), 1);
    EXPECT_EQ(second.calls(), 1);
}

TEST_P(PubsubConformance, NeverUsedBusCloses) {
    auto bus = open();
    (void)bus->bus();
    bus->close();
}

// Row 8
TEST_P(PubsubConformance, UseAfterClose) {
    TRUNKLINE_PUBSUB_ROW(8);
    auto bus = open();
    const auto before = bus->record();
    const auto member = bus->record("g");
    bus->close();
    const auto unheard = bus->bus().counters().unheard;
    if (features().fails_after_close) {
        EXPECT_EQ(bus->try_publish({.type = "x"}), errc::closed);
        EXPECT_EQ(bus->bus().publish(bus->topic(), event_draft{"x", "r"}), errc::closed);
        auto late = bus->record({.wait_ready = false});
        EXPECT_EQ(
            bus->await([&](auto done) { late.subscription().ready(std::move(done)); }), errc::closed
        );
        EXPECT_FALSE(late.subscription().active());
    } else {
        EXPECT_EQ(bus->try_publish({.type = "lost"}), error_code{});
        EXPECT_EQ(bus->bus().counters().unheard, unheard + 1);
        const auto late = bus->record();
        const auto late_member = bus->record("g");
        bus->publish("heard");
        bus->run_until([&] { return late.size() >= 1 && late_member.size() >= 1; });
        bus->flush();
        EXPECT_THAT(late.types(), ElementsAre("heard"));
        EXPECT_THAT(late_member.types(), ElementsAre("heard"));
        bus->close();
        EXPECT_EQ(bus->try_publish({.type = "lost again"}), error_code{});
        bus->flush();
        EXPECT_EQ(late.size(), 1U);
    }
    EXPECT_THAT(before.types(), IsEmpty());
    EXPECT_THAT(member.types(), IsEmpty());
}

TEST_P(PubsubConformance, NoHandlerAfterClose) {
    auto bus = open();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    std::atomic<bool> closed{false};
    std::atomic<int> late{0};
    const auto judge = [&](const event& e) {
        if (closed.load()) late.fetch_add(1);
        return e.delivery_attempt() == 1 ? verdict::nack : verdict::ack;
    };
    auto fanout = bus->record({.judge = judge});
    auto member = bus->record("g", judge);
    bus->in_threads(3, [&](std::size_t i) {
        if (i == 0) {
            for (int n = 0; n < 50; ++n) std::this_thread::yield();
            // What completes on the loop is noted by the handler of the completion itself.
            target.async_close([&](error_code) { closed.store(true); });
            return;
        }
        for (int n = 0; n < 200; ++n) (void)target.publish(topic, event_draft{"x", "r"});
    });
    bus->run_until([&] { return closed.load(); });
    for (int n = 0; n < 10; ++n) (void)target.publish(topic, event_draft{"x", "r"});
    bus->flush();
    EXPECT_EQ(late.load(), 0);
}

TEST_P(PubsubConformance, CloseDuringSubscribe) {
    auto bus = open();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    std::vector<subscription> feeds(40);
    std::vector<recorder> seen(40);
    const auto op = bus->begin([&](auto done) {
        bus->in_threads(2, [&](std::size_t i) {
            if (i == 0) {
                target.async_close(std::move(done));
                return;
            }
            for (std::size_t n = 0; n < feeds.size(); ++n) {
                feeds[n] = target.subscribe(topic, seen[n].handler());
            }
        });
    });
    bus->run_until(op);
    // Whatever the order was: one more close ends all of them.
    bus->close();
    for (const auto& feed : feeds) EXPECT_FALSE(feed.active());
    (void)target.publish(topic, event_draft{"x", "r"});
    bus->flush();
    for (const auto& s : seen) EXPECT_EQ(s.size(), 0U);
}

TEST_P(PubsubConformance, CloseInsideAHandlerEndsAfterIt) {
    auto bus = open();
    auto& target = bus->bus();
    std::atomic<bool> left{false}, closed{false}, too_early{false};
    const auto other = bus->record();
    auto feed = bus->subscribe(default_topic, [&](const event&) {
        target.async_close([&](error_code) {
            if (!left.load()) too_early.store(true);
            closed.store(true);
            bus->loop().wake();
        });
        for (int n = 0; n < 50; ++n) std::this_thread::yield();
        left.store(true);
    });
    EXPECT_FALSE(target.publish(bus->topic(), event_draft{"x", "r"}));
    bus->run_until([&] { return closed.load(); });
    EXPECT_FALSE(too_early.load());
    EXPECT_FALSE(feed.active());
}

TEST_P(PubsubConformance, CloseWaitsForCoroutines) {
    auto bus = open();
    slow_handler slow{.executor = bus->executor(), .door = {}};
    auto door = slow.door;
    const auto started = slow.started, finished = slow.finished;
    auto feed = bus->subscribe(default_topic, on_executor(bus->executor(), slow));
    bus->publish("x");
    bus->run_until([&] { return started->load() == 1; });
    const auto op = bus->begin([&](auto done) { bus->bus().async_close(std::move(done)); });
    // A second close joins the first one, so nothing else can be waited for meanwhile: let the loop
    // run what it has.
    for (int i = 0; i < 20; ++i) {
        EXPECT_FALSE(bus->await([&](auto done) {
            boost::asio::post(bus->executor(), [done = std::move(done)]() mutable {
                done(error_code{});
            });
        }));
    }
    EXPECT_FALSE(op.done());
    door.open();
    bus->run_until(op);
    EXPECT_EQ(finished->load(), 1);
}

// A coroutine that has settled may still use what it captured: its end counts, not the settlement.
TEST_P(PubsubConformance, ClosingWaitsForCoroutinesThatHaveSettled) {
    struct early_handler {
        boost::asio::any_io_executor executor;
        gate door;
        boost::asio::awaitable<void> operator()(delivery& d) {
            std::move(d).ack();
            co_await door.async_wait(executor, boost::asio::use_awaitable);
        }
    };
    auto bus = open();
    early_handler early{.executor = bus->executor(), .door = {}};
    auto door = early.door;
    auto feed = bus->subscribe(default_topic, on_executor(bus->executor(), early));
    bus->publish("x");
    bus->run_until([&] { return door.waiting() == 1; });
    const auto op = bus->begin([&](auto done) { feed.close(std::move(done)); });
    for (int i = 0; i < 20; ++i) {
        EXPECT_FALSE(bus->await([&](auto done) {
            boost::asio::post(bus->executor(), [done = std::move(done)]() mutable {
                done(error_code{});
            });
        }));
    }
    EXPECT_FALSE(op.done());
    door.open();
    bus->run_until(op);
}

TEST_P(PubsubConformance, BlockingInsideAHandlerIsRefused) {
    auto bus = open();
    auto& target = bus->bus();
    const auto topic = bus->topic("other");
    std::atomic<int> refused{0};
    const auto seen = bus->record({.judge = [&](const event&) {
        if (target.publish_blocking(topic, event_draft{"x", "r"}) == errc::would_deadlock)
            refused.fetch_add(1);
        if (target.flush_blocking() == errc::would_deadlock) refused.fetch_add(1);
        if (target.close_blocking() == errc::would_deadlock) refused.fetch_add(1);
        return verdict::ack;
    }});
    bus->publish("x");
    bus->run_until([&] { return seen.size() == 1; });
    EXPECT_EQ(refused.load(), 3);
    EXPECT_FALSE(is_transient(errc::would_deadlock));
    bus->publish("y");
    bus->run_until([&] { return seen.size() == 2; });
}

TEST_P(PubsubConformance, BlockingCallsWorkOnOtherThreads) {
    auto bus = open();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    const auto seen = bus->record();
    bus->in_threads(1, [&](std::size_t) {
        EXPECT_EQ(target.publish_blocking(topic, event_draft{"x", "r"}), error_code{});
        EXPECT_EQ(target.publish_blocking("", event_draft{"x", "r"}), errc::invalid_argument);
        EXPECT_EQ(target.flush_blocking(), error_code{});
        EXPECT_EQ(seen.size(), 1U);
        EXPECT_EQ(target.close_blocking(), error_code{});
    });
    (void)target.publish(topic, event_draft{"y", "r"});
    bus->flush();
    EXPECT_EQ(seen.size(), 1U);
}

// A completion never runs inside the call that starts the operation.
TEST_P(PubsubConformance, CompletionsArePosted) {
    auto bus = open();
    auto& target = bus->bus();
    static thread_local bool starting = false;
    std::atomic<int> inside{0}, done{0};
    const auto seen = bus->record();
    const auto note = [&](error_code, auto...) {
        if (starting) inside.fetch_add(1);
        done.fetch_add(1);
        bus->loop().wake();
    };
    starting = true;
    target.async_publish(bus->topic(), event_draft{"x", "r"}, note);
    target.async_publish("", event_draft{"x", "r"}, note);
    target.async_flush(note);
    target.async_history(bus->topic(), 0, 0, note);
    target.async_clear_topic(bus->topic(), note);
    target.async_trim_topic(bus->topic(), trim_options{"r"}, note);
    auto feed = target.subscribe(bus->topic(), recorder{}.handler());
    feed.ready(note);
    feed.close(note);
    starting = false;
    bus->run_until([&] { return done.load() == 8; });
    EXPECT_EQ(inside.load(), 0);
}

TEST_P(PubsubConformance, CompletionsRunOnTheTokensExecutor) {
    auto bus = open();
    auto& target = bus->bus();
    auto strand = boost::asio::make_strand(bus->executor());
    std::atomic<int> right{0}, done{0};
    const auto note = [&] {
        return boost::asio::bind_executor(strand, [&](error_code, auto...) {
            if (strand.running_in_this_thread()) right.fetch_add(1);
            done.fetch_add(1);
            bus->loop().wake();
        });
    };
    target.async_publish(bus->topic(), event_draft{"x", "r"}, note());
    target.async_flush(note());
    target.async_history(bus->topic(), 0, 0, note());
    auto feed = target.subscribe(bus->topic(), recorder{}.handler());
    feed.ready(note());
    bus->run_until([&] { return done.load() == 4; });
    EXPECT_EQ(right.load(), 4);
}

namespace {

boost::asio::awaitable<void> publish_in_a_loop(pubsub& bus, std::string topic, int count) {
    for (int i = 0; i < count; ++i) {
        co_await bus.async_publish(topic, event_draft{"x", "r"}, boost::asio::use_awaitable);
    }
}

}  // namespace

// Completing inside the initiation would end this one with a stack overflow.
TEST_P(PubsubConformance, LongLoopOfAwaitedPublishes) {
    constexpr int count = 5000;
    auto bus = open();
    std::atomic<int> seen{0};
    auto feed = bus->subscribe(default_topic, [&](const event&) { seen.fetch_add(1); });
    std::exception_ptr failure;
    const auto op = bus->begin([&](auto done) {
        boost::asio::co_spawn(
            bus->executor(),
            publish_in_a_loop(bus->bus(), bus->topic(), count),
            [&failure, done = std::move(done)](std::exception_ptr e) mutable {
                failure = e;
                done(error_code{});
            }
        );
    });
    bus->run_until(op);
    EXPECT_EQ(failure, nullptr);
    bus->run_until([&] { return seen.load() == count; });
}

TEST_P(PubsubConformance, FuturesThrowTheError) {
    auto bus = open();
    auto& target = bus->bus();
    const auto topic = bus->topic();
    bus->in_threads(1, [&](std::size_t) {
        target.async_publish(topic, event_draft{"x", "r"}, boost::asio::use_future).get();
        auto refused = target.async_publish("", event_draft{"x", "r"}, boost::asio::use_future);
        try {
            refused.get();
            ADD_FAILURE() << "the future holds no error";
        } catch (const boost::system::system_error& e) {
            EXPECT_EQ(e.code(), errc::invalid_argument);
        }
    });
}

TEST_P(PubsubConformance, CancelledPublishLeavesNoTask) {
    auto bus = open();
    auto& target = bus->bus();
    const auto seen = bus->record();
    boost::asio::cancellation_signal signal;
    std::atomic<int> calls{0};
    target.async_publish(
        bus->topic(),
        event_draft{"x", "r"},
        boost::asio::bind_cancellation_slot(
            signal.slot(),
            [&](error_code ec) {
                EXPECT_TRUE(!ec || ec == boost::asio::error::operation_aborted) << ec.message();
                calls.fetch_add(1);
                bus->loop().wake();
            }
        )
    );
    if (bus->exact_time()) signal.emit(boost::asio::cancellation_type::terminal);
    bus->run_until([&] { return calls.load() == 1 && seen.size() >= 1; });
    // An accepted event stays published, once.
    bus->quiesce();
    EXPECT_THAT(seen.types(), ElementsAre("x"));
    EXPECT_EQ(calls.load(), 1);
}

TEST_P(PubsubConformance, CancelledSubscribeLeavesNothing) {
    auto bus = open();
    bus->publish_all({"0", "1"});
    const recorder plain, replay;
    std::vector<operation> ops;
    {
        auto a = bus->bus().subscribe(bus->topic(), plain.handler());
        auto b = bus->bus().subscribe_with_replay(bus->topic(), replay.handler());
        ops.push_back(bus->begin([&](auto done) { a.ready(std::move(done)); }));
        ops.push_back(bus->begin([&](auto done) { b.ready(std::move(done)); }));
    }
    const auto then = replay.size();
    for (const auto& op : ops) {
        bus->run_until(op);
        EXPECT_EQ(op.calls(), 1);
    }
    bus->publish("2");
    bus->quiesce();
    EXPECT_THAT(plain.types(), IsEmpty());
    EXPECT_EQ(replay.size(), then);
    const auto before = bus->bus().counters().unheard;
    bus->publish("nobody is left");
    EXPECT_EQ(bus->bus().counters().unheard, features().counts_unheard ? before + 1 : 0);
}

TEST_P(PubsubConformance, LeavesNothingForIdleTopics) {
    auto bus = open();
    // Topics that were used once are as good as new: the next publish is unheard again.
    for (const auto& name : numbered("once", 50)) {
        {
            const auto seen = bus->record({.topic = name});
            bus->publish({.type = "x", .topic = name});
            bus->run_until([&] { return seen.size() == 1; });
        }
        bus->publish({.type = "y", .topic = name});
    }
    bus->flush();
    EXPECT_EQ(bus->bus().counters().unheard, features().counts_unheard ? 50U : 0U);
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
