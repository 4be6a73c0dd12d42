#include "json_matchers.hpp"
#include "program.hpp"
#include "unix_bus_test.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace {

using cli_test::outcome;
using cli_test::program;
using cli_test::run;
using cli_test::text;
using testing::HasSubstr;

class BenchProcesses : public cli_test::UnixBusTest {
protected:
    outcome bench(program::arguments more) const {
        more.insert(more.begin(), {"bench", "--processes"});
        return run(on_bus(std::move(more)));
    }
    void expect_whole(const outcome& o, int delivered, int processes) const {
        ASSERT_EQ(o.exit_code, 0) << testing::PrintToString(o);
        ASSERT_EQ(o.lines().size(), 1U);
        const auto line = o.last();
        EXPECT_EQ(text(line, "delivered"), std::to_string(delivered));
        EXPECT_EQ(text(line, "expected"), std::to_string(delivered));
        EXPECT_EQ(text(line, "processes"), std::to_string(processes));
        EXPECT_GT(line.as_object().at("events_per_second").to_number<double>(), 0);
        EXPECT_GT(line.as_object().at("cpu_us_per_event").to_number<double>(), 0);
        EXPECT_GT(line.as_object().at("peak_rss_mb").to_number<double>(), 0);
        EXPECT_FALSE(std::filesystem::exists(path())) << "the broker left its socket behind";
    }
};

TEST_F(BenchProcesses, OneSubscriberAndAThirdProcessAsBroker) {
    const auto result = bench({"--events", "2000"});
    expect_whole(result, 2000, 3);
    EXPECT_EQ(text(result.last(), "shape"), "\"one\"");
    EXPECT_EQ(text(result.last(), "broker_in"), "\"third\"");
    EXPECT_EQ(text(result.last(), "confirmed"), "false");
    EXPECT_EQ(text(result.last(), "p50_us"), "null");
}

TEST_F(BenchProcesses, GroupWithThePublisherAsBroker) {
    const auto result = bench(
        {"--events",
         "2000",
         "--shape",
         "group",
         "--subscribers",
         "2",
         "--broker-in",
         "publisher",
         "--in-flight",
         "16"}
    );
    expect_whole(result, 2000, 3);
    EXPECT_EQ(text(result.last(), "broker_in"), "\"publisher\"");
    EXPECT_EQ(text(result.last(), "in_flight"), "16");
}

TEST_F(BenchProcesses, FanoutWithASubscriberAsBroker) {
    const auto result = bench(
        {"--events",
         "400",
         "--shape",
         "fanout",
         "--subscribers",
         "2",
         "--broker-in",
         "subscriber",
         "--confirmed",
         "--in-flight",
         "16",
         "--rate",
         "2000"}
    );
    expect_whole(result, 800, 3);
    EXPECT_EQ(text(result.last(), "confirmed"), "true");
    const auto line = result.last().as_object();
    const auto p50 = line.at("p50_us").to_number<double>();
    EXPECT_GT(p50, 0);
    EXPECT_GE(line.at("p99_us").to_number<double>(), p50);
    EXPECT_LT(line.at("events_per_second").to_number<double>(), 2400);
}

TEST_F(BenchProcesses, WantsABusOfItsOwn) {
    program broker(on_bus({"broker"}));
    ASSERT_TRUE(broker.wait_for_output("\"broker\""));
    const auto result = bench({"--events", "10"});
    EXPECT_EQ(result.exit_code, 1) << testing::PrintToString(result);
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, HasSubstr("a bus of its own"));
}

TEST_F(BenchProcesses, WorkerDoesWhatItIsTold) {
    program subscriber(on_bus({"bench", "--role", "subscriber", "--events", "10"}));
    ASSERT_TRUE(subscriber.wait_for_output("\"role\":\"broker\""));
    subscriber.write("begin\ncount\nend\n");
    const auto result = subscriber.finish();
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
    ASSERT_EQ(result.lines().size(), 4U);
    EXPECT_EQ(text(result.lines()[2], "delivered"), "0");
    EXPECT_EQ(text(result.last(), "latencies_ns"), "[]");
    const auto confused = run(on_bus({"bench", "--role", "broker"}), "send\n");
    EXPECT_EQ(confused.exit_code, 2);
    EXPECT_THAT(confused.err, HasSubstr("cannot do \"send\""));
    // Whoever leads it has gone.
    EXPECT_EQ(run(on_bus({"bench", "--role", "broker"})).exit_code, 1);
}

TEST_F(BenchProcesses, OneProcessMayBeTheWholeBus) {
    for (const std::string shape : {"one", "group"}) {
        const auto result = run(on_bus({"bench", "--events", "2000", "--shape", shape}));
        expect_whole(result, 2000, 1);
        EXPECT_EQ(text(result.last(), "broker_in"), "null");
        EXPECT_EQ(text(result.last(), "dispatch"), "\"queued\"");
    }
}

}  // namespace
