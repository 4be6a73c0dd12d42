#include <trunkline/detail/event_access.hpp>
#include <trunkline/testkit/recorder.hpp>

#include <boost/asio/system_executor.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;
using trunkline::delivery;
using trunkline::event;
using trunkline::event_draft;
using trunkline::testkit::handler_form;
using trunkline::testkit::recorder;
using trunkline::testkit::verdict;

event event_named(std::string_view type, std::uint32_t attempt = 1) {
    return trunkline::detail::event_access::freeze(event_draft{type, "r"}, attempt);
}

// Notes how deliveries end.
class Recorder : public testing::Test, public trunkline::settler {
protected:
    void hold() noexcept override { ++holds_; }
    void begin_call() noexcept override {}
    void end_call() noexcept override {}
    void ack(const event& e, std::uint64_t, bool) noexcept override { note("ack", e); }
    void nack(const event& e, std::uint64_t, bool) noexcept override { note("nack", e); }
    void drop(const event& e, std::uint64_t, bool) noexcept override { note("drop", e); }
    void extend(const event&, std::uint64_t, trunkline::completion) noexcept override {}
    void report_failure(const event&, std::exception_ptr) noexcept override {}
    boost::asio::any_io_executor executor() override { return boost::asio::system_executor{}; }

    void note(const char* how, const event& e) {
        ends_.push_back(how + (" " + std::string(e.type())));
    }

    // What a dispatcher does: the delivery is lent to the handler, and released when it threw
    // without settling.
    bool deliver(trunkline::handler& h, event e) {
        delivery d{std::move(e), this, 0};
        try {
            h(d);
        } catch (const std::runtime_error&) {
            if (!d.moved_out()) d.release();
            return false;
        }
        if (!d.moved_out()) d.release();
        return true;
    }

    int holds_ = 0;
    std::vector<std::string> ends_;
};

TEST_F(Recorder, AcknowledgesByDefault) {
    const recorder seen;
    auto h = seen.handler();
    EXPECT_TRUE(seen.empty());
    EXPECT_TRUE(deliver(h, event_named("a")));
    EXPECT_TRUE(deliver(h, event_named("b", 2)));
    EXPECT_THAT(seen.types(), ElementsAre("a", "b"));
    EXPECT_THAT(seen.attempts(), ElementsAre(1U, 2U));
    EXPECT_THAT(seen.run_ids(), ElementsAre("r", "r"));
    EXPECT_THAT(seen.indices(), ElementsAre(std::nullopt, std::nullopt));
    EXPECT_EQ(seen.ids().size(), 2U);
    EXPECT_EQ(seen.count("a"), 1U);
    EXPECT_EQ(seen.at(1).type(), "b");
    EXPECT_THROW((void)seen.at(2), std::out_of_range);
    EXPECT_THAT(ends_, ElementsAre("ack a", "ack b"));
}

TEST_F(Recorder, DoesWhatTheJudgeSays) {
    const recorder seen{[](const event& e) {
        if (e.type() == "nack") return verdict::nack;
        if (e.type() == "none") return verdict::none;
        if (e.type() == "throws") return verdict::throws;
        return verdict::ack;
    }};
    auto h = seen.handler();
    EXPECT_TRUE(deliver(h, event_named("nack")));
    EXPECT_TRUE(deliver(h, event_named("none")));
    EXPECT_FALSE(deliver(h, event_named("throws")));
    EXPECT_TRUE(deliver(h, event_named("ack")));
    EXPECT_THAT(seen.types(), ElementsAre("nack", "none", "throws", "ack"));
    EXPECT_THAT(ends_, ElementsAre("nack nack", "ack ack"));
}

TEST_F(Recorder, HoldsUntilSettled) {
    const recorder seen{verdict::hold};
    auto h = seen.handler();
    for (const auto* type : {"a", "b"}) deliver(h, event_named(type));
    EXPECT_EQ(seen.held(), 2U);
    EXPECT_EQ(holds_, 2);
    EXPECT_THAT(ends_, IsEmpty());
    seen.settle_held(verdict::nack);
    EXPECT_THAT(ends_, ElementsAre("nack a", "nack b"));
    EXPECT_EQ(seen.held(), 0U);
    deliver(h, event_named("c"));
    EXPECT_EQ(seen.take_held().size(), 1U);
    EXPECT_THAT(ends_, ElementsAre("nack a", "nack b", "drop c"));
}

TEST_F(Recorder, TakesAllThreeForms) {
    const recorder seen{verdict::throws};
    auto reference = seen.handler(handler_form::reference);
    auto value = seen.handler(handler_form::value);
    auto plain = seen.handler(handler_form::event);
    EXPECT_FALSE(deliver(reference, event_named("reference")));
    EXPECT_FALSE(deliver(value, event_named("value")));
    EXPECT_FALSE(deliver(plain, event_named("event")));
    EXPECT_EQ(seen.size(), 3U);
    // By value, the parameter dies in the unwinding; the others are the dispatcher's business.
    EXPECT_THAT(ends_, ElementsAre("nack value"));

    const recorder content;
    auto ack_value = content.handler(handler_form::value);
    auto ack_plain = content.handler(handler_form::event);
    ends_.clear();
    deliver(ack_value, event_named("value"));
    deliver(ack_plain, event_named("event"));
    EXPECT_THAT(ends_, ElementsAre("ack value", "ack event"));
}

TEST_F(Recorder, CountsSentinelsApart) {
    const recorder seen{verdict::nack};
    auto h = seen.handler();
    deliver(h, event_named(trunkline::testkit::sentinel_type));
    deliver(h, event_named("x"));
    EXPECT_EQ(seen.sentinels(), 1U);
    EXPECT_THAT(seen.types(), ElementsAre("x"));
    EXPECT_EQ(ends_.at(0), "ack " + std::string(trunkline::testkit::sentinel_type));
}

TEST_F(Recorder, CopiesShareOneRecord) {
    const recorder seen;
    const auto copy = seen;
    auto a = seen.handler(), b = copy.handler();
    deliver(a, event_named("1"));
    deliver(b, event_named("2"));
    EXPECT_THAT(seen.types(), ElementsAre("1", "2"));
    copy.clear();
    EXPECT_TRUE(seen.empty());
}

TEST_F(Recorder, TellsOfEachChangeAfterwards) {
    const recorder seen;
    std::vector<std::size_t> sizes;
    seen.on_change([&] { sizes.push_back(seen.size()); });
    auto h = seen.handler();
    deliver(h, event_named("a"));
    deliver(h, event_named("b"));
    EXPECT_THAT(sizes, ElementsAre(1U, 2U));
}

TEST_F(Recorder, NoticesOverlappingCalls) {
    const recorder inner_and_outer;
    trunkline::handler* again = nullptr;
    bool nested = false;
    const recorder seen{[&](const event&) {
        if (!std::exchange(nested, true)) deliver(*again, event_named("inner"));
        return verdict::ack;
    }};
    auto h = seen.handler();
    again = &h;
    deliver(h, event_named("outer"));
    EXPECT_EQ(seen.overlaps(), 1U);
    EXPECT_EQ(inner_and_outer.overlaps(), 0U);
}

TEST_F(Recorder, WaitsForANumberOfEvents) {
    const recorder seen;
    EXPECT_TRUE(seen.wait_for_size(0, milliseconds{0}));
    EXPECT_FALSE(seen.wait_for_size(1, milliseconds{1}));
    std::thread publisher{[&] {
        auto h = seen.handler();
        for (int i = 0; i < 3; ++i) deliver(h, event_named("x"));
    }};
    EXPECT_TRUE(seen.wait_for_size(3, std::chrono::seconds{30}));
    publisher.join();
}

TEST_F(Recorder, RecordsFromManyThreads) {
    const recorder seen;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            auto h = seen.handler();
            for (int i = 0; i < 250; ++i) {
                delivery d{event_named("x"), nullptr, 0};
                h(d);
            }
        });
    }
    for (auto& t : threads) t.join();
    EXPECT_EQ(seen.size(), 1000U);
}

}  // namespace
