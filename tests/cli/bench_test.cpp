#include "json_matchers.hpp"
#include "program.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <tuple>

namespace {

using cli_test::program;
using cli_test::run;
using cli_test::text;

using bench_case = std::tuple<std::string, std::string, bool>;

std::string name_of(const testing::TestParamInfo<bench_case>& instance) {
    const auto& [shape, dispatch, replay] = instance.param;
    return shape + "_" + dispatch + (replay ? "_replay" : "");
}

class BenchTest : public testing::TestWithParam<bench_case> {};

TEST_P(BenchTest, DeliversWhatIsExpected) {
    const auto& [shape, dispatch, replay] = GetParam();
    for (const std::string in_flight : {"0", "1", "16"}) {
        program::arguments args = {
            "bench",
            "--shape",
            shape,
            "--dispatch",
            dispatch,
            "--events",
            "2000",
            "--in-flight",
            in_flight
        };
        if (replay) args.emplace_back("--replay");
        const auto result = run(args);
        ASSERT_EQ(result.exit_code, 0) << testing::PrintToString(result);
        ASSERT_EQ(result.lines().size(), 1U);
        const auto line = result.last();
        EXPECT_EQ(text(line, "delivered"), shape == "fanout" ? "8000" : "2000");
        EXPECT_EQ(text(line, "expected"), text(line, "delivered"));
        EXPECT_EQ(text(line, "shape"), '"' + shape + '"');
        EXPECT_EQ(text(line, "dispatch"), '"' + dispatch + '"');
        EXPECT_EQ(text(line, "replay"), replay ? "true" : "false");
        EXPECT_EQ(text(line, "subscribers"), shape == "one" ? "1" : "4");
        EXPECT_EQ(text(line, "events"), "2000");
        EXPECT_EQ(text(line, "payload_bytes"), "135");
        EXPECT_EQ(text(line, "in_flight"), in_flight);
        EXPECT_EQ(text(line, "p50_us"), "null");
        EXPECT_EQ(text(line, "p99_us"), "null");
        EXPECT_GT(line.as_object().at("events_per_second").to_number<double>(), 0);
        EXPECT_GE(line.as_object().at("cpu_us_per_event").to_number<double>(), 0);
        EXPECT_GT(line.as_object().at("peak_rss_mb").to_number<double>(), 0);
    }
}

INSTANTIATE_TEST_SUITE_P(
    All,
    BenchTest,
    testing::Combine(
        testing::Values("one", "fanout", "group"),
        testing::Values("inline", "queued"),
        testing::Bool()
    ),
    name_of
);

TEST(BenchCommand, RateGivesLatencies) {
    for (const std::string dispatch : {"inline", "queued"}) {
        const auto result = run(
            {"bench", "--dispatch", dispatch, "--rate", "5000", "--events", "200", "--payload", "64"
            }
        );
        ASSERT_EQ(result.exit_code, 0) << testing::PrintToString(result);
        const auto line = result.last().as_object();
        const auto p50 = line.at("p50_us").to_number<double>();
        EXPECT_GT(p50, 0);
        EXPECT_GE(line.at("p99_us").to_number<double>(), p50);
        EXPECT_LT(line.at("events_per_second").to_number<double>(), 6000);
    }
}

TEST(BenchCommand, ClosedOutputIsAFailure) {
    program p({"bench", "--events", "10"});
    p.close_output();
    EXPECT_EQ(p.finish().exit_code, 1);
}

}  // namespace
