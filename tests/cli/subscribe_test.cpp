#include "program.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <signal.h>

namespace {

using cli_test::program;
using cli_test::run;
using testing::HasSubstr;

class SubscribeSignalTest : public testing::TestWithParam<int> {};

TEST_P(SubscribeSignalTest, EndsItCleanly) {
    program p({"subscribe", "t"});
    ASSERT_TRUE(p.wait_for_error("{\"ready\":true}\n"));
    p.signal(GetParam());
    const auto result = p.finish();
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
    EXPECT_EQ(result.out, "");
}

INSTANTIATE_TEST_SUITE_P(
    Both,
    SubscribeSignalTest,
    testing::Values(SIGINT, SIGTERM),
    [](const auto& instance) { return std::string(instance.param == SIGINT ? "INT" : "TERM"); }
);

TEST(SubscribeCommand, TimeoutGivesThree) {
    const auto result = run({"subscribe", "t", "--count", "1", "--timeout", "0.02"});
    EXPECT_EQ(result.exit_code, 3);
    EXPECT_EQ(result.out, "");
}

TEST(SubscribeCommand, SaysWhenThereIsNothingToReplay) {
    const auto result = run({"subscribe", "t", "--replay", "--timeout", "0.02"});
    EXPECT_EQ(result.exit_code, 3);
    EXPECT_THAT(result.err, HasSubstr("retains nothing"));
}

TEST(SubscribeCommand, TakesEveryFlag) {
    const auto result = run(
        {"subscribe",
         "t",
         "--group",
         "g",
         "--from",
         "earliest",
         "--offset",
         "0",
         "--count",
         "1",
         "--settle",
         "none",
         "--nack-first",
         "2",
         "--hold",
         "5",
         "--timeout",
         "0.02"}
    );
    EXPECT_EQ(result.exit_code, 3) << testing::PrintToString(result);
}

}  // namespace
