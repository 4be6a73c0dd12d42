#include <trunkline/delivery.hpp>
#include <trunkline/detail/event_access.hpp>
#include <trunkline/handler.hpp>
#include <trunkline/on_executor.hpp>

#include <boost/asio/io_context.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <sys/wait.h>

namespace trunkline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Notes what happens to deliveries.
class noted_settler final : public settler {
public:
    void hold() noexcept override { log.emplace_back("hold"); }
    void ack(const event&, std::uint64_t token, bool held) noexcept override {
        note("ack", token, held);
    }
    void nack(const event&, std::uint64_t token, bool held) noexcept override {
        note("nack", token, held);
    }
    void drop(const event&, std::uint64_t token, bool held) noexcept override {
        note("drop", token, held);
    }
    void extend(const event&, std::uint64_t, completion) noexcept override {
        log.emplace_back("extend");
    }
    void report_failure(const event&, std::exception_ptr) noexcept override {
        log.emplace_back("failure");
    }
    void begin_call() noexcept override { log.emplace_back("begin"); }
    void end_call() noexcept override { log.emplace_back("end"); }
    boost::asio::any_io_executor executor() override { return loop.get_executor(); }

    boost::asio::io_context loop;
    std::vector<std::string> log;

private:
    void note(std::string what, std::uint64_t token, bool held) {
        EXPECT_EQ(token, 7U);
        log.push_back(what + (held ? " held" : ""));
    }
};

class handler_test : public ::testing::Test {
protected:
    delivery fresh() {
        return {detail::event_access::freeze(event_draft("t", "r"), 1), &settled_, 7};
    }
    noted_settler settled_;
};
using Delivery = handler_test;
using Handler = handler_test;

TEST_F(Delivery, FirstSettlementCounts) {
    auto d = fresh();
    std::move(d).ack();
    std::move(d).nack();
    std::move(d).ack();
    EXPECT_THAT(settled_.log, ElementsAre("ack"));
    EXPECT_FALSE(d.unsettled());
    EXPECT_EQ(d.event().type(), "t");
}

TEST_F(Delivery, MovingOutTellsTheBackendOnce) {
    {
        auto d = fresh();
        auto first = std::move(d);
        auto second = std::move(first);
        EXPECT_TRUE(d.moved_out());
        std::move(second).nack();
    }
    EXPECT_THAT(settled_.log, ElementsAre("hold", "nack held"));
}

TEST_F(Delivery, LettingGoIsNoSettlement) {
    {
        const auto d = fresh();
    }
    EXPECT_THAT(settled_.log, ElementsAre("drop"));
}

TEST_F(Delivery, UnwindingIsNack) {
    try {
        const auto d = fresh();
        throw std::runtime_error("x");
    } catch (const std::runtime_error&) {
    }
    EXPECT_THAT(settled_.log, ElementsAre("nack"));
}

TEST_F(Delivery, AssignmentLetsTheOldOneGo) {
    auto d = fresh();
    d = fresh();
    std::move(d).ack();
    EXPECT_THAT(settled_.log, ElementsAre("hold", "drop", "ack held"));
}

TEST_F(Handler, TakingTheEventAcknowledgesOnReturn) {
    handler h([](const event&) {});
    auto d = fresh();
    h(d);
    EXPECT_THAT(settled_.log, ElementsAre("ack"));
}

TEST_F(Handler, TakingAReferenceSettlesByHand) {
    handler h([](delivery& d) { std::move(d).nack(); });
    auto d = fresh();
    h(d);
    EXPECT_THAT(settled_.log, ElementsAre("nack"));
}

TEST_F(Handler, TakingAReferenceMayReturnUnsettled) {
    handler h([](delivery&) {});
    auto d = fresh();
    h(d);
    EXPECT_TRUE(d.unsettled());
    EXPECT_FALSE(d.moved_out());
}

TEST_F(Handler, TakingByValueNacksWhenItThrows) {
    handler h([](delivery) { throw std::runtime_error("x"); });
    auto d = fresh();
    EXPECT_THROW(h(d), std::runtime_error);
    EXPECT_THAT(settled_.log, ElementsAre("hold", "nack held"));
}

TEST_F(Handler, MoveOnlyCallablesWork) {
    handler h([p = std::make_unique<int>(3)](const event&) { EXPECT_EQ(*p, 3); });
    auto moved = std::move(h);
    auto d = fresh();
    moved(d);
}

TEST_F(Handler, CoroutineNacksOnExceptionAndReportsIt) {
    auto h =
        on_executor(settled_.loop.get_executor(), [](delivery&) -> boost::asio::awaitable<void> {
            throw std::runtime_error("x");
            co_return;
        });
    EXPECT_TRUE(h.asynchronous());
    auto d = fresh();
    h(d);
    settled_.loop.run();
    EXPECT_THAT(settled_.log, ElementsAre("begin", "hold", "failure", "nack held", "end"));
}

TEST_F(Handler, CoroutineThatSettlesNothingLetsGo) {
    auto h = on_executor(
        settled_.loop.get_executor(), [](delivery&) -> boost::asio::awaitable<void> { co_return; }
    );
    auto d = fresh();
    h(d);
    settled_.loop.run();
    EXPECT_THAT(settled_.log, ElementsAre("begin", "hold", "drop held", "end"));
}

// The three mistakes that would compile and silently do nothing are refused with a sentence that
// says what to do. The exit status alone would not prove which error it was.
TEST(HandlerMistakes, DoNotCompile) {
    const std::string folder = ::testing::TempDir();
    const auto source = folder + "/trunkline_handler_mistakes.cpp";
    std::ofstream(source) << R"(
        #include <trunkline/handler.hpp>
        #include <boost/asio/awaitable.hpp>
        using namespace trunkline;
        handler a([](const delivery&) {});
        handler b([](const event&) -> boost::asio::awaitable<void> { co_return; });
        handler c([](delivery) -> boost::asio::awaitable<void> { co_return; });
        handler d([](int) {});
    )";
    const std::string command = std::string(TRUNKLINE_CXX) + " -std=c++20 -fsyntax-only -I" +
                                TRUNKLINE_SOURCE_DIR + "/include " + source + " 2>&1";
    std::string said;
    auto* pipe = popen(command.c_str(), "r");
    ASSERT_NE(pipe, nullptr);
    std::array<char, 4096> chunk;
    while (const auto got = fread(chunk.data(), 1, chunk.size(), pipe))
        said.append(chunk.data(), got);
    const int status = pclose(pipe);
    EXPECT_NE(status, 0);
    EXPECT_THAT(said, HasSubstr("could never settle it"));
    EXPECT_THAT(said, HasSubstr("a handler returns void; wrap coroutines with on_executor"));
    EXPECT_THAT(said, HasSubstr("takes const event&, delivery& or delivery"));
}

}  // namespace
}  // namespace trunkline
