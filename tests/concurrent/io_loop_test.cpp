#include "base/io_loop.hpp"

#include "base/own_thread.hpp"

#include <trunkline/errc.hpp>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <vector>

namespace trunkline {
namespace {

using namespace std::chrono_literals;

std::thread::id thread_of(const boost::asio::any_io_executor& where) {
    std::promise<std::thread::id> id;
    auto future = id.get_future();
    boost::asio::post(where, [&] { id.set_value(std::this_thread::get_id()); });
    return future.get();
}

/// A task on `where` that stays until it is let go.
class stuck {
public:
    explicit stuck(const boost::asio::any_io_executor& where) {
        auto begun = std::make_shared<std::promise<void>>();
        auto future = begun->get_future();
        boost::asio::post(where, [begun, until = go_.get_future().share()] {
            begun->set_value();
            until.wait();
        });
        future.get();
    }
    void let_go() { go_.set_value(); }

private:
    std::promise<void> go_;
};

TEST(IoLoop, QuickHandlersRunWhereTheSocketsAre) {
    base::io_loop loop;
    EXPECT_EQ(thread_of(loop.handlers()), thread_of(loop.sockets()));
    EXPECT_NE(thread_of(loop.handlers()), std::this_thread::get_id());
}

TEST(IoLoop, AHandlerThatBlocksDoesNotHoldUpTheSockets) {
    base::io_loop loop;
    stuck handler(loop.handlers());
    // Would hang here if nobody took the sockets over.
    const auto first = thread_of(loop.sockets());
    EXPECT_EQ(thread_of(loop.sockets()), first);
    handler.let_go();
    EXPECT_NE(thread_of(loop.handlers()), std::thread::id());
}

TEST(IoLoop, SocketsThatAreBusyDoNotHoldUpHandlers) {
    base::io_loop loop;
    thread_of(loop.handlers());
    stuck sockets(loop.sockets());
    EXPECT_NE(thread_of(loop.handlers()), std::thread::id());
    sockets.let_go();
}

TEST(IoLoop, HandlersRunInOrderAndOneAtATimeWhoeverRunsThem) {
    base::io_loop loop;
    std::atomic<int> at_once{0};
    std::atomic<bool> overlapped{false};
    std::vector<int> order;
    std::promise<void> all;
    constexpr int count = 400;
    for (int i = 0; i < count; ++i) {
        boost::asio::post(loop.handlers(), [&, i] {
            if (at_once.fetch_add(1) != 0) overlapped = true;
            // Some block for longer than the other thread looks away: the sockets change hands.
            if (i % 40 == 0) {
                std::promise<void> seen;
                boost::asio::post(loop.sockets(), [&] { seen.set_value(); });
                seen.get_future().get();
            }
            order.push_back(i);
            at_once.fetch_sub(1);
            if (i + 1 == count) all.set_value();
        });
    }
    all.get_future().get();
    EXPECT_FALSE(overlapped);
    ASSERT_EQ(order.size(), static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST(IoLoop, HandlersThatProveSlowGetAThreadToThemselves) {
    base::io_loop loop;
    // More often than tasks that a thread which has just lost the sockets may still run.
    const auto apart = [&] {
        for (int i = 0; i < 20; ++i) {
            if (thread_of(loop.handlers()) == thread_of(loop.sockets())) return false;
        }
        return true;
    };
    EXPECT_FALSE(apart());
    // Each waits for the sockets, which come only when the other thread has taken them.
    for (int i = 0; i < 100 && !apart(); ++i) {
        std::promise<void> handled;
        boost::asio::post(loop.handlers(), [&] {
            thread_of(loop.sockets());
            handled.set_value();
        });
        handled.get_future().get();
    }
    EXPECT_TRUE(apart());
}

TEST(IoLoop, RunsWhatWasGivenBeforeItStopsAndDropsTheRest) {
    int ran = 0;
    bool late = false;
    boost::asio::any_io_executor handlers;
    auto owned = std::make_shared<int>(0);
    const std::weak_ptr<int> watch = owned;
    base::io_loop loop;
    handlers = loop.handlers();
    for (int i = 0; i < 100; ++i) boost::asio::post(handlers, [&] { ++ran; });
    boost::asio::post(handlers, [&, handlers] { boost::asio::post(handlers, [&] { ++ran; }); });
    loop.stop();
    EXPECT_EQ(ran, 101);
    boost::asio::post(handlers, [&late, owned = std::move(owned)] { late = true; });
    EXPECT_FALSE(late);
    EXPECT_TRUE(watch.expired());
}

TEST(IoLoop, MayBeDestroyedOnEitherOfItsThreads) {
    for (const bool on_sockets : {false, true}) {
        auto loop = std::make_unique<base::io_loop>();
        std::promise<void> posted;
        std::promise<void> gone;
        auto future = gone.get_future();
        const auto where = on_sockets ? loop->sockets() : loop->handlers();
        thread_of(loop->handlers());
        boost::asio::post(where, [loop = std::move(loop), &posted, &gone]() mutable {
            posted.get_future().get();  // an executor must not go while somebody posts to it
            loop.reset();
            gone.set_value();
        });
        posted.set_value();
        future.get();
    }
}

TEST(IoLoop, StopsWhileAHandlerThatBlocksRuns) {
    base::io_loop loop;
    stuck handler(loop.handlers());
    thread_of(loop.sockets());
    auto stopped = std::async(std::launch::async, [&] { loop.stop(); });
    handler.let_go();
    stopped.get();
}

TEST(IoLoop, DispatchNestsInsideAHandlerAndPostDoesNot) {
    base::io_loop loop;
    std::promise<std::vector<int>> result;
    boost::asio::post(loop.handlers(), [&, order = std::make_shared<std::vector<int>>()] {
        boost::asio::post(loop.handlers(), [&, order] {
            order->push_back(3);
            result.set_value(*order);
        });
        boost::asio::dispatch(loop.handlers(), [order] { order->push_back(1); });
        order->push_back(2);
    });
    EXPECT_EQ(result.get_future().get(), (std::vector<int>{1, 2, 3}));
}

TEST(IoLoop, ATimerOnTheHandlersExecutorStartsTheThread) {
    base::io_loop loop;
    boost::asio::steady_timer timer(loop.handlers(), 1ms);
    std::promise<bool> fired;
    timer.async_wait([&](error_code ec) { fired.set_value(!ec && base::on_own_thread()); });
    EXPECT_TRUE(fired.get_future().get());
}

}  // namespace
}  // namespace trunkline
