#include "json_matchers.hpp"
#include "program.hpp"
#include "support/raw_peer.hpp"
#include "unix_bus_test.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <map>
#include <signal.h>
#include <string>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

using cli_test::outcome;
using cli_test::program;
using cli_test::run;
using cli_test::text;
using testing::ElementsAre;
using testing::HasSubstr;
using trunkline::tests::raw_peer;

void make_file(const std::string& path) {
    std::ofstream(path) << "";
}

// As if it had been there for an hour.
void make_old(const std::string& path) {
    timespec times[2] = {{0, UTIME_NOW}, {0, 0}};
    struct stat info{};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    constexpr auto hour = 3600;
    times[1].tv_sec = info.st_mtim.tv_sec - hour;
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
}

bool exists(const std::string& path) {
    return std::filesystem::exists(std::filesystem::symlink_status(path));
}

class DoctorCommand : public cli_test::UnixBusTest {
protected:
    outcome examine(program::arguments more = {}) const {
        more.insert(more.begin(), {"doctor", "--json"});
        return run(on_bus(std::move(more)));
    }
    // A new broker may still be putting the files of its election away.
    void wait_for_quiet_broker() const {
        for (int i = 0; kinds(examine()) != std::vector<std::string>{"\"broker\""}; ++i)
            ASSERT_LT(i, 1000);
    }
    static std::vector<std::string> kinds(const outcome& o) { return member(o, "kind"); }
    static std::vector<std::string> member(const outcome& o, std::string_view name) {
        const auto line = o.last();
        const auto& list = line.as_object().at("findings").as_array();
        return cli_test::texts({list.begin(), list.end()}, name);
    }
};

TEST_F(DoctorCommand, NobodyOnTheBusIsHealthy) {
    const auto result = examine();
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
    EXPECT_EQ(text(result.last(), "healthy"), "true");
    EXPECT_EQ(text(result.last(), "path"), '"' + path() + '"');
    EXPECT_THAT(kinds(result), ElementsAre("\"no_broker\""));
    EXPECT_THAT(member(result, "severity"), ElementsAre("\"info\""));
    EXPECT_THAT(member(result, "fix"), ElementsAre("null"));
    const auto missing = run({"doctor", "--bus", "unix:" + folder().file("no/such/bus.sock")});
    EXPECT_EQ(missing.exit_code, 0) << testing::PrintToString(missing);
}

TEST_F(DoctorCommand, NamesTheBrokerAndDisturbsNobody) {
    program listener(on_bus({"subscribe", "t", "--count", "1", "--log-level", "info"}));
    ASSERT_TRUE(listener.wait_for_error("{\"ready\":true}"));
    wait_for_quiet_broker();
    for (int i = 0; i < 3; ++i) {
        const auto result = examine();
        EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
        EXPECT_THAT(kinds(result), ElementsAre("\"broker\""));
        EXPECT_THAT(result.out, HasSubstr("process " + std::to_string(listener.pid()) + " of"));
    }
    EXPECT_EQ(examine({"--fix"}).exit_code, 0);
    EXPECT_EQ(run(on_bus({"publish", "t", "--data", "1"})).exit_code, 0);
    const auto heard = listener.finish();
    EXPECT_EQ(heard.events().size(), 1U);
    EXPECT_THAT(heard.err, testing::Not(HasSubstr("warn")));
}

TEST_F(DoctorCommand, FindsAndRemovesTheSocketOfAKilledBroker) {
    program broker(on_bus({"broker"}));
    ASSERT_TRUE(broker.wait_for_output("\"broker\""));
    wait_for_quiet_broker();
    broker.signal(SIGKILL);
    EXPECT_EQ(broker.finish().exit_code, 1000 + SIGKILL);

    const auto found = examine();
    EXPECT_EQ(found.exit_code, 1) << testing::PrintToString(found);
    EXPECT_EQ(text(found.last(), "healthy"), "false");
    EXPECT_THAT(kinds(found), ElementsAre("\"stale_socket\""));
    EXPECT_THAT(member(found, "severity"), ElementsAre("\"error\""));
    EXPECT_THAT(member(found, "fix"), ElementsAre("\"remove " + path() + '"'));
    EXPECT_TRUE(exists(path()));

    const auto fixed = examine({"--fix"});
    EXPECT_EQ(fixed.exit_code, 0) << testing::PrintToString(fixed);
    EXPECT_THAT(member(fixed, "fixed"), ElementsAre("true"));
    EXPECT_FALSE(exists(path()));
    EXPECT_FALSE(exists(path() + ".elect"));
    EXPECT_THAT(kinds(examine()), ElementsAre("\"no_broker\""));
}

TEST_F(DoctorCommand, LeavesAStaleSocketToARunningElection) {
    raw_peer::listen_and_leave(path());
    ASSERT_EQ(::chmod(path().c_str(), 0600), 0);
    const int guard = ::open((path() + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ASSERT_EQ(::flock(guard, LOCK_EX | LOCK_NB), 0);
    const auto result = examine({"--fix"});
    EXPECT_EQ(result.exit_code, 1) << testing::PrintToString(result);
    EXPECT_THAT(kinds(result), ElementsAre("\"election\"", "\"stale_socket\""));
    EXPECT_THAT(member(result, "fixed"), ElementsAre("false", "false"));
    EXPECT_TRUE(exists(path()));
    ::close(guard);
    EXPECT_EQ(examine({"--fix"}).exit_code, 0);
    EXPECT_FALSE(exists(path()));
}

TEST_F(DoctorCommand, ElectionFileIsStaleWhenItIsOld) {
    make_file(path() + ".elect");
    const auto fresh = examine({"--fix"});
    EXPECT_EQ(fresh.exit_code, 0) << testing::PrintToString(fresh);
    EXPECT_THAT(kinds(fresh), ElementsAre("\"election\"", "\"no_broker\""));
    EXPECT_TRUE(exists(path() + ".elect"));

    make_old(path() + ".elect");
    const auto old = examine();
    EXPECT_EQ(old.exit_code, 1);
    EXPECT_THAT(kinds(old), ElementsAre("\"stale_elect\"", "\"no_broker\""));
    EXPECT_TRUE(exists(path() + ".elect"));
    EXPECT_EQ(examine({"--fix"}).exit_code, 0);
    EXPECT_FALSE(exists(path() + ".elect"));
}

TEST_F(DoctorCommand, RepairsSeveralThingsAtOnce) {
    raw_peer::listen_and_leave(path());
    ASSERT_EQ(::chmod(path().c_str(), 0600), 0);
    raw_peer::listen_and_leave(folder().file(".1a2b.tmp"));
    make_file(path() + ".elect");
    make_old(path() + ".elect");
    make_old(folder().file(".1a2b.tmp"));
    const auto fixed = examine({"--fix"});
    EXPECT_EQ(fixed.exit_code, 0) << testing::PrintToString(fixed);
    EXPECT_THAT(
        kinds(fixed), ElementsAre("\"stale_elect\"", "\"stale_socket\"", "\"stale_temporary\"")
    );
    EXPECT_THAT(member(fixed, "fixed"), testing::Each("true"));
    EXPECT_THAT(kinds(examine()), ElementsAre("\"no_broker\""));
}

TEST_F(DoctorCommand, FindsAndRemovesTheLeaseOfAKilledProcess) {
    program holder(on_bus({"lease", "acquire", "k", "--hold"}));
    ASSERT_TRUE(holder.wait_for_output("\"acquired\":true"));
    const std::vector<std::string> nobody{"\"no_broker\""};
    EXPECT_EQ(kinds(examine()), nobody) << "a lease that is held is not stale";
    holder.signal(SIGKILL);
    holder.finish();
    const auto found = examine();
    EXPECT_EQ(found.exit_code, 1);
    EXPECT_THAT(
        kinds(found), ElementsAre("\"no_broker\"", "\"stale_lease\"", "\"stale_lease_process\"")
    );
    const auto fixed = examine({"--fix"});
    EXPECT_EQ(fixed.exit_code, 0) << testing::PrintToString(fixed);
    EXPECT_THAT(member(fixed, "fixed"), ElementsAre("false", "true", "true"));
    EXPECT_EQ(kinds(examine()), nobody);
}

TEST_F(DoctorCommand, TemporarySocketsOfTheLivingAreLeftAlone) {
    const auto living = raw_peer::listening(folder().file(".aa.tmp"));
    raw_peer::listen_and_leave(folder().file(".bb.tmp"));  // new: somebody is about to listen
    raw_peer::listen_and_leave(folder().file(".other.tmp"));
    make_file(folder().file(".cc.tmp"));
    make_old(folder().file(".aa.tmp"));
    make_old(folder().file(".other.tmp"));
    make_old(folder().file(".cc.tmp"));
    const auto result = examine({"--fix"});
    EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
    EXPECT_THAT(kinds(result), ElementsAre("\"no_broker\""));
}

TEST_F(DoctorCommand, WideModesAreWarnings) {
    program broker(on_bus({"broker"}));
    ASSERT_TRUE(broker.wait_for_output("\"broker\""));
    wait_for_quiet_broker();
    ASSERT_EQ(::chmod(folder().path().c_str(), 0755), 0);
    ASSERT_EQ(::chmod(path().c_str(), 0666), 0);
    const auto result = examine({"--fix"});
    EXPECT_EQ(result.exit_code, 1) << testing::PrintToString(result);
    EXPECT_THAT(kinds(result), ElementsAre("\"directory_mode\"", "\"broker\"", "\"socket_mode\""));
    EXPECT_THAT(member(result, "severity"), ElementsAre("\"warning\"", "\"info\"", "\"warning\""));
    EXPECT_THAT(result.out, HasSubstr("chmod 0600 " + path()));

    ASSERT_EQ(::chmod(folder().path().c_str(), 0750), 0);
    ASSERT_EQ(::chmod(path().c_str(), 0660), 0);
    EXPECT_EQ(examine().exit_code, 1);
    const auto shared = run({"doctor", "--bus", url() + "?groupId=" + std::to_string(::getgid())});
    EXPECT_EQ(shared.exit_code, 0) << testing::PrintToString(shared);
}

TEST_F(DoctorCommand, LongPathIsAWarning) {
    const auto name = std::string(107 - folder().path().size() - 1, 'p');
    const auto longest = folder().file(name);
    ASSERT_EQ(longest.size(), 107U);
    EXPECT_EQ(run({"doctor", "--bus", "unix:" + longest}).exit_code, 0);
    const auto result = run({"doctor", "--json", "--bus", "unix:" + longest + "q"});
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(kinds(result), ElementsAre("\"path_length\"", "\"no_broker\""));
}

TEST_F(DoctorCommand, WhatIsNoSocketIsNotTouched) {
    make_file(path());
    const auto result = examine({"--fix"});
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(kinds(result), ElementsAre("\"not_a_socket\""));
    EXPECT_TRUE(exists(path()));
}

TEST_F(DoctorCommand, TextIsForPeople) {
    raw_peer::listen_and_leave(path());
    ASSERT_EQ(::chmod(path().c_str(), 0600), 0);
    const auto result = run(on_bus({"doctor"}));
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.out, testing::StartsWith("error: nobody listens at " + path()));
    EXPECT_THAT(result.out, HasSubstr("\n  to do: remove " + path() + "\n"));
    EXPECT_THAT(run(on_bus({"doctor", "--fix"})).out, HasSubstr("\n  fixed\n"));
    EXPECT_THAT(run(on_bus({"doctor"})).out, testing::EndsWith(path() + ": healthy\n"));
}

}  // namespace
