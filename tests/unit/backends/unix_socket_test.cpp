// The Unix socket backend against peers that speak raw bytes, and beside others of its kind.
#include "support/unix_socket.hpp"

#include "support/raw_peer.hpp"
#include "support/temporary_folder.hpp"

#include <trunkline/tagged.hpp>
#include <trunkline/testkit/captured_log.hpp>
#include <trunkline/testkit/recorder.hpp>
#include <trunkline/unix_socket_pubsub.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>
#include <latch>
#include <memory>
#include <optional>
#include <string>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace trunkline {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;
using tests::raw_peer;
using tests::ready;
using tests::seen_events;

constexpr auto patience = seen_events::patience;

class UnixSocket : public testing::Test {
protected:
    unix_socket_options options() {
        unix_socket_options o(path());
        o.logger(log_.logger()).broker_path_check_interval(20ms);
        return o;
    }
    std::unique_ptr<unix_socket_pubsub> open() { return open(options()); }
    std::unique_ptr<unix_socket_pubsub> open(unix_socket_options o) {
        auto bus = std::make_unique<unix_socket_pubsub>(std::move(o));
        EXPECT_EQ(tests::joined(*bus), error_code{});
        return bus;
    }
    std::string path() const { return folder_.file("bus.sock"); }
    raw_peer peer() { return raw_peer(path()); }

    tests::temporary_folder folder_;
    testkit::captured_log log_;
};

constexpr auto subscribe_t =
    R"({"type":"subscribe","topic":"t","group":{"__m_codec__":"Undefined"}})";
constexpr auto publish_t =
    R"({"type":"publish","topic":"t","event":{"type":"k","runId":"r","data":{"a":{"__m_codec__":"Undefined"},"b":[{"__m_codec__":"Undefined"},null]}},"localOnly":{"__m_codec__":"Undefined"}})";

TEST_F(UnixSocket, AnswersAndEventsHaveTheReferencesBytes) {
    const auto bus = open();
    auto p = peer();
    p.send(subscribe_t);
    EXPECT_EQ(p.line(), R"({"type":"subscribed","topic":"t"})");
    p.send(R"({"type":"subscribe","topic":"t","group":"g"})");
    EXPECT_EQ(p.line(), R"({"type":"subscribed","topic":"t","group":"g"})");
    p.send(publish_t);
    const auto everyone = p.line(), group = p.line();
    EXPECT_THAT(
        everyone,
        testing::MatchesRegex(
            R"(\{"type":"event","topic":"t","event":\{"type":"k","runId":"r","data":\{"a":\{"__m_codec__":"Undefined"\},"b":\[\{"__m_codec__":"Undefined"\},null\]\},"id":"[0-9a-f-]{36}","createdAt":\{"__m_codec__":"Date","v":"[-0-9T:.]{23}Z"\},"deliveryAttempt":1\}\})"
        )
    );
    EXPECT_EQ(group, everyone.substr(0, everyone.size() - 1) + R"(,"group":"g"})");
    p.send(R"({"type":"unsubscribe","topic":"t","group":"g"})");
    EXPECT_EQ(p.line(), R"({"type":"unsubscribed","topic":"t","group":"g"})");
    // A membership that never was is answered too.
    p.send(R"({"type":"unsubscribe","topic":"never","group":"g"})");
    EXPECT_EQ(p.line(), R"({"type":"unsubscribed","topic":"never","group":"g"})");
}

TEST_F(UnixSocket, IdTimeAndAttemptAreTheBrokers) {
    const auto bus = open();
    auto p = peer();
    p.send(subscribe_t);
    p.line();
    p.send(
        R"({"type":"publish","topic":"t","event":{"id":"mine","type":"k","createdAt":5,"runId":"r","deliveryAttempt":9,"data":1,"index":3,"zz":1}})"
    );
    const auto got = p.line();
    EXPECT_THAT(
        got, HasSubstr(R"("event":{"type":"k","runId":"r","data":1,"index":3,"zz":1,"id":")")
    );
    EXPECT_THAT(got, HasSubstr(R"("deliveryAttempt":1})"));
    EXPECT_THAT(got, testing::Not(HasSubstr("mine")));
}

TEST_F(UnixSocket, OldClientsLocalOnlyComesBackToItsSenderAlone) {
    const auto bus = open();
    seen_events local;
    const auto subscription = bus->subscribe("t", local.handler());
    auto a = peer(), b = peer();
    for (auto* p : {&a, &b}) {
        p->send(subscribe_t);
        p->line();
    }
    a.send(R"({"type":"publish","topic":"t","event":{"type":"l","runId":"r"},"localOnly":true})");
    a.send(R"({"type":"publish","topic":"t","event":{"type":"all","runId":"r"}})");
    EXPECT_THAT(a.line(), HasSubstr("\"l\""));
    EXPECT_THAT(a.line(), HasSubstr("\"all\""));
    EXPECT_THAT(b.line(), HasSubstr("\"all\""));
    ASSERT_TRUE(local.wait_for(2));
    EXPECT_THAT(local.types(), ElementsAre("l", "all"));
}

TEST_F(UnixSocket, GarbageIsIgnoredAndTheConnectionKept) {
    const auto bus = open();
    auto p = peer();
    std::string deep(100'000, '[');
    for (const auto& line :
         {std::string("not json"),
          std::string("{"),
          std::string("[]"),
          std::string("null"),
          std::string("   \t\r"),
          std::string(R"({"type":"what","topic":"t"})"),
          std::string(R"({"type":7})"),
          std::string(R"({"type":"publish","topic":"t"})"),
          std::string(R"({"type":"publish","topic":"t","event":"text"})"),
          std::string(R"({"type":"publish","topic":"t","event":{"type":"x","data":}})"),
          std::string(R"({"type":"ack","id":"1"})"),
          std::string("\xff\xfe{\"type\":\"subscribe\""),
          std::string(R"({"type":"trunkline.hello","member":7})"),
          std::string(R"({"type":"trunkline.settled","numbers":"x"})"),
          std::string(R"({"type":"trunkline.received","number":99999})"),
          std::string(R"({"type":"trunkline.future"})"),
          R"({"type":"publish","topic":"t","event":{"type":"x","runId":"r","data":)" + deep,
          R"({"type":"publish","topic":"t","event":{"type":"x","runId":"r","data":)" + deep +
              std::string(100'000, ']') + "}}"}) {
        p.send(line);
    }
    // A hostile date or bigint passes through: whoever decodes it decides.
    p.send(subscribe_t);
    EXPECT_EQ(p.line(), R"({"type":"subscribed","topic":"t"})");
    p.send(
        R"({"type":"publish","topic":"t","event":{"type":"x","runId":"r","data":[{"__m_codec__":"Date","v":"never"},{"__m_codec__":"BigInt","v":"1.5"}]}})"
    );
    EXPECT_THAT(
        p.line(),
        HasSubstr(R"({"__m_codec__":"Date","v":"never"},{"__m_codec__":"BigInt","v":"1.5"})")
    );
    EXPECT_GT(bus->socket_counters().frames_ignored, 5U);
}

TEST_F(UnixSocket, OneByteAtATime) {
    const auto bus = open();
    auto p = peer();
    const auto text = std::string(subscribe_t) + "\r\n" + publish_t + "\n";
    for (const char c : text) p.send_raw(std::string(1, c));
    EXPECT_EQ(p.line(), R"({"type":"subscribed","topic":"t"})");
    EXPECT_THAT(p.line(), StartsWith(R"({"type":"event","topic":"t")"));
}

TEST_F(UnixSocket, OversizedFrameClosesThatPeerOnly) {
    const auto bus = open(options().max_inbound_frame_bytes(200));
    auto good = peer(), exact = peer(), bad = peer(), unfinished = peer();
    good.send(subscribe_t);
    good.line();
    const std::string head =
        R"({"type":"publish","topic":"t","event":{"type":"e","runId":"r","data":")";
    const std::string tail = "\"}}";
    const auto sized = [&](std::size_t bytes) {
        return head + std::string(bytes - head.size() - tail.size(), 'x') + tail;
    };
    exact.send(sized(200));
    EXPECT_THAT(good.line(), HasSubstr("\"e\""));
    bad.send(sized(201));
    EXPECT_TRUE(bad.ended());
    unfinished.send_raw(sized(201));
    EXPECT_TRUE(unfinished.ended());
    exact.send(sized(199));
    EXPECT_THAT(good.line(), HasSubstr("\"e\""));
    EXPECT_EQ(bus->socket_counters().clients_dropped, 2U);
}

TEST_F(UnixSocket, SlowPeerIsDroppedAtItsLimitAndDelaysNobody) {
    const auto bus = open(options().max_remote_client_queued_bytes(256 << 10));
    auto stuck = peer(), healthy = peer();
    for (auto* p : {&stuck, &healthy}) {
        p->send(subscribe_t);
        EXPECT_EQ(p->line(), R"({"type":"subscribed","topic":"t"})");
    }
    const payload large{boost::json::value(std::string(32 << 10, 'x'))};
    std::vector<std::string> got;
    for (int i = 0; i < 40; ++i) {
        const auto before = std::chrono::steady_clock::now();
        EXPECT_EQ(
            bus->publish_blocking("t", event_draft("e" + std::to_string(i), "r", large)),
            error_code{}
        );
        EXPECT_LT(std::chrono::steady_clock::now() - before, 2s);
        got.push_back(healthy.line());
    }
    for (int i = 0; i < 40; ++i)
        EXPECT_THAT(got[static_cast<std::size_t>(i)], HasSubstr("\"e" + std::to_string(i) + "\""));
    EXPECT_TRUE(stuck.ended_after_reading());
    EXPECT_EQ(bus->socket_counters().clients_dropped, 1U);
    // The socket thread says goodbye a moment after the connection was ended.
    const auto until = std::chrono::steady_clock::now() + patience;
    while (bus->socket_counters().clients != 1 && std::chrono::steady_clock::now() < until)
        std::this_thread::yield();
    EXPECT_EQ(bus->socket_counters().clients, 1U);
}

TEST_F(UnixSocket, APausedClientCatchesUpBelowTheLimit) {
    const auto bus = open(options().max_remote_client_queued_bytes(1 << 20));
    auto p = peer();
    p.send(subscribe_t);
    p.line();
    const payload large{boost::json::value(std::string(16 << 10, 'x'))};
    for (int i = 0; i < 4; ++i)
        EXPECT_EQ(
            bus->publish("t", event_draft("e" + std::to_string(i), "r", large)), error_code{}
        );
    for (int i = 0; i < 4; ++i) EXPECT_THAT(p.line(), HasSubstr("\"e" + std::to_string(i) + "\""));
}

TEST_F(UnixSocket, StaleSocketIsReclaimed) {
    {
        raw_peer::listen_and_leave(path());
        const auto bus = open();
        EXPECT_EQ(bus->role(), bus_role::broker);
    }
    std::ofstream(path()) << "a regular file";
    const auto bus = open();
    EXPECT_EQ(bus->role(), bus_role::broker);
}

TEST_F(UnixSocket, CloseRemovesOnlyItsOwnSocket) {
    auto bus = open();
    ASSERT_TRUE(std::filesystem::exists(path()));
    ASSERT_EQ(bus->close_blocking(), error_code{});
    EXPECT_FALSE(std::filesystem::exists(path()));
    EXPECT_FALSE(std::filesystem::exists(path() + ".elect"));
    // Taken over by another process: what is there now is not touched.
    auto second = open(options().broker_path_check_interval(24h));
    const auto other = raw_peer::listening(folder_.file("other.sock"));
    std::filesystem::rename(folder_.file("other.sock"), path());
    ASSERT_EQ(second->close_blocking(), error_code{});
    EXPECT_TRUE(std::filesystem::exists(path()));
}

TEST_F(UnixSocket, DirectoryAndSocketAreForThisUserOnly) {
    const auto folder = folder_.file("made/here");
    auto bus = open(unix_socket_options(folder + "/bus.sock").logger(log_.logger()));
    struct stat info{};
    ASSERT_EQ(::stat(folder.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0700U);
    ASSERT_EQ(::stat((folder + "/bus.sock").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0600U);
}

TEST_F(UnixSocket, GroupAccessOpensDirectoryAndSocket) {
    const auto folder = folder_.file("shared");
    auto bus = open(
        unix_socket_options(folder + "/bus.sock").group_access(::getegid()).logger(log_.logger())
    );
    struct stat info{};
    ASSERT_EQ(::stat(folder.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0750U);
    ASSERT_EQ(::stat((folder + "/bus.sock").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0660U);
}

// A process of another user gets through to the socket, because somebody has opened directory and
// socket to all.
TEST_F(UnixSocket, AnotherUserIsRefusedUnlessAllowed) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root, to be another user for a moment";
    constexpr uid_t nobody = 65534;
    for (const bool allowed : {false, true}) {
        auto bus = open(allowed ? options().allow_users({nobody}) : options());
        std::filesystem::permissions(
            std::filesystem::path(path()).parent_path(), std::filesystem::perms::all
        );
        std::filesystem::permissions(path(), std::filesystem::perms::all);
        const auto child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            bool answered = false;
            if (::setresuid(nobody, nobody, nobody) == 0) {
                try {
                    auto p = peer();
                    p.send(subscribe_t);
                    answered = p.line() == R"({"type":"subscribed","topic":"t"})";
                } catch (const std::exception&) {
                    answered = false;  // disconnected
                }
            }
            ::_exit(answered ? 0 : 1);
        }
        int status = -1;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        EXPECT_EQ(WEXITSTATUS(status), allowed ? 0 : 1);
        EXPECT_EQ(bus->socket_counters().peers_refused, allowed ? 0U : 1U);
    }
}

TEST_F(UnixSocket, PathsLongerThanTheKernelsMeet) {
    const auto folder = folder_.file(std::string(60, 'd'));
    const auto long_path = folder + "/" + std::string(80, 's');
    auto a = open(unix_socket_options(long_path).logger(log_.logger()));
    auto b = open(unix_socket_options(long_path).logger(log_.logger()));
    EXPECT_EQ(a->role(), bus_role::broker);
    EXPECT_EQ(b->role(), bus_role::client);
    EXPECT_TRUE(std::filesystem::exists(long_path.substr(0, 108)));
    seen_events got;
    auto subscription = a->subscribe("t", got.handler());
    EXPECT_EQ(b->publish_blocking("t", event_draft("x", "r")), error_code{});
    EXPECT_TRUE(got.wait_for(1));
}

TEST_F(UnixSocket, AnUnusablePathIsAnErrorThatNamesIt) {
    std::ofstream(folder_.file("file")) << "x";
    unix_socket_pubsub bus(unix_socket_options(folder_.file("file/bus.sock")).logger(log_.logger())
    );
    EXPECT_TRUE(bus.publish_blocking("t", event_draft("x", "r")));
    EXPECT_THAT(log_.text(), HasSubstr("file/bus.sock"));
}

TEST_F(UnixSocket, NobodyAnswersAnOldClientsMembershipLate) {
    // A broker that obeys and never answers: the subscription counts as made after the time limit.
    auto old = raw_peer::listening(path());
    auto bus = open(options().membership_ack_timeout(50ms));
    seen_events got;
    auto subscription = bus->subscribe("t", got.handler());
    EXPECT_EQ(ready(subscription), error_code{});
    old.accept().send(R"({"type":"event","topic":"t","event":{"type":"x","runId":"r","data":1}})");
    EXPECT_TRUE(got.wait_for(1));
}

TEST_F(UnixSocket, AnotherBrokerTakesOverAndSubscriptionsComeBack) {
    auto first = open();
    auto second = open(), third = open();
    seen_events a, b;
    auto sa = second->subscribe("t", a.handler()), sb = third->subscribe("t", b.handler());
    ASSERT_EQ(ready(sa), error_code{});
    ASSERT_EQ(ready(sb), error_code{});
    first.reset();
    EXPECT_EQ(
        second->publish_blocking("t", event_draft("x", "r"), publish_options().confirmed()),
        error_code{}
    );
    EXPECT_TRUE(a.wait_for(1));
    EXPECT_TRUE(b.wait_for(1));
    const bool one = (second->role() == bus_role::broker) != (third->role() == bus_role::broker);
    EXPECT_TRUE(one);
}

TEST_F(UnixSocket, ABrokerThatLeavesHandsThePathOver) {
    auto first = open();
    auto second = open(), third = open();
    seen_events got;
    auto s = second->subscribe("t", got.handler());
    ASSERT_EQ(ready(s), error_code{});
    // A newcomer finds somebody there at any moment.
    std::atomic<bool> over{false};
    int refused = 0;
    int tries = 0;
    std::thread newcomers([&] {
        for (; !over; ++tries) {
            try {
                peer();
            } catch (const std::exception&) {
                ++refused;
            }
        }
    });
    EXPECT_EQ(first->close_blocking(), error_code{});
    EXPECT_EQ(
        third->publish_blocking("t", event_draft("x", "r"), publish_options().confirmed()),
        error_code{}
    );
    over = true;
    newcomers.join();
    EXPECT_TRUE(got.wait_for(1));
    EXPECT_EQ(refused, 0) << "of " << tries << log_.text();
    EXPECT_EQ(second->socket_counters().elections + third->socket_counters().elections, 1U);
}

// A process that has only just come is the broker. A member that was there before says who else
// was; what it publishes waits for the other.
TEST_F(UnixSocket, ANewBrokerWaitsForWhoWasThereBefore) {
    const auto broker = open();
    auto publisher = peer();
    publisher.send(R"({"type":"trunkline.hello","version":1,"member":"p"})");
    publisher.send(R"({"type":"trunkline.roster","members":["p","s"]})");
    publisher.send(R"({"type":"trunkline.ready"})");
    publisher.send(R"({"type":"publish","topic":"t","event":{"type":"k","runId":"r"},"confirm":1})"
    );
    publisher.send(R"({"type":"subscribe","topic":"u"})");
    while (publisher.line() != R"({"type":"subscribed","topic":"u"})") {
    }
    auto subscriber = peer();
    subscriber.send(R"({"type":"trunkline.hello","version":1,"member":"s"})");
    subscriber.send(R"({"type":"subscribe","topic":"t"})");
    subscriber.send(R"({"type":"trunkline.ready"})");
    std::string line;
    while (!line.starts_with(R"({"type":"event","topic":"t")")) line = subscriber.line();
    subscriber.send(R"({"type":"trunkline.received","number":1})");
    while (publisher.line() != R"({"type":"trunkline.confirmed","number":1})") {
    }
}

TEST_F(UnixSocket, ABrokerWithoutAnHeirLeavesAlone) {
    auto first = open();
    const auto visitor = open(options().client_only(true));
    EXPECT_EQ(first->close_blocking(), error_code{});
    EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(UnixSocket, ABrokerWhosePathWasRemovedPutsItBack) {
    // Told by the kernel: it does not look by itself before the test is over.
    auto broker = open(options().broker_path_check_interval(1h));
    auto client = open(options().broker_path_check_interval(1h));
    const auto before = std::filesystem::status(path());
    std::filesystem::remove(path());
    const auto until = std::chrono::steady_clock::now() + patience;
    while (!std::filesystem::exists(path()) && std::chrono::steady_clock::now() < until)
        std::this_thread::yield();
    seen_events got;
    auto newcomer = open();
    auto s = newcomer->subscribe("t", got.handler());
    ASSERT_EQ(ready(s), error_code{});
    EXPECT_EQ(
        client->publish_blocking("t", event_draft("x", "r"), publish_options().confirmed()),
        error_code{}
    );
    EXPECT_TRUE(got.wait_for(1));
    EXPECT_EQ(broker->role(), bus_role::broker);
    EXPECT_EQ(broker->socket_counters().elections, 1U);
    EXPECT_EQ(std::filesystem::status(path()).permissions(), before.permissions());
}

// Row: after the deletion of a live broker's socket file all meet on one broker.
TEST_F(UnixSocket, ADeletedSocketFileBringsAllToOneBroker) {
    auto first = open();
    auto second = open(), third = open();
    std::vector<std::unique_ptr<seen_events>> seen;
    std::vector<subscription> subscriptions;
    for (auto* bus : {first.get(), second.get(), third.get()}) {
        seen.push_back(std::make_unique<seen_events>());
        subscriptions.push_back(bus->subscribe("t", seen.back()->handler()));
        ASSERT_EQ(ready(subscriptions.back()), error_code{});
    }
    std::filesystem::remove(path());
    const auto until = std::chrono::steady_clock::now() + 3s;
    int brokers = 0;
    bool there = false;
    do {
        brokers = 0;
        for (auto* bus : {first.get(), second.get(), third.get()})
            brokers += bus->role() == bus_role::broker ? 1 : 0;
        there = std::filesystem::exists(path());
        std::this_thread::yield();
    } while ((brokers != 1 || !there) && std::chrono::steady_clock::now() < until);
    EXPECT_EQ(brokers, 1);
    EXPECT_TRUE(there);
    // Who was a member before may still be on its way back.
    const auto all_have_some = [&] {
        return std::all_of(seen.begin(), seen.end(), [](const auto& s) {
            return !s->types().empty();
        });
    };
    while (!all_have_some() && std::chrono::steady_clock::now() < until) {
        EXPECT_EQ(
            first->publish_blocking("t", event_draft("x", "r"), publish_options().confirmed()),
            error_code{}
        );
    }
    EXPECT_TRUE(all_have_some());
}

TEST_F(UnixSocket, ConfirmedMeansEveryMemberHasIt) {
    auto broker = open();
    auto publisher = open(), subscriber = open();
    seen_events got;
    auto s = subscriber->subscribe("t", got.handler());
    ASSERT_EQ(ready(s), error_code{});
    for (int i = 0; i < 100; ++i) {
        const auto& from = i % 2 == 0 ? publisher : broker;
        ASSERT_EQ(
            from->publish_blocking("t", event_draft("e", "r"), publish_options().confirmed()),
            error_code{}
        );
    }
    EXPECT_TRUE(got.wait_for(100));
    EXPECT_EQ(got.types().size(), 100U);
}

TEST_F(UnixSocket, AReferenceBrokerConfirmsNothingAndIsNotWaitedFor) {
    const auto old = raw_peer::listening(path());
    auto bus = open(options().membership_ack_timeout(50ms));
    EXPECT_EQ(
        bus->publish_blocking("t", event_draft("x", "r"), publish_options().confirmed()),
        error_code{}
    );
}

// Plain publishes are kept as bytes, awaited ones with their completion: both come to the next
// broker, in order and each whole.
TEST_F(UnixSocket, WhatTheLastBrokerNeverReadGoesToTheNextOne) {
    std::optional<raw_peer> old = raw_peer::listening(path());
    auto bus = open(options().membership_ack_timeout(50ms));
    seen_events got;
    auto s = bus->subscribe("t", got.handler());
    ASSERT_EQ(ready(s), error_code{});
    constexpr int count = 200;
    std::latch completed((count + 2) / 3);
    std::vector<event_id> ids;
    for (int i = 0; i < count; ++i) {
        // More than a kernel's buffer holds; some small, some of a size that is shared.
        const std::string text(i % 2 == 0 ? 12'000 : 1'000, 'x');
        ids.push_back(event_id::random());
        auto draft =
            event_draft("e" + std::to_string(i), "r", payload::from_json_text("\"" + text + "\""))
                .id(ids.back());
        if (i % 3 == 0)
            bus->async_publish(
                "t",
                std::move(draft),
                publish_options().keep_identity(true),
                [&](error_code ec) {
                    EXPECT_FALSE(ec);
                    completed.count_down();
                }
            );
        else
            EXPECT_EQ(
                bus->publish("t", std::move(draft), publish_options().keep_identity(true)),
                error_code{}
            );
    }
    old.reset();
    EXPECT_EQ(bus->publish_blocking("t", event_draft("last", "r")), error_code{});
    EXPECT_EQ(bus->flush_blocking(), error_code{});
    auto all = got.all();
    ASSERT_GT(all.size(), 1U);
    EXPECT_EQ(all.back().type(), "last");
    all.pop_back();
    EXPECT_GE(bus->socket_counters().resent, all.size());
    const auto first = static_cast<std::size_t>(count) - all.size();
    for (std::size_t i = 0; i < all.size(); ++i) {
        EXPECT_EQ(all[i].type(), "e" + std::to_string(first + i));
        EXPECT_EQ(all[i].id(), ids[first + i]);
    }
    completed.wait();
}

// A member that dies with group events it did not settle: another gets them.
TEST_F(UnixSocket, UnsettledGroupEventsGoToAnotherMember) {
    auto broker = open();
    auto doomed = open(), survivor = open();
    std::promise<void> taken;
    std::vector<delivery> held;
    std::atomic<int> first{0};
    auto stuck = doomed->subscribe(
        "t",
        [&](delivery d) {
            held.push_back(std::move(d));
            if (++first == 3) taken.set_value();
        },
        subscribe_options().group("g")
    );
    ASSERT_EQ(ready(stuck), error_code{});
    for (int i = 0; i < 3; ++i)
        ASSERT_EQ(
            broker->publish_blocking("t", event_draft("e" + std::to_string(i), "r")), error_code{}
        );
    taken.get_future().get();
    seen_events got;
    auto other = survivor->subscribe("t", got.handler(), subscribe_options().group("g"));
    ASSERT_EQ(ready(other), error_code{});
    doomed.reset();
    ASSERT_TRUE(got.wait_for(3));
    EXPECT_THAT(got.types(), ElementsAre("e0", "e1", "e2"));
    EXPECT_EQ(broker->socket_counters().handed_on, 3U);
    held.clear();
}

TEST_F(UnixSocket, SettledGroupEventsAreNotHandedOn) {
    auto broker = open();
    auto worker = open(), other = open();
    seen_events a, b;
    auto sa = worker->subscribe("t", a.handler(), subscribe_options().group("g"));
    ASSERT_EQ(ready(sa), error_code{});
    for (int i = 0; i < 20; ++i)
        ASSERT_EQ(broker->publish_blocking("t", event_draft("e", "r")), error_code{});
    ASSERT_TRUE(a.wait_for(20));
    auto sb = other->subscribe("t", b.handler(), subscribe_options().group("g"));
    ASSERT_EQ(ready(sb), error_code{});
    ASSERT_EQ(worker->flush_blocking(), error_code{});
    worker.reset();
    ASSERT_EQ(broker->publish_blocking("t", event_draft("last", "r")), error_code{});
    ASSERT_TRUE(b.wait_for(1));
    EXPECT_THAT(b.types(), ElementsAre("last"));
}

TEST_F(UnixSocket, WhatAPeerSaidBeforeItLeftCountsThoughAQueueWasFull) {
    constexpr std::size_t events = 20;
    const auto bus = open();
    std::promise<void> go;
    seen_events got;
    auto handler = got.handler();
    auto s = bus->subscribe(
        "t",
        [&, started = false, open = go.get_future()](const event& e) mutable {
            if (!std::exchange(started, true)) open.wait();
            delivery seen(e, nullptr, 0);
            handler(seen);
        },
        subscribe_options().queue_limit(2).in_flight(1)
    );
    {
        auto p = peer();
        for (std::size_t i = 0; i < events; ++i) p.send(publish_t);
    }
    const auto until = std::chrono::steady_clock::now() + patience;
    const auto is_gone = [&] {
        const auto counters = bus->counters();
        return counters.published == events && bus->socket_counters().clients == 0;
    };
    while (!is_gone() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
    EXPECT_TRUE(is_gone());
    go.set_value();
    EXPECT_TRUE(got.wait_for(events));
}

// The handlers fill their own queue with what they wait for: the confirmations come through.
TEST_F(UnixSocket, AHandlerMayAwaitAConfirmationWithItsQueueFull) {
    constexpr int events = 200;
    auto broker = open();
    auto client = open();
    std::atomic<int> confirmed{0};
    std::promise<void> all;
    auto answers = broker->subscribe("answers", [](const event&) {});
    auto s = client->subscribe(
        "t",
        [&](delivery d) {
            client->async_publish(
                "answers",
                event_draft("a", "r"),
                publish_options().confirmed(),
                [&, held = std::move(d)](error_code ec) mutable {
                    EXPECT_EQ(ec, error_code{});
                    std::move(held).ack();
                    if (++confirmed == events) all.set_value();
                }
            );
        },
        subscribe_options().queue_limit(2).in_flight(1)
    );
    ASSERT_EQ(ready(s), error_code{});
    for (int i = 0; i < events; ++i)
        ASSERT_EQ(broker->publish_blocking("t", event_draft("e", "r")), error_code{});
    EXPECT_EQ(all.get_future().wait_for(patience), std::future_status::ready);
    ASSERT_EQ(client->close_blocking(), error_code{});
}

TEST_F(UnixSocket, WithoutABrokerAConfirmedPublishAndACloseEndInTime) {
    auto broker = open();
    auto client = open(options().client_only(true).connect_timeout(200ms));
    ASSERT_EQ(client->role(), bus_role::client);
    broker.reset();
    EXPECT_EQ(
        client->publish_blocking("t", event_draft("x", "r"), publish_options().confirmed()),
        errc::broker_lost
    );
    EXPECT_EQ(client->publish("t", event_draft("y", "r")), error_code{});
    EXPECT_EQ(client->close_blocking(), error_code{});
}

TEST_F(UnixSocket, ARefusedPayloadBlocksNobody) {
    auto broker = open();
    auto client = open();
    seen_events got;
    auto s = client->subscribe("t", got.handler());
    ASSERT_EQ(ready(s), error_code{});
    const auto bad = payload::from_json_text("{bad");
    const auto confirmed = publish_options().confirmed();
    for (auto* bus : {broker.get(), client.get()}) {
        EXPECT_EQ(
            bus->publish_blocking("t", event_draft("x", "r", bad), confirmed), errc::protocol_error
        );
        EXPECT_EQ(bus->publish_blocking("t", event_draft("good", "r"), confirmed), error_code{});
    }
    ASSERT_TRUE(got.wait_for(2));
    EXPECT_THAT(got.types(), ElementsAre("good", "good"));
}

// A client that publishes to a broker which still waits for the members of the last one, and
// leaves.
TEST_F(UnixSocket, WhatAShortLivedClientPublishedToANewBrokerArrives) {
    auto first = open();
    auto second = open(), third = open();
    seen_events got;
    auto s = third->subscribe("t", got.handler());
    ASSERT_EQ(ready(s), error_code{});
    first.reset();
    {
        auto visitor = open(options().client_only(true));
        EXPECT_EQ(visitor->publish_blocking("t", event_draft("x", "r")), error_code{});
        EXPECT_EQ(visitor->close_blocking(), error_code{});
    }
    EXPECT_TRUE(got.wait_for(1));
}

TEST_F(UnixSocket, ALoggersSinkMayUseTheBus) {
    unix_socket_pubsub* bus = nullptr;
    std::atomic<int> records{0};
    unix_socket_options o(path());
    o.logger(logger(log_level::info, [&](const log_record&) {
        if (bus != nullptr) static_cast<void>(bus->role());
        ++records;
    }));
    auto made = std::make_unique<unix_socket_pubsub>(o);
    bus = made.get();
    EXPECT_EQ(tests::joined(*made), error_code{});
    EXPECT_EQ(made->close_blocking(), error_code{});
    EXPECT_GE(records, 1);
}

TEST_F(UnixSocket, TooLargeAPayloadIsRefusedByName) {
    auto broker = open(options().max_inbound_frame_bytes(1000));
    auto client = open(options().max_inbound_frame_bytes(1000));
    const payload large{boost::json::value(std::string(2000, 'x'))};
    EXPECT_EQ(client->publish("t", event_draft("x", "r", large)), errc::payload_too_large);
    EXPECT_EQ(broker->publish("t", event_draft("x", "r", large)), errc::payload_too_large);
}

TEST_F(UnixSocket, OptionsOutOfRangeAreRefused) {
    EXPECT_THROW(unix_socket_pubsub(unix_socket_options("")), std::invalid_argument);
    EXPECT_THROW(unix_socket_pubsub(options().max_inbound_frame_bytes(0)), std::invalid_argument);
    EXPECT_THROW(unix_socket_pubsub(options().membership_ack_timeout(0ms)), std::invalid_argument);
    EXPECT_THROW(unix_socket_pubsub(options().connect_timeout(-1ms)), std::invalid_argument);
    EXPECT_THROW(unix_socket_pubsub(options().pending_limit(0)), std::invalid_argument);
}

TEST_F(UnixSocket, APublishWithoutABrokerEndsAfterTheTimeLimit) {
    // The path is held by something that accepts nothing: connects stay refused for ever.
    std::filesystem::create_directory(path());
    unix_socket_pubsub bus(options().connect_timeout(100ms));
    EXPECT_TRUE(bus.publish_blocking("t", event_draft("x", "r")));
}

}  // namespace
}  // namespace trunkline
