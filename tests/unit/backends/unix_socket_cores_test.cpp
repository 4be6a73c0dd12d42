// The pure parts of the Unix socket backend: no socket, no clock.
#include "backends/unix_socket/election.hpp"
#include "backends/unix_socket/outbox.hpp"
#include "backends/unix_socket/recent_ids.hpp"
#include "backends/unix_socket/redelivery.hpp"
#include "backends/unix_socket/roster.hpp"
#include "backends/unix_socket/routing_table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <random>
#include <string>

namespace trunkline::unix_socket {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;

// --- routing -------------------------------------------------------------------------------------

std::string turns(routing_table& table, int events, std::string_view group = "\"g\"") {
    std::string seen;
    routing_table::targets to;
    for (int i = 0; i < events; ++i) {
        table.route("\"t\"", to);
        for (const auto& pick : to.groups) {
            if (pick.group == group) seen.push_back(static_cast<char>('B' + pick.member));
        }
    }
    return seen;
}

TEST(RoutingTable, TurnsSurviveChangesOfMembership) {
    routing_table table;
    table.join(own_process, "\"t\"", "\"g\"");
    table.join(1, "\"t\"", "\"g\"");
    EXPECT_EQ(turns(table, 3), "BCB");
    table.join(2, "\"t\"", "\"g\"");
    EXPECT_EQ(turns(table, 4), "CDBC");
    table.leave(own_process, "\"t\"", "\"g\"");
    EXPECT_EQ(turns(table, 4), "CDCD");
}

TEST(RoutingTable, CursorIsForgottenWithTheLastMember) {
    routing_table table;
    table.join(1, "\"t\"", "\"g\"");
    table.join(2, "\"t\"", "\"g\"");
    EXPECT_EQ(turns(table, 1), "C");
    table.drop(1);
    table.drop(2);
    table.join(1, "\"t\"", "\"g\"");
    table.join(2, "\"t\"", "\"g\"");
    EXPECT_EQ(turns(table, 1), "C");
}

TEST(RoutingTable, EveryoneInOrderOfConnection) {
    routing_table table;
    for (const peer_id who : {3U, 1U, 2U}) EXPECT_TRUE(table.join(who, "\"t\"", std::nullopt));
    EXPECT_FALSE(table.join(2, "\"t\"", std::nullopt));
    routing_table::targets to;
    table.route("\"t\"", to);
    EXPECT_THAT(to.everyone, ElementsAre(1, 2, 3));
    EXPECT_THAT(to.groups, IsEmpty());
    table.route("\"other\"", to);
    EXPECT_TRUE(to.none());
}

TEST(RoutingTable, GroupsAreIndependentAndOwnOnesComeFirst) {
    routing_table table;
    table.join(1, "\"t\"", "\"a\"");
    table.join(own_process, "\"t\"", "\"b\"");
    table.join(1, "\"t\"", "\"b\"");
    routing_table::targets to;
    table.route("\"t\"", to);
    ASSERT_EQ(to.groups.size(), 2U);
    EXPECT_EQ(to.groups[0].group, "\"b\"");
    EXPECT_EQ(to.groups[0].member, own_process);
    EXPECT_EQ(to.groups[1].group, "\"a\"");
    EXPECT_EQ(to.groups[1].member, 1U);
    EXPECT_EQ(turns(table, 3, "\"a\""), "CCC");
}

TEST(RoutingTable, AnUnknownMembershipEndsQuietly) {
    routing_table table;
    EXPECT_FALSE(table.leave(1, "\"t\"", std::nullopt));
    table.join(1, "\"t\"", std::nullopt);
    EXPECT_FALSE(table.leave(1, "\"t\"", "\"g\""));
    EXPECT_TRUE(table.has(1, "\"t\"", std::nullopt));
    EXPECT_FALSE(table.has(1, "\"t\"", "\"g\""));
    EXPECT_TRUE(table.leave(1, "\"t\"", std::nullopt));
    EXPECT_FALSE(table.has(1, "\"t\"", std::nullopt));
}

TEST(RoutingTable, PickPassesOverWhoFailed) {
    routing_table table;
    table.join(1, "\"t\"", "\"g\"");
    EXPECT_EQ(table.pick("\"t\"", "\"g\"", 1), std::nullopt);
    table.join(2, "\"t\"", "\"g\"");
    for (int i = 0; i < 3; ++i) EXPECT_EQ(table.pick("\"t\"", "\"g\"", 1), 2U);
    EXPECT_EQ(table.pick("\"t\"", "\"none\"", 1), std::nullopt);
}

// --- outbox --------------------------------------------------------------------------------------

std::string take(outbox& box, std::size_t bytes) {
    std::array<iovec, 4> pieces{};
    std::string taken;
    while (taken.size() < bytes && !box.empty()) {
        const auto used = box.gather(pieces);
        std::string shown;
        for (std::size_t i = 0; i < used; ++i)
            shown.append(static_cast<const char*>(pieces[i].iov_base), pieces[i].iov_len);
        shown.resize(std::min(shown.size(), bytes - taken.size()));
        box.consume(shown.size());
        taken.append(shown);
    }
    return taken;
}

TEST(Outbox, BytesLeaveInOrderHoweverTheyAreTaken) {
    std::mt19937 random(7);
    for (int round = 0; round < 50; ++round) {
        outbox box;
        std::string all, taken;
        for (int i = 0; i < 40; ++i) {
            const auto large = random() % 4 == 0;
            const std::string text(
                large ? outbox::shared_min + random() % 5000 : random() % 300,
                static_cast<char>('a' + i % 26)
            );
            all.append(text);
            if (large)
                box.append(std::make_shared<const std::string>(text));
            else
                box.append(std::string_view(text));
            if (random() % 3 == 0) taken.append(take(box, random() % 4000));
            EXPECT_EQ(box.appended(), all.size());
            EXPECT_EQ(box.written(), taken.size());
            EXPECT_EQ(box.queued(), all.size() - taken.size());
        }
        taken.append(take(box, all.size()));
        EXPECT_EQ(taken, all);
        EXPECT_TRUE(box.empty());
    }
}

TEST(Outbox, LargeTextsAreSharedAndSmallOnesJoined) {
    outbox box;
    const auto large = std::make_shared<const std::string>(outbox::shared_min, 'x');
    box.append("a");
    box.append("b");
    box.append(large);
    box.append("c");
    std::array<iovec, 8> pieces{};
    ASSERT_EQ(box.gather(pieces), 3U);
    EXPECT_EQ(pieces[0].iov_len, 2U);
    EXPECT_EQ(pieces[1].iov_base, large->data());
    EXPECT_EQ(large.use_count(), 2);
    box.clear();
    EXPECT_EQ(large.use_count(), 1);
    EXPECT_EQ(box.queued(), 0U);
}

TEST(Outbox, KnowsTheLinesThatDidNotLeaveWhole) {
    std::mt19937 random(11);
    for (int round = 0; round < 200; ++round) {
        outbox box;
        std::vector<std::pair<std::string, std::uint64_t>> lines;
        for (int i = 0; i < 20; ++i) {
            const auto large = random() % 4 == 0;
            std::string line(
                large ? outbox::shared_min : random() % 300, static_cast<char>('a' + i)
            );
            const auto text = line + "\n";
            if (large)
                box.append(std::make_shared<const std::string>(text));
            else
                box.append(std::string_view(text));
            lines.emplace_back(std::move(line), box.appended());
            if (random() % 3 == 0) take(box, random() % 2000);
        }
        std::erase_if(lines, [&](const auto& line) { return line.second <= box.written(); });
        std::vector<std::pair<std::string, std::uint64_t>> seen;
        box.each_unwritten_line([&](std::string_view line, std::uint64_t end) {
            seen.emplace_back(line, end);
        });
        EXPECT_EQ(seen, lines);
    }
}

// --- roster --------------------------------------------------------------------------------------

TEST(Roster, ExpectsWhoIsThereAndWhoLeftJustNow) {
    using namespace std::chrono_literals;
    roster r;
    const auto start = roster::time_point{} + std::chrono::hours{1};
    EXPECT_TRUE(r.expected(start).empty());
    r.set({"a", "b"}, start);
    EXPECT_THAT(r.expected(start + std::chrono::hours{1}), testing::ElementsAre("a", "b"));
    r.set({"b", "c"}, start + 1s);
    EXPECT_THAT(r.expected(start + 1s), testing::ElementsAre("a", "b", "c"));
    EXPECT_THAT(r.expected(start + 1s + roster::remembered_for), testing::ElementsAre("b", "c"));
    r.set({"a"}, start + 2s);  // it was on its way
    EXPECT_THAT(r.expected(start + 2s), testing::ElementsAre("a", "b", "c"));
    r.forget("b");
    EXPECT_THAT(r.expected(start + 2s), testing::ElementsAre("a", "c"));
    r.clear();
    EXPECT_TRUE(r.expected(start + 2s).empty());
}

// --- redelivery ----------------------------------------------------------------------------------

TEST(Redelivery, SixTimesAHundredMillisecondsTimesTheAttemptLater) {
    milliseconds sum{0};
    std::string offsets;
    for (std::uint32_t attempt = 1; attempt < deliveries_max; ++attempt) {
        ASSERT_TRUE(redelivery_delay(attempt));
        sum += *redelivery_delay(attempt);
        offsets.append(std::to_string(sum.count())).push_back(' ');
    }
    EXPECT_EQ(offsets, "100 300 600 1000 1500 2100 ");
    EXPECT_EQ(redelivery_delay(deliveries_max), std::nullopt);
    EXPECT_EQ(redelivery_delay(UINT32_MAX), std::nullopt);
}

// --- recent ids ----------------------------------------------------------------------------------

TEST(RecentIds, KeepsTheNewest) {
    recent_ids ids(4);
    EXPECT_FALSE(ids.has(1));
    for (std::uint64_t id = 1; id <= 10; ++id) {
        ids.note(id);
        for (std::uint64_t known = 1; known <= 10; ++known)
            EXPECT_EQ(ids.has(known), known <= id && known + 4 > id) << known << " after " << id;
    }
}

// --- election ------------------------------------------------------------------------------------

using step = election::step;

TEST(Election, ConnectsFirst) {
    election e;
    EXPECT_EQ(e.begin(), step::connect);
    EXPECT_EQ(e.connect_succeeded(), step::client);
    EXPECT_FALSE(e.holds_guard());
    EXPECT_FALSE(e.holds_lock());
}

TEST(Election, AnAbsentPathIsContendedForAtOnceAndLookedAtAgainUnderTheLocks) {
    election e;
    e.begin();
    EXPECT_EQ(e.connect_absent(), step::take_guard);
    EXPECT_EQ(e.guarded(true), step::create_lock);
    EXPECT_TRUE(e.holds_guard());
    EXPECT_EQ(e.lock_created(), step::connect);
    EXPECT_TRUE(e.holds_lock());
    EXPECT_EQ(e.connect_absent(), step::install);
    EXPECT_EQ(e.install_succeeded(), step::broker);
}

TEST(Election, SomebodyElseMayHaveBeenFasterUnderTheLocks) {
    election e;
    e.begin();
    e.connect_absent();
    e.guarded(true);
    e.lock_created();
    EXPECT_EQ(e.connect_succeeded(), step::client);
}

// Row: a newcomer refused twice in a row by a live broker must not replace it.
TEST(Election, ARefusedConnectIsTriedAgainWithGrowingPauses) {
    election e;
    e.begin();
    std::vector<milliseconds> pauses;
    auto next = e.connect_refused();
    while (next == step::pause) {
        pauses.push_back(e.pause());
        EXPECT_EQ(e.paused(), step::connect);
        next = e.connect_refused();
    }
    EXPECT_EQ(next, step::take_guard);
    EXPECT_THAT(
        pauses, ElementsAre(milliseconds{1}, milliseconds{2}, milliseconds{4}, milliseconds{8})
    );
}

TEST(Election, WhoLostItsBrokerNeedsOneRefusalOnly) {
    election e;
    EXPECT_EQ(e.begin(true), step::connect);
    EXPECT_EQ(e.connect_refused(), step::take_guard);
    e.guarded(true);
    e.lock_created();
    e.connect_refused();
    e.install_overtaken();
    e.paused();
    EXPECT_EQ(e.connect_refused(), step::pause);  // somebody was there: patience again
}

TEST(Election, ABusyBrokerIsNeverContended) {
    election e;
    e.begin();
    for (int i = 0; i < 1000; ++i) {
        ASSERT_EQ(e.connect_busy(), step::pause);
        ASSERT_LE(e.pause(), milliseconds{100});
        ASSERT_EQ(e.paused(), step::connect);
    }
}

TEST(Election, ContendersStandBackAndLetGo) {
    election e;
    e.begin();
    e.connect_absent();
    EXPECT_EQ(e.guarded(false), step::pause);
    EXPECT_EQ(e.paused(), step::connect);
    EXPECT_EQ(e.connect_absent(), step::take_guard);
    e.guarded(true);
    EXPECT_EQ(e.lock_exists(false), step::pause);
    EXPECT_FALSE(e.holds_guard());
    EXPECT_GT(e.pause(), milliseconds{0});
}

TEST(Election, AStaleLockIsRemovedAndTheRoundIsOver) {
    election e;
    e.begin();
    e.connect_absent();
    e.guarded(true);
    EXPECT_EQ(e.lock_exists(true), step::remove_lock);
    EXPECT_EQ(e.lock_removed(), step::pause);  // one that cannot be removed is no reason to spin
    EXPECT_FALSE(e.holds_guard());
    EXPECT_EQ(e.paused(), step::connect);
}

TEST(Election, AnOvertakenInstallBeginsAnewWithoutLocks) {
    election e;
    e.begin();
    e.connect_absent();
    e.guarded(true);
    e.lock_created();
    e.connect_absent();
    EXPECT_EQ(e.install_overtaken(), step::pause);
    EXPECT_FALSE(e.holds_lock());
    EXPECT_EQ(e.paused(), step::connect);
}

// Whatever the world answers, the locks are only held between taking and letting go, and only a
// process that holds both installs a socket.
TEST(Election, NeverInstallsWithoutBothLocks) {
    std::mt19937 random(11);
    for (int run = 0; run < 2000; ++run) {
        election e;
        auto next = e.begin();
        for (int steps = 0; steps < 200; ++steps) {
            const auto chance = random();
            if (next == step::install) {
                ASSERT_TRUE(e.holds_guard());
                ASSERT_TRUE(e.holds_lock());
            }
            if (next == step::client || next == step::broker || next == step::failed) break;
            switch (next) {
                case step::connect:
                    next = chance % 10 == 0  ? e.connect_succeeded()
                           : chance % 4 == 1 ? e.connect_busy()
                           : chance % 4 == 2 ? e.connect_refused()
                                             : e.connect_absent();
                    break;
                case step::pause:
                    ASSERT_FALSE(e.holds_guard());
                    ASSERT_FALSE(e.holds_lock());
                    next = e.paused();
                    break;
                case step::take_guard:
                    next = e.guarded(chance % 2 == 0);
                    break;
                case step::create_lock:
                    next = chance % 2 == 0 ? e.lock_created() : e.lock_exists(chance % 3 == 0);
                    break;
                case step::remove_lock:
                    next = e.lock_removed();
                    break;
                case step::install:
                    next = chance % 2 == 0 ? e.install_succeeded() : e.install_overtaken();
                    break;
                default:
                    FAIL();
            }
        }
    }
}

}  // namespace
}  // namespace trunkline::unix_socket
