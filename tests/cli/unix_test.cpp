#include "json_matchers.hpp"
#include "program.hpp"
#include "unix_bus_test.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <signal.h>
#include <string>
#include <unistd.h>

namespace {

using cli_test::program;
using cli_test::run;
using cli_test::run_with;
using cli_test::text;
using cli_test::texts;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr const char* ready = "{\"ready\":true}\n";

std::string numbers(int from, int to) {
    std::string lines;
    for (int i = from; i < to; ++i) lines += std::to_string(i) + '\n';
    return lines;
}

std::vector<std::string> number_texts(int from, int to) {
    std::vector<std::string> result;
    for (int i = from; i < to; ++i) result.push_back(std::to_string(i));
    return result;
}

std::ptrdiff_t lines_in(const std::string& output) {
    return std::count(output.begin(), output.end(), '\n');
}

class UnixCommands : public cli_test::UnixBusTest {};

TEST_F(UnixCommands, PublishReachesSubscribeInAnotherProcess) {
    program listener(on_bus({"subscribe", "t", "--count", "500"}));
    ASSERT_TRUE(listener.wait_for_error(ready));
    const auto sent = run(on_bus({"publish", "t", "--lines"}), numbers(0, 500));
    EXPECT_EQ(sent.exit_code, 0) << testing::PrintToString(sent);
    EXPECT_EQ(text(sent.last(), "published"), "500");
    EXPECT_THAT(sent.err, Not(HasSubstr("no other process")));
    const auto heard = listener.finish();
    EXPECT_EQ(heard.exit_code, 0) << heard.err;
    EXPECT_EQ(texts(heard.events(), "data"), number_texts(0, 500));
    EXPECT_EQ(text(heard.events().front(), "topic"), "\"t\"");
}

TEST_F(UnixCommands, EverySubscriberHearsEverything) {
    program first(on_bus({"subscribe", "t", "--count", "20"}));
    program second(on_bus({"subscribe", "t", "--count", "20"}));
    ASSERT_TRUE(first.wait_for_error(ready));
    ASSERT_TRUE(second.wait_for_error(ready));
    EXPECT_EQ(run(on_bus({"publish", "t", "--data", "1", "--count", "20"})).exit_code, 0);
    EXPECT_EQ(first.finish().events().size(), 20U);
    EXPECT_EQ(second.finish().events().size(), 20U);
}

// Nothing that was accepted may stay behind when the broker itself is what ends.
TEST_F(UnixCommands, PublisherThatIsTheBrokerEndsAfterItsLastEvent) {
    program publisher(on_bus({"publish", "t", "--lines"}));
    publisher.write("0\n");
    for (int i = 0; broker_line().empty(); ++i) {
        publisher.seen();  // moves its input, too
        ASSERT_LT(i, 1000);
    }
    EXPECT_THAT(broker_line(), HasSubstr("process " + std::to_string(publisher.pid()) + " "));
    program listener(on_bus({"subscribe", "t", "--count", "2000"}));
    ASSERT_TRUE(listener.wait_for_error(ready));
    publisher.write(numbers(0, 2000));
    const auto sent = publisher.finish();
    EXPECT_EQ(sent.exit_code, 0) << testing::PrintToString(sent);
    EXPECT_EQ(text(sent.last(), "published"), "2001");
    EXPECT_EQ(texts(listener.finish().events(), "data"), number_texts(0, 2000));
}

TEST_F(UnixCommands, GroupIsSharedByTwoProcesses) {
    program first(on_bus({"subscribe", "t", "--group", "g"}));
    program second(on_bus({"subscribe", "t", "--group", "g"}));
    ASSERT_TRUE(first.wait_for_error(ready));
    ASSERT_TRUE(second.wait_for_error(ready));
    const auto sent = run(on_bus({"publish", "t", "--lines"}), numbers(1000, 1400));
    EXPECT_EQ(sent.exit_code, 0) << testing::PrintToString(sent);
    ASSERT_TRUE(cli_test::wait_for({&first, &second}, [&] {
        return lines_in(first.seen().out) + lines_in(second.seen().out) >= 400;
    }));
    first.signal(SIGTERM);
    second.signal(SIGTERM);
    const auto of_first = first.finish();
    const auto of_second = second.finish();
    EXPECT_EQ(of_first.exit_code, 0);
    EXPECT_EQ(of_second.exit_code, 0);
    auto all = texts(of_first.events(), "data");
    const auto rest = texts(of_second.events(), "data");
    EXPECT_GT(all.size(), 0U);
    EXPECT_GT(rest.size(), 0U);
    all.insert(all.end(), rest.begin(), rest.end());
    std::sort(all.begin(), all.end());
    EXPECT_EQ(all, number_texts(1000, 1400));
}

TEST_F(UnixCommands, NackInAGroupBringsTheNextAttempt) {
    program listener(on_bus({"subscribe", "t", "--group", "g", "--nack-first", "1", "--count", "2"})
    );
    ASSERT_TRUE(listener.wait_for_error(ready));
    EXPECT_EQ(run(on_bus({"publish", "t", "--data", "1"})).exit_code, 0);
    EXPECT_THAT(texts(listener.finish().events(), "deliveryAttempt"), ElementsAre("1", "2"));
}

TEST_F(UnixCommands, SurvivorsGoOnWhenTheBrokerIsKilled) {
    program broker(on_bus({"broker"}));
    ASSERT_TRUE(broker.wait_for_output("\"broker\""));
    program listener(on_bus({"subscribe", "t"}));
    ASSERT_TRUE(listener.wait_for_error(ready));
    program publisher(on_bus({"publish", "t", "--lines", "--confirmed"}));
    publisher.write("1\n");
    const auto heard_first = [&] {
        return listener.seen().out.find("\"data\":1,") != std::string::npos;
    };
    ASSERT_TRUE(cli_test::wait_for({&listener, &publisher}, heard_first));

    broker.signal(SIGKILL);
    EXPECT_EQ(broker.finish().exit_code, 1000 + SIGKILL);
    // The listener is back when it hears something; until then events reach nobody.
    for (int i = 0; listener.seen().out.find("\"back\"") == std::string::npos; ++i) {
        ASSERT_LT(i, 1000);
        ASSERT_EQ(run(on_bus({"publish", "t", "--data", "\"back\"", "--confirmed"})).exit_code, 0);
    }
    publisher.write(numbers(100, 200));
    const auto sent = publisher.finish();
    EXPECT_EQ(sent.exit_code, 0) << testing::PrintToString(sent);
    EXPECT_EQ(text(sent.last(), "published"), "101");
    ASSERT_TRUE(listener.wait_for_output("\"data\":199,"));
    listener.signal(SIGTERM);
    const auto heard = listener.finish();
    EXPECT_EQ(heard.exit_code, 0) << heard.err;
    auto data = texts(heard.events(), "data");
    std::erase(data, "\"back\"");
    auto expected = number_texts(100, 200);
    expected.insert(expected.begin(), "1");
    EXPECT_EQ(data, expected);
}

TEST_F(UnixCommands, UnreachableBusIsAFailure) {
    const std::string nowhere = "unix:/proc/nowhere/bus.sock?connectTimeoutMs=200";
    const auto sent = run({"publish", "t", "--count", "3", "--bus", nowhere});
    EXPECT_EQ(sent.exit_code, 1) << testing::PrintToString(sent);
    EXPECT_EQ(text(sent.last(), "published"), "0");
    EXPECT_EQ(text(sent.last(), "failed"), "3");
    EXPECT_THAT(sent.err, HasSubstr("publish failed"));
    EXPECT_EQ(run({"subscribe", "t", "--bus", nowhere}).exit_code, 1);
}

TEST_F(UnixCommands, UserHasABusOfItsOwn) {
    const program::arguments environment = {"TRUNKLINE_BUS=", "XDG_RUNTIME_DIR=" + folder().path()};
    program listener({"subscribe", "t", "--count", "1"}, environment);
    ASSERT_TRUE(listener.wait_for_error(ready));
    EXPECT_TRUE(std::filesystem::is_socket(folder().file("trunkline/bus.sock")));
    EXPECT_EQ(run_with({"publish", "t", "--data", "1"}, environment).exit_code, 0);
    const auto heard = listener.finish();
    EXPECT_EQ(heard.events().size(), 1U);
    EXPECT_EQ(heard.err, ready);
}

TEST_F(UnixCommands, RuntimeDirectoryMayHaveAnyName) {
    const auto odd = folder().file("a b?%41#");
    std::filesystem::create_directory(odd);
    const auto result =
        run_with({"doctor", "--json"}, {"TRUNKLINE_BUS=", "XDG_RUNTIME_DIR=" + odd + "/"});
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
    EXPECT_EQ(result.last().as_object().at("path").as_string(), odd + "/trunkline/bus.sock");
}

TEST_F(UnixCommands, WithoutRuntimeDirectoryTheBusIsInTmp) {
    const auto expected = "/tmp/trunkline-" + std::to_string(::getuid()) + "/bus.sock";
    for (const std::string runtime : {"", "/nonexistent", "relative"}) {
        const auto result =
            run_with({"doctor", "--json"}, {"TRUNKLINE_BUS=", "XDG_RUNTIME_DIR=" + runtime});
        EXPECT_EQ(result.last().as_object().at("path").as_string(), expected) << runtime;
    }
}

TEST_F(UnixCommands, PipeAndBenchStayInTheirProcess) {
    const program::arguments environment = {"TRUNKLINE_BUS=", "XDG_RUNTIME_DIR=" + folder().path()};
    EXPECT_EQ(run_with({"pipe", "t"}, environment).exit_code, 0);
    EXPECT_EQ(run_with({"bench", "--events", "10"}, environment).exit_code, 0);
    EXPECT_TRUE(std::filesystem::is_empty(folder().path()));
    for (const auto* command : {"pipe", "bench"})
        EXPECT_THAT(run({command, "--help"}).out, HasSubstr("else memory:]")) << command;
    EXPECT_THAT(run({"publish", "--help"}).out, HasSubstr("$XDG_RUNTIME_DIR/trunkline/bus.sock"));
}

}  // namespace
