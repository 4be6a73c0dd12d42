#include "json_matchers.hpp"
#include "program.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <signal.h>

namespace {

using cli_test::program;
using cli_test::run;
using cli_test::text;
using cli_test::texts;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::MatchesRegex;

std::string numbers(int count) {
    std::string lines;
    for (int i = 0; i < count; ++i) lines += std::to_string(i) + '\n';
    return lines;
}

TEST(PipeCommand, PrintsEventsAndASummary) {
    const auto result = run(
        {"pipe",
         "orders",
         "--type",
         "order.created",
         "--run-id",
         "r1",
         "--data",
         R"({"n":1e21})",
         "--count",
         "2"}
    );
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
    EXPECT_THAT(
        result.out,
        testing::StartsWith(
            R"({"topic":"orders","type":"order.created","data":{"n":1e+21},"runId":"r1","id":")"
        )
    );
    ASSERT_EQ(result.events().size(), 2U);
    const auto e = result.events().front();
    EXPECT_THAT(text(e, "id"), MatchesRegex("\"[0-9a-f-]+\""));
    EXPECT_THAT(text(e, "createdAt"), MatchesRegex("\"[0-9-]+T[0-9:.]+Z\""));
    EXPECT_EQ(text(e, "deliveryAttempt"), "1");
    EXPECT_EQ(text(result.last(), "published"), "2");
    EXPECT_THAT(result.err, HasSubstr("{\"ready\":true}"));
}

TEST(PipeCommand, NoDataIsAbsent) {
    const auto result = run({"pipe", "t"});
    EXPECT_EQ(result.exit_code, 0);
    ASSERT_EQ(result.events().size(), 1U);
    EXPECT_FALSE(result.events().front().as_object().contains("data"));
    EXPECT_EQ(text(result.events().front(), "type"), "\"message\"");
    EXPECT_EQ(text(result.events().front(), "runId"), "\"cli\"");
}

TEST(PipeCommand, LinesBecomeData) {
    const auto result =
        run({"pipe", "t", "--lines"}, "{\"a\":1}\n[2]\nnull\nplain \"text\"\n\n{\"type\":5}\n");
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
    EXPECT_THAT(
        texts(result.events(), "data"),
        ElementsAre(R"({"a":1})", "[2]", "null", R"("plain \"text\"")", R"("")", R"({"type":5})")
    );
    EXPECT_EQ(result.events()[2].as_object().contains("data"), true);
}

TEST(PipeCommand, LineWithTypeIsAWholeEvent) {
    const auto result = run(
        {"pipe", "t", "--lines", "--run-id", "fallback"},
        R"({"type":"a","data":[1],"runId":"r","id":"peer-7","createdAt":"2023-11-14T22:13:20.123Z","x":{"y":1}})"
        "\n"
        R"({"type":"b"})"
        "\n"
    );
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
    const auto events = result.events();
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(text(events[0], "type"), "\"a\"");
    EXPECT_EQ(text(events[0], "data"), "[1]");
    EXPECT_EQ(text(events[0], "runId"), "\"r\"");
    EXPECT_EQ(text(events[0], "id"), "\"peer-7\"");
    EXPECT_EQ(text(events[0], "createdAt"), "\"2023-11-14T22:13:20.123Z\"");
    EXPECT_EQ(text(events[0], "x"), R"({"y":1})");
    EXPECT_EQ(text(events[1], "type"), "\"b\"");
    EXPECT_EQ(text(events[1], "runId"), "\"fallback\"");
    EXPECT_FALSE(events[1].as_object().contains("data"));
}

TEST(PipeCommand, ItsOwnLinesCanBePublishedAgain) {
    const auto first = run({"pipe", "t", "--data", "[1,2]", "--count", "2"});
    auto lines = first.out;
    lines.erase(lines.find("{\"published\""));
    const auto second = run({"pipe", "t", "--lines"}, lines);
    EXPECT_EQ(second.exit_code, 0) << testing::PrintToString(second);
    EXPECT_EQ(second.events(), first.events());
}

TEST(PipeCommand, LinesArePublishedAsTheyArrive) {
    program p({"pipe", "t", "--lines"});
    p.write("1\n");
    EXPECT_TRUE(p.wait_for_output("\"data\":1,"));
    p.write("2\n");
    EXPECT_TRUE(p.wait_for_output("\"data\":2,"));
    EXPECT_EQ(p.finish().exit_code, 0);
}

TEST(PipeCommand, DeepestDataPassesWhole) {
    const auto deepest = std::string(1000, '[') + std::string(1000, ']');
    const auto result =
        run({"pipe", "t", "--lines"}, deepest + "\n{\"type\":\"a\",\"data\":" + deepest + "}\n");
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.out, HasSubstr("\"data\":" + deepest + ",\"runId\""));
    EXPECT_EQ(text(result.last(), "published"), "2");
}

TEST(PipeCommand, ManyEventsKeepTheirOrder) {
    for (const std::string bus : {"memory:", "memory:?dispatch=queued", "memory:?replay=1"}) {
        const auto result = run({"pipe", "t", "--lines", "--bus", bus}, numbers(3000));
        EXPECT_EQ(result.exit_code, 0) << bus << result.err;
        const auto data = texts(result.events(), "data");
        ASSERT_EQ(data.size(), 3000U) << bus;
        for (std::size_t i = 0; i < data.size(); ++i) ASSERT_EQ(data[i], std::to_string(i)) << bus;
    }
}

TEST(PipeCommand, NackInAGroupBringsTheNextAttempt) {
    const auto result = run({"pipe", "t", "--data", "1", "--group", "g", "--nack-first", "1"});
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
    EXPECT_THAT(texts(result.events(), "deliveryAttempt"), ElementsAre("1", "2"));
}

TEST(PipeCommand, NackFirstCountsFirstAttempts) {
    const auto result =
        run({"pipe", "t", "--data", "1", "--count", "4", "--group", "g", "--nack-first", "2"});
    auto attempts = texts(result.events(), "deliveryAttempt");
    EXPECT_THAT(attempts, testing::UnorderedElementsAre("1", "1", "1", "1", "2", "2"));
}

TEST(PipeCommand, SettleNackGoesOnUntilTheLastAttempt) {
    const auto result = run({"pipe", "t", "--group", "g", "--settle", "nack"});
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
    EXPECT_THAT(texts(result.events(), "deliveryAttempt"), ElementsAre("1", "2", "3", "4", "5"));
    const auto two = run(
        {"pipe", "t", "--group", "g", "--settle", "nack", "--bus", "memory:?maxDeliveryAttempts=2"}
    );
    EXPECT_THAT(texts(two.events(), "deliveryAttempt"), ElementsAre("1", "2"));
}

TEST(PipeCommand, SettleNoneDeliversOnce) {
    const auto result =
        run({"pipe", "t", "--group", "g", "--settle", "none", "--count", "3", "--data", "1"});
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
    EXPECT_THAT(texts(result.events(), "deliveryAttempt"), ElementsAre("1", "1", "1"));
}

TEST(PipeCommand, NackWithoutAGroupChangesNothing) {
    const auto result = run({"pipe", "t", "--settle", "nack"});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(result.events().size(), 1U);
}

TEST(PipeCommand, HoldSettlesLaterWithoutBlocking) {
    // One after the other they would take 20 seconds.
    const auto result = run(
        {"pipe",
         "t",
         "--data",
         "1",
         "--count",
         "200",
         "--group",
         "g",
         "--hold",
         "100",
         "--nack-first",
         "200",
         "--timeout",
         "15"}
    );
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const auto attempts = texts(result.events(), "deliveryAttempt");
    ASSERT_EQ(attempts.size(), 400U);
    EXPECT_EQ(std::count(attempts.begin(), attempts.end(), "2"), 200);
}

TEST(PipeCommand, HoldBeyondThePlacesLosesNothing) {
    // More than a subscription may have unsettled, and more than its queue takes.
    const auto result =
        run({"pipe", "t", "--lines", "--group", "g", "--hold", "20", "--timeout", "60"},
            numbers(5000));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.events().size(), 5000U);
    EXPECT_EQ(text(result.last(), "failed"), "0");
}

TEST(PipeCommand, TimeoutWhileHeldGivesThree) {
    const auto result = run({"pipe", "t", "--hold", "60000", "--timeout", "1"});
    EXPECT_EQ(result.exit_code, 3) << testing::PrintToString(result);
    EXPECT_EQ(result.events().size(), 1U);
}

TEST(PipeCommand, TooFewEventsForCountTimeOut) {
    const auto result = run({"pipe", "t", "--lines", "--count", "2", "--timeout", "0.2"}, "1\n");
    EXPECT_EQ(result.exit_code, 3) << testing::PrintToString(result);
}

TEST(PipeCommand, TimeoutEndsItWhileInputIsOpen) {
    program p({"pipe", "t", "--lines", "--timeout", "1"});
    p.write("1\n");
    EXPECT_TRUE(p.wait_for_output("\"published\":1"));
    EXPECT_EQ(p.finish().exit_code, 3);
}

TEST(PipeCommand, SignalEndsItCleanly) {
    program p({"pipe", "t", "--lines"});
    p.write("1\n");
    ASSERT_TRUE(p.wait_for_output("\"data\":1,"));
    p.signal(SIGTERM);
    const auto result = p.finish();
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
    EXPECT_EQ(text(result.last(), "published"), "1");
}

TEST(PipeCommand, ClosedOutputIsAFailureAndNoCrash) {
    program p({"pipe", "t", "--data", "1", "--count", "100000"});
    p.close_output();
    const auto result = p.finish();
    EXPECT_EQ(result.exit_code, 1) << testing::PrintToString(result);
    EXPECT_THAT(result.err, HasSubstr("standard output"));
}

// A reader that stops reading must not keep the command from its time limit.
TEST(PipeCommand, StuckReaderDoesNotOutliveTheTimeLimit) {
    program p({"pipe", "t", "--data", "1", "--count", "100000", "--timeout", "0.5"});
    p.read_output(false);
    ASSERT_TRUE(p.wait_for_error("cannot write to standard output"));
    const auto result = p.finish();
    EXPECT_EQ(result.exit_code, 1) << testing::PrintToString(result.err);
}

TEST(PipeCommand, ReplayShowsWhatWasPublishedFirst) {
    const auto result =
        run({"pipe", "t", "--bus", "memory:?replay=1", "--lines", "--publish-first", "--replay"},
            numbers(5));
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
    EXPECT_THAT(texts(result.events(), "index"), ElementsAre("0", "1", "2", "3", "4"));
    EXPECT_THAT(texts(result.events(), "data"), ElementsAre("0", "1", "2", "3", "4"));
}

TEST(PipeCommand, OffsetSkipsTheBeginning) {
    const auto result = run(
        {"pipe",
         "t",
         "--bus",
         "memory:?replay=1",
         "--data",
         "1",
         "--count",
         "5",
         "--publish-first",
         "--offset",
         "3"}
    );
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
    EXPECT_THAT(texts(result.events(), "index"), ElementsAre("3", "4"));
}

TEST(PipeCommand, OffsetOlderThanRetentionIsAGap) {
    const auto result =
        run({"pipe",
             "t",
             "--bus",
             "memory:?replay=1&maxEvents=1024",
             "--lines",
             "--publish-first",
             "--offset",
             "1"},
            numbers(5000));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("{\"gap\":true,\"firstMissing\":1,\"oldest\":"));
    const auto index = texts(result.events(), "index");
    ASSERT_FALSE(index.empty());
    EXPECT_EQ(index.back(), "4999");
    EXPECT_THAT(result.err, HasSubstr("\"oldest\":" + index.front() + "}"));
}

TEST(PipeCommand, SubscribingAfterPublishingWithoutReplayHearsNothing) {
    const auto result = run({"pipe", "t", "--publish-first"});
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
    EXPECT_EQ(result.events().size(), 0U);
}

TEST(PipeCommand, LogLevelOffIsQuiet) {
    const auto noisy = run({"pipe", "t", "--group", "g", "--settle", "nack"});
    EXPECT_THAT(noisy.err, HasSubstr("given up"));
    const auto quiet = run({"pipe", "t", "--group", "g", "--settle", "nack", "--log-level", "off"});
    EXPECT_EQ(quiet.err, "{\"ready\":true}\n");
}

}  // namespace
