#include "contract/batch_buffer.hpp"

#include <trunkline/detail/event_access.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <stdexcept>
#include <string>

namespace trunkline {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

event named(std::string_view type) {
    return detail::event_access::freeze(event_draft(type, "r"), 1);
}

class batch_test : public ::testing::Test {
protected:
    bool push(batch_buffer& b, std::string_view type) {
        auto e = named(type);
        const bool immediate = b.is_immediate(e);
        return b.push({std::move(e), 0, immediate}, now_);
    }
    static std::vector<std::string> names(const std::vector<queued_event>& events) {
        std::vector<std::string> out;
        for (const auto& item : events) out.emplace_back(item.e.type());
        return out;
    }
    void flush(batch_buffer& b) {
        b.begin_flush();
        b.end_flush(now_);
    }

    clock::time_point now_{1h};
};
using BatchBuffer = batch_test;

TEST_F(BatchBuffer, FlushesWhenMaxSizeIsReached) {
    batch_buffer b(batch_options{}.max_size(2));
    EXPECT_FALSE(push(b, "a"));
    EXPECT_TRUE(push(b, "b"));
    EXPECT_FALSE(b.armed());
    EXPECT_THAT(names(b.begin_flush()), ElementsAre("a", "b"));
}

TEST_F(BatchBuffer, LaterEventsNeverMoveTheDeadline) {
    batch_buffer b(batch_options{}.max_wait(100ms));
    const auto first = now_;
    push(b, "a");
    now_ += 60ms;
    push(b, "b");
    EXPECT_EQ(b.armed(), first + 100ms);
}

TEST_F(BatchBuffer, MinIntervalAloneNeverCausesAFlush) {
    batch_buffer b(batch_options{}.min_interval(10ms));
    EXPECT_FALSE(push(b, "a"));
    EXPECT_FALSE(b.armed());
}

TEST_F(BatchBuffer, BeforeTheFirstFlushThereIsNoFloor) {
    batch_buffer b(batch_options{}.max_size(1).min_interval(1h));
    EXPECT_TRUE(push(b, "a"));
}

TEST_F(BatchBuffer, ASizedFlushWaitsForTheFloor) {
    batch_buffer b(batch_options{}.max_size(1).min_interval(50ms));
    push(b, "a");
    flush(b);
    EXPECT_FALSE(push(b, "b"));
    EXPECT_EQ(b.armed(), now_ + 50ms);
    now_ += 50ms;
    EXPECT_TRUE(push(b, "c"));
}

TEST_F(BatchBuffer, TheDeadlineIsNeverBeforeTheFloor) {
    batch_buffer b(batch_options{}.max_wait(10ms).min_interval(50ms));
    flush(b);
    push(b, "a");
    EXPECT_EQ(b.armed(), now_ + 50ms);
}

TEST_F(BatchBuffer, MaxBufferSizeIgnoresTheFloor) {
    batch_buffer b(batch_options{}.max_buffer_size(2).min_interval(1h));
    flush(b);
    EXPECT_FALSE(push(b, "a"));
    EXPECT_TRUE(push(b, "b"));
}

TEST_F(BatchBuffer, ImmediateFlushesAtOnceOrAtTheFloor) {
    const auto urgent = [](const event& e) { return e.type() == "now"; };
    batch_buffer b(batch_options{}.max_wait(1h).min_interval(20ms).is_immediate(urgent));
    push(b, "a");
    EXPECT_TRUE(push(b, "now"));
    flush(b);
    EXPECT_FALSE(push(b, "now"));
    EXPECT_EQ(b.armed(), now_ + 20ms);
    // A normal event behind it does not postpone it.
    EXPECT_FALSE(push(b, "b"));
    EXPECT_EQ(b.armed(), now_ + 20ms);
}

TEST_F(BatchBuffer, EventsQueuedDuringAFlushKeepTheirDeadline) {
    batch_buffer b(batch_options{}.max_wait(30ms));
    push(b, "a");
    b.begin_flush();
    push(b, "b");
    const auto queued_at = now_;
    now_ += 10ms;
    b.end_flush(now_);
    EXPECT_EQ(b.armed(), queued_at + 30ms);
}

std::vector<queued_event> snapshot(std::initializer_list<std::string_view> types) {
    std::vector<queued_event> out;
    for (const auto t : types) out.push_back({named(t), 0, t.starts_with('!')});
    return out;
}

TEST_F(BatchBuffer, CoalesceMayOnlyDrop) {
    batch_buffer b(batch_options{}.coalesce([](std::vector<event> all) {
        std::erase_if(all, [](const event& e) { return e.type() == "b"; });
        return all;
    }));
    const auto choice = b.choose(snapshot({"a", "b", "c"}));
    EXPECT_FALSE(choice.violation);
    EXPECT_THAT(names(choice.deliver), ElementsAre("a", "c"));
    EXPECT_THAT(names(choice.coalesced), ElementsAre("b"));
    EXPECT_THAT(choice.lost, IsEmpty());
}

TEST_F(BatchBuffer, AForeignEventDropsTheWholeBatch) {
    batch_buffer b(batch_options{}.coalesce([](std::vector<event> all) {
        all.push_back(named("mine"));
        return all;
    }));
    const auto choice = b.choose(snapshot({"a", "b"}));
    EXPECT_TRUE(choice.violation);
    EXPECT_THAT(choice.deliver, IsEmpty());
    EXPECT_EQ(choice.lost.size(), 2U);
}

TEST_F(BatchBuffer, AReorderedAnswerIsAViolation) {
    batch_buffer b(batch_options{}.coalesce([](std::vector<event> all) {
        std::reverse(all.begin(), all.end());
        return all;
    }));
    EXPECT_TRUE(b.choose(snapshot({"a", "b"})).violation);
}

TEST_F(BatchBuffer, OverflowDropsFromTheFrontOrTheBack) {
    batch_buffer oldest(batch_options{}.max_buffer_size(2));
    EXPECT_THAT(
        names(oldest.choose(snapshot({"a", "b", "c", "d"})).deliver), ElementsAre("c", "d")
    );
    batch_buffer newest(batch_options{}.max_buffer_size(2).overflow(batch_overflow::drop_newest));
    EXPECT_THAT(
        names(newest.choose(snapshot({"a", "b", "c", "d"})).deliver), ElementsAre("a", "b")
    );
}

TEST_F(BatchBuffer, OverflowNeverDropsImmediates) {
    batch_buffer b(batch_options{}.max_buffer_size(1).is_immediate([](const event& e) {
        return e.type().starts_with("!");
    }));
    EXPECT_THAT(names(b.choose(snapshot({"!a", "b", "!c", "d"})).deliver), ElementsAre("!a", "!c"));
}

TEST_F(BatchBuffer, WhatCoalesceThrowsPassesThrough) {
    batch_buffer b(batch_options{}.coalesce([](std::vector<event>) -> std::vector<event> {
        throw std::runtime_error("no");
    }));
    EXPECT_THROW(b.choose(snapshot({"a"})), std::runtime_error);
}

// Whatever the policy and the times: a flush that is due is never forgotten, nothing is doubled.
TEST_F(BatchBuffer, RandomTrafficKeepsItsInvariants) {
    std::mt19937 random(7);
    const auto pick = [&](unsigned n) { return random() % n; };
    for (int round = 0; round < 200; ++round) {
        batch_options options;
        if (pick(2) != 0U) options.max_size(1 + pick(5));
        if (pick(2) != 0U) options.max_wait(std::chrono::milliseconds{pick(50)});
        options.min_interval(std::chrono::milliseconds{pick(30)}).max_buffer_size(1 + pick(8));
        batch_buffer b(options);
        std::size_t in = 0;
        std::size_t out = 0;
        for (int step = 0; step < 200; ++step) {
            now_ += std::chrono::milliseconds{pick(10)};
            const bool due = push(b, "e");
            ++in;
            ASSERT_EQ(b.size(), in - out);
            ASSERT_FALSE(b.size() >= options.max_buffer_size() && !due);
            if (options.max_wait() && !due) ASSERT_TRUE(b.armed());
            if (due || (b.armed() && *b.armed() <= now_)) {
                out += b.begin_flush().size();
                ASSERT_FALSE(b.armed());
                b.end_flush(now_);
            }
        }
    }
}

}  // namespace
}  // namespace trunkline
