#include "json_matchers.hpp"
#include "program.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <signal.h>

namespace {

using cli_test::program;
using cli_test::run;
using cli_test::text;
using testing::HasSubstr;

TEST(PublishCommand, SaysWhatBecameOfIt) {
    const auto result = run({"publish", "t", "--data", R"({"n":1})", "--count", "300"});
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
    ASSERT_EQ(result.lines().size(), 1U);
    const auto line = result.last();
    EXPECT_EQ(text(line, "published"), "300");
    EXPECT_EQ(text(line, "failed"), "0");
    EXPECT_TRUE(line.as_object().at("seconds").is_number());
}

TEST(PublishCommand, SaysThatNobodyElseCanHearIt) {
    EXPECT_THAT(run({"publish", "t"}).err, HasSubstr("no other process can hear"));
    EXPECT_THAT(
        run({"subscribe", "t", "--timeout", "0.01"}).err, HasSubstr("no other process can hear")
    );
}

TEST(PublishCommand, LinesEndWithInput) {
    const auto result = run({"publish", "t", "--lines"}, "1\n2\nlast without line feed");
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(text(result.last(), "published"), "3");
}

TEST(PublishCommand, NoLinesAreNoEvents) {
    const auto result = run({"publish", "t", "--lines"});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(text(result.last(), "published"), "0");
}

TEST(PublishCommand, CountLimitsLines) {
    program p({"publish", "t", "--lines", "--count", "2"});
    p.write("1\n2\n3\n");
    // It ends although its input stays open.
    EXPECT_TRUE(p.wait_for_output("\"seconds\""));
    const auto result = p.finish();
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(text(result.last(), "published"), "2");
}

TEST(PublishCommand, BadLinesAreNamedAndCounted) {
    const auto deep = std::string(1001, '[') + std::string(1001, ']');
    const auto result =
        run({"publish", "t", "--lines"},
            "1\n" + deep + "\n" +
                R"({"type":""})"
                "\n"
                R"({"type":"a","runId":7})"
                "\n"
                R"({"type":"a","createdAt":"yesterday"})"
                "\n2\n");
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_EQ(text(result.last(), "published"), "2");
    EXPECT_EQ(text(result.last(), "failed"), "4");
    EXPECT_THAT(result.err, HasSubstr("line 2: "));
    EXPECT_THAT(result.err, HasSubstr("invalid argument"));
    EXPECT_THAT(result.err, HasSubstr("line 4: "));
    EXPECT_THAT(result.err, HasSubstr("runId"));
    EXPECT_THAT(result.err, HasSubstr("line 5: "));
}

TEST(PublishCommand, RateSpreadsEvents) {
    const auto result = run({"publish", "t", "--count", "5", "--rate", "100"});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_GE(result.last().as_object().at("seconds").to_number<double>(), 0.039);
}

TEST(PublishCommand, SignalEndsItWithASummary) {
    program p({"publish", "t", "--lines"});
    p.write("1\n");
    EXPECT_TRUE(p.wait_for_error("note"));
    p.signal(SIGINT);
    const auto result = p.finish();
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
    EXPECT_EQ(text(result.last(), "failed"), "0");
}

TEST(PublishCommand, ClosedOutputIsAFailureAndNoCrash) {
    program p({"publish", "t", "--lines"});
    p.close_output();
    const auto result = p.finish();
    EXPECT_EQ(result.exit_code, 1) << testing::PrintToString(result);
    EXPECT_THAT(result.err, HasSubstr("standard output"));
}

TEST(PublishCommand, DataComesFromAFile) {
    const auto file = std::filesystem::path(testing::TempDir()) /
                      ("trunkline_cli_data." + std::to_string(::getpid()) + ".json");
    std::ofstream(file) << "{\n  \"a\": [1, 2]\n}\n";
    const auto result = run({"pipe", "t", "--data-file", file.string()});
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
    ASSERT_EQ(result.events().size(), 1U);
    EXPECT_EQ(text(result.events().front(), "data"), R"({"a":[1,2]})");
    std::ofstream(file, std::ios::trunc) << "{\n";
    EXPECT_EQ(run({"pipe", "t", "--data-file", file.string()}).exit_code, 2);
    std::filesystem::remove(file);
}

}  // namespace
