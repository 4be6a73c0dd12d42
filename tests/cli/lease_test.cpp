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
using testing::HasSubstr;

TEST(LeaseCommand, AnswersInMemory) {
    const auto got = run({"lease", "acquire", "k", "--owner", "a"});
    EXPECT_EQ(got.exit_code, 0) << testing::PrintToString(got);
    EXPECT_EQ(got.out, "{\"key\":\"k\",\"acquired\":true,\"owner\":\"a\",\"token\":null}\n");
    EXPECT_THAT(got.err, HasSubstr("in this process only"));
    const program::arguments refused[] = {
        {"lease", "renew", "k"},
        {"lease", "release", "k"},
        {"lease", "transfer", "k", "--to", "b"},
        {"lease", "owner", "k"}
    };
    for (const auto& args : refused) {
        const auto no = run(args);
        EXPECT_EQ(no.exit_code, 1) << testing::PrintToString(no);
        EXPECT_EQ(no.out, "{\"key\":\"k\",\"ok\":false,\"owner\":null,\"token\":null}\n");
    }
}

TEST(LeaseCommand, OwnerIsThisProcessUnlessNamed) {
    program p({"lease", "acquire", "k"});
    const auto pid = std::to_string(p.pid());
    EXPECT_THAT(p.finish().out, HasSubstr("\"owner\":\"cli-" + pid + "\""));
}

TEST(LeaseCommand, HoldRenewsUntilASignal) {
    for (const int number : {SIGINT, SIGTERM}) {
        program holder({"lease", "acquire", "k", "--hold", "--ttl", "30"});
        ASSERT_TRUE(holder.wait_for_output("\"acquired\":true"));
        holder.signal(number);
        const auto result = holder.finish();
        EXPECT_EQ(result.exit_code, 0) << testing::PrintToString(result);
        EXPECT_EQ(result.lines().size(), 1U);
    }
}

// On a bus across processes.
class UnixLeaseCommand : public cli_test::UnixBusTest {
protected:
    program::arguments lease(program::arguments words) const {
        words.insert(words.begin(), "lease");
        return on_bus(std::move(words));
    }
    // Tries until somebody else's time is over.
    void acquire_when_free(const std::string& owner) {
        for (int i = 0; i < 10'000; ++i) {
            const auto got = run(lease({"acquire", "k", "--owner", owner}));
            if (got.exit_code == 0) return;
            ASSERT_EQ(got.exit_code, 1) << testing::PrintToString(got);
        }
        FAIL() << "the lease never ended";
    }
};

TEST_F(UnixLeaseCommand, HeldByOneProcessItIsRefusedToAnother) {
    program holder(lease({"acquire", "k", "--owner", "a", "--hold"}));
    ASSERT_TRUE(holder.wait_for_output("\"acquired\":true"));
    const auto other = run(lease({"acquire", "k", "--owner", "b"}));
    EXPECT_EQ(other.exit_code, 1) << testing::PrintToString(other);
    EXPECT_EQ(other.out, "{\"key\":\"k\",\"acquired\":false,\"owner\":\"a\",\"token\":null}\n");
    const auto who = run(lease({"owner", "k"}));
    EXPECT_EQ(who.exit_code, 0);
    EXPECT_EQ(who.out, "{\"key\":\"k\",\"ok\":true,\"owner\":\"a\",\"token\":null}\n");
    for (const std::string verb : {"renew", "release"}) {
        const auto stranger = run(lease({verb, "k", "--owner", "b"}));
        EXPECT_EQ(stranger.exit_code, 1) << verb;
        EXPECT_EQ(stranger.out, "{\"key\":\"k\",\"ok\":false,\"owner\":\"a\",\"token\":null}\n");
    }
    EXPECT_EQ(run(lease({"acquire", "another", "--owner", "b"})).exit_code, 0);
    holder.signal(SIGTERM);
    EXPECT_EQ(holder.finish().exit_code, 0);
    EXPECT_EQ(run(lease({"owner", "k"})).exit_code, 1);
    EXPECT_EQ(run(lease({"acquire", "k", "--owner", "b"})).exit_code, 0);
}

TEST_F(UnixLeaseCommand, EndsWithItsProcess) {
    program holder(lease({"acquire", "k", "--owner", "a", "--hold", "--ttl", "3600000"}));
    ASSERT_TRUE(holder.wait_for_output("\"acquired\":true"));
    EXPECT_EQ(run(lease({"acquire", "k", "--owner", "b"})).exit_code, 1);
    holder.signal(SIGKILL);
    EXPECT_EQ(holder.finish().exit_code, 1000 + SIGKILL);
    EXPECT_EQ(run(lease({"owner", "k"})).exit_code, 1);
    EXPECT_EQ(run(lease({"acquire", "k", "--owner", "b"})).exit_code, 0);
}

TEST_F(UnixLeaseCommand, HolderThatSleptTooLongSaysThatItIsLost) {
    program holder(lease({"acquire", "k", "--owner", "a", "--hold", "--ttl", "300"}));
    ASSERT_TRUE(holder.wait_for_output("\"acquired\":true"));
    holder.signal(SIGSTOP);
    acquire_when_free("b");
    holder.signal(SIGCONT);
    const auto result = holder.finish();
    EXPECT_EQ(result.exit_code, 1) << testing::PrintToString(result);
    EXPECT_THAT(result.out, testing::EndsWith("{\"key\":\"k\",\"lost\":true}\n"));
}

}  // namespace
