#include "json_matchers.hpp"
#include "program.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace {

using cli_test::run;
using cli_test::run_with;
using testing::HasSubstr;

// Every one is wrong usage: exit code 2, nothing on standard output, and a text that names it.
struct wrong_usage {
    const char* name;
    cli_test::program::arguments args;
    const char* names;
};

void PrintTo(const wrong_usage& w, std::ostream* to) {
    *to << w.name;
}

class WrongUsageTest : public testing::TestWithParam<wrong_usage> {};

TEST_P(WrongUsageTest, IsNamedAndGivesTwo) {
    const auto result = run(GetParam().args);
    EXPECT_EQ(result.exit_code, 2) << testing::PrintToString(result);
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, HasSubstr(GetParam().names));
}

std::string nested(std::size_t levels) {
    return std::string(levels, '[') + std::string(levels, ']');
}

INSTANTIATE_TEST_SUITE_P(
    All,
    WrongUsageTest,
    testing::Values(
        wrong_usage{"NoCommand", {}, "which command"},
        wrong_usage{"UnknownCommand", {"shout"}, "shout"},
        wrong_usage{"UnknownFlag", {"publish", "t", "--loud"}, "--loud"},
        wrong_usage{"NoTopic", {"publish"}, "TOPIC"},
        wrong_usage{"PublishEmptyTopic", {"publish", ""}, "topic is empty"},
        wrong_usage{"SubscribeEmptyTopic", {"subscribe", ""}, "topic is empty"},
        wrong_usage{"PipeEmptyTopic", {"pipe", ""}, "topic is empty"},
        wrong_usage{
            "PublishLongTopic", {"publish", std::string(65536, 't')}, "longer than 65,535 bytes"
        },
        wrong_usage{
            "SubscribeLongTopic", {"subscribe", std::string(65536, 't')}, "longer than 65,535 bytes"
        },
        wrong_usage{"PublishTopicNotUtf8", {"publish", "a\xff"}, "topic is not UTF-8"},
        wrong_usage{"SubscribeTopicNotUtf8", {"subscribe", "\xc0\xaf"}, "topic is not UTF-8"},
        wrong_usage{"EmptyType", {"publish", "t", "--type", ""}, "--type is empty"},
        wrong_usage{"TypeNotUtf8", {"publish", "t", "--type", "\xff"}, "--type is not UTF-8"},
        wrong_usage{"EmptyRunId", {"publish", "t", "--run-id", ""}, "--run-id is empty"},
        wrong_usage{"EmptyGroup", {"subscribe", "t", "--group", ""}, "--group is empty"},
        wrong_usage{"GroupNotUtf8", {"pipe", "t", "--group", "\xed\xa0\x80"}, "not UTF-8"},
        wrong_usage{"BadJson", {"publish", "t", "--data", "{"}, "--data: not JSON"},
        wrong_usage{"TwoValues", {"publish", "t", "--data", "1 2"}, "at byte"},
        wrong_usage{
            "DeepData", {"publish", "t", "--data", nested(1001)}, "deeper than 1000 levels"
        },
        wrong_usage{
            "NoSuchFile", {"publish", "t", "--data-file", "/nonexistent/file"}, "/nonexistent/file"
        },
        wrong_usage{"TwoSources", {"publish", "t", "--data", "1", "--lines"}, "--lines"},
        wrong_usage{"CountZero", {"publish", "t", "--count", "0"}, "--count"},
        wrong_usage{"CountNegative", {"publish", "t", "--count=-1"}, "--count"},
        wrong_usage{"RateZero", {"publish", "t", "--rate", "0"}, "--rate"},
        wrong_usage{"RateNoNumber", {"publish", "t", "--rate", "fast"}, "--rate"},
        wrong_usage{"UnknownScheme", {"publish", "t", "--bus", "carrier:pigeon"}, "carrier"},
        wrong_usage{"NoUrl", {"publish", "t", "--bus", "memory"}, "memory"},
        wrong_usage{"UnknownOption", {"publish", "t", "--bus", "memory:?color=red"}, "color"},
        wrong_usage{
            "OptionOutOfRange", {"subscribe", "t", "--bus", "memory:?dispatch=slow"}, "dispatch"
        },
        wrong_usage{"LogLevel", {"publish", "t", "--log-level", "loud"}, "loud"},
        wrong_usage{"Settle", {"subscribe", "t", "--settle", "maybe"}, "--settle"},
        wrong_usage{"From", {"subscribe", "t", "--from", "middle"}, "--from"},
        wrong_usage{"ReplayAndOffset", {"subscribe", "t", "--replay", "--offset", "1"}, "--offset"},
        wrong_usage{"OffsetNegative", {"subscribe", "t", "--offset=-1"}, "--offset"},
        wrong_usage{"NackNegative", {"subscribe", "t", "--nack-first=-1"}, "--nack-first"},
        wrong_usage{"HoldNegative", {"subscribe", "t", "--hold=-1"}, "--hold"},
        wrong_usage{"TimeoutZero", {"subscribe", "t", "--timeout", "0"}, "--timeout"},
        wrong_usage{"BenchShape", {"bench", "--shape", "ring"}, "--shape"},
        wrong_usage{"BenchOneOfMany", {"bench", "--subscribers", "2"}, "--subscribers"},
        wrong_usage{"BenchNobody", {"bench", "--shape", "fanout", "--subscribers", "0"}, "--subsc"},
        wrong_usage{"BenchTinyPayload", {"bench", "--payload", "5"}, "--payload"},
        wrong_usage{"BenchProcesses", {"bench", "--processes"}, "bus across processes"},
        wrong_usage{"BenchRole", {"bench", "--role", "publisher"}, "bus across processes"},
        wrong_usage{"BenchBrokerInOneProcess", {"bench", "--broker-in", "third"}, "--processes"},
        wrong_usage{"BenchUnknownBroker", {"bench", "--processes", "--broker-in", "me"}, "me"},
        wrong_usage{
            "BenchReplayOfProcesses",
            {"bench", "--processes", "--bus", "unix:/nonexistent/bus.sock?replay=1"},
            "history of its own"
        },
        wrong_usage{"BrokerInMemory", {"broker", "--bus", "memory:"}, "bus across processes"},
        wrong_usage{"DoctorInMemory", {"doctor", "--bus", "memory:"}, "bus across processes"},
        wrong_usage{"DoctorOption", {"doctor", "--bus", "unix:/nonexistent/b?color=1"}, "color"},
        wrong_usage{"LeaseNoVerb", {"lease"}, "VERB"},
        wrong_usage{"LeaseNoKey", {"lease", "acquire"}, "KEY"},
        wrong_usage{"LeaseVerb", {"lease", "borrow", "k"}, "borrow"},
        wrong_usage{"LeaseEmptyKey", {"lease", "acquire", ""}, "KEY is empty"},
        wrong_usage{"LeaseEmptyOwner", {"lease", "acquire", "k", "--owner", ""}, "--owner"},
        wrong_usage{"LeaseTtl", {"lease", "acquire", "k", "--ttl", "0"}, "--ttl"},
        wrong_usage{"LeaseToNobody", {"lease", "transfer", "k"}, "--to"},
        wrong_usage{"LeaseToSomebody", {"lease", "renew", "k", "--to", "x"}, "--to"},
        wrong_usage{"LeaseHold", {"lease", "renew", "k", "--hold"}, "--hold"},
        wrong_usage{"BenchUnknownRole", {"bench", "--role", "king"}, "--role"},
        wrong_usage{
            "BenchDispatchTwice",
            {"bench", "--dispatch", "inline", "--bus", "memory:?dispatch=queued"},
            "--dispatch"
        }
    ),
    [](const auto& instance) { return std::string(instance.param.name); }
);

class HelpTest : public testing::TestWithParam<const char*> {};

TEST_P(HelpTest, ShowsFlagsAndGivesZero) {
    const std::string name = GetParam();
    const auto result = name.empty() ? run({"--help"}) : run({name, "--help"});
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_EQ(result.err, "");
    EXPECT_THAT(result.out, HasSubstr("--help"));
    if (name != "version") {
        EXPECT_THAT(result.out, HasSubstr("--bus"));
        EXPECT_THAT(result.out, HasSubstr("TRUNKLINE_BUS"));
    }
}

INSTANTIATE_TEST_SUITE_P(
    All,
    HelpTest,
    testing::Values(
        "", "publish", "subscribe", "pipe", "broker", "lease", "doctor", "bench", "version"
    ),
    [](const auto& instance) {
        return *instance.param == '\0' ? std::string("program") : std::string(instance.param);
    }
);

TEST(VersionCommand, NamesVersionCompilerAndBackends) {
    const auto result = run({"version", "--json"});
    EXPECT_EQ(result.exit_code, 0);
    ASSERT_EQ(result.lines().size(), 1U);
    const auto line = result.last().as_object();
    EXPECT_THAT(cli_test::text(line, "version"), testing::MatchesRegex("\"[0-9.]+\""));
    EXPECT_THAT(cli_test::text(line, "compiler"), testing::MatchesRegex("\"(clang|gcc) [0-9.]+\""));
    EXPECT_THAT(cli_test::text(line, "backends"), HasSubstr("event_emitter_pubsub"));
}

TEST(VersionCommand, IsForPeopleWithoutJson) {
    EXPECT_THAT(run({"version"}).out, testing::StartsWith("trunkline "));
    EXPECT_THAT(run({"--version"}).out, testing::StartsWith("trunkline "));
}

TEST(CommonOptions, EnvironmentNamesTheBus) {
    const auto bad = run_with({"publish", "t"}, {"TRUNKLINE_BUS=carrier:pigeon"});
    EXPECT_EQ(bad.exit_code, 2);
    EXPECT_THAT(bad.err, HasSubstr("carrier"));
    const auto replaying = run_with(
        {"pipe", "t", "--data", "1", "--publish-first", "--replay"},
        {"TRUNKLINE_BUS=memory:?replay=1"}
    );
    EXPECT_EQ(replaying.exit_code, 0) << testing::PrintToString(replaying);
    EXPECT_EQ(replaying.events().size(), 1U);
}

TEST(CommonOptions, FlagBeatsEnvironmentAndMayStandBeforeTheCommand) {
    const cli_test::program::arguments environment = {"TRUNKLINE_BUS=carrier:pigeon"};
    EXPECT_EQ(run_with({"publish", "t", "--bus", "memory:"}, environment).exit_code, 0);
    EXPECT_EQ(run_with({"--bus", "memory:", "publish", "t"}, environment).exit_code, 0);
    EXPECT_EQ(run_with({"pipe", "t"}, {"TRUNKLINE_BUS="}).exit_code, 0);
    EXPECT_EQ(run({"--bus", "carrier:", "publish", "t", "--bus", "memory:"}).exit_code, 0);
}

}  // namespace
