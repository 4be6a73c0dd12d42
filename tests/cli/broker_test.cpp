#include "json_matchers.hpp"
#include "program.hpp"
#include "unix_bus_test.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <signal.h>
#include <string>

namespace {

using cli_test::program;
using cli_test::run;
using cli_test::texts;
using testing::ElementsAre;
using testing::HasSubstr;

class BrokerCommand : public cli_test::UnixBusTest {};

TEST_F(BrokerCommand, FirstIsBrokerAndTheNextFollowsIt) {
    program first(on_bus({"broker"}));
    ASSERT_TRUE(first.wait_for_output("\"role\":\"broker\""));
    program second(on_bus({"broker"}));
    ASSERT_TRUE(second.wait_for_output("\"role\":\"client\""));
    const auto first_pid = std::to_string(first.pid());
    first.signal(SIGTERM);
    const auto of_first = first.finish();
    EXPECT_EQ(of_first.exit_code, 0) << testing::PrintToString(of_first);
    EXPECT_THAT(texts(of_first.lines(), "role"), ElementsAre("\"broker\"", "\"none\""));
    EXPECT_THAT(texts(of_first.lines(), "pid"), testing::Each(first_pid));
    EXPECT_THAT(texts(of_first.lines(), "path"), testing::Each('"' + path() + '"'));
    ASSERT_TRUE(second.wait_for_output("\"role\":\"broker\""));
    second.signal(SIGINT);
    const auto of_second = second.finish();
    EXPECT_EQ(of_second.exit_code, 0) << testing::PrintToString(of_second);
    auto roles = texts(of_second.lines(), "role");
    // Between the two it may have been seen without a broker.
    if (roles.size() == 4) roles.erase(roles.begin() + 1);
    EXPECT_THAT(roles, ElementsAre("\"client\"", "\"broker\"", "\"none\""));
}

TEST_F(BrokerCommand, TakesOverWhenTheBrokerIsKilled) {
    program first(on_bus({"broker"}));
    ASSERT_TRUE(first.wait_for_output("\"role\":\"broker\""));
    program second(on_bus({"broker"}));
    ASSERT_TRUE(second.wait_for_output("\"role\":\"client\""));
    first.signal(SIGKILL);
    EXPECT_EQ(first.finish().exit_code, 1000 + SIGKILL);
    ASSERT_TRUE(second.wait_for_output("\"role\":\"broker\""));
    EXPECT_THAT(broker_line(), HasSubstr("process " + std::to_string(second.pid()) + " "));
}

TEST_F(BrokerCommand, LeavesNoSocketBehind) {
    program broker(on_bus({"broker"}));
    ASSERT_TRUE(broker.wait_for_output("\"role\":\"broker\""));
    broker.signal(SIGTERM);
    EXPECT_EQ(broker.finish().exit_code, 0);
    EXPECT_THAT(run(on_bus({"doctor"})).out, HasSubstr("nobody is on this bus"));
}

TEST_F(BrokerCommand, OnceLeavesAfterJoining) {
    const auto alone = run(on_bus({"broker", "--once"}));
    EXPECT_EQ(alone.exit_code, 0) << testing::PrintToString(alone);
    EXPECT_THAT(texts(alone.lines(), "role"), ElementsAre("\"broker\"", "\"none\""));
}

TEST_F(BrokerCommand, ReplayInTheUrlIsOthersBusiness) {
    const auto result = run({"broker", "--once", "--bus", url() + "?replay=1&maxEvents=10"});
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
    EXPECT_THAT(texts(result.lines(), "role"), ElementsAre("\"broker\"", "\"none\""));
}

TEST_F(BrokerCommand, UnreachablePathIsAFailure) {
    const auto result = run({"broker", "--bus", "unix:/proc/nowhere/bus.sock"});
    EXPECT_EQ(result.exit_code, 1) << testing::PrintToString(result);
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, HasSubstr("cannot join /proc/nowhere/bus.sock"));
}

TEST_F(BrokerCommand, ClosedOutputIsAFailureAndNoCrash) {
    program broker(on_bus({"broker"}));
    broker.close_output();
    EXPECT_EQ(broker.finish().exit_code, 1);
}

}  // namespace
