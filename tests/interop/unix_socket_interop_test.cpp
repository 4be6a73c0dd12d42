// This library and real processes of the reference on one Unix socket: neither side can tell.
#include "mastra_peer.hpp"
#include "support/temporary_folder.hpp"
#include "support/unix_socket.hpp"

#include <trunkline/caching_pubsub.hpp>
#include <trunkline/server_cache.hpp>
#include <trunkline/testkit/captured_log.hpp>
#include <trunkline/unix_socket_pubsub.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace trunkline {
namespace {

using namespace std::chrono_literals;
using interop::mastra_peer;
using testing::ElementsAre;
using testing::HasSubstr;
using tests::ready;
using tests::seen_events;
namespace json = boost::json;

constexpr auto patience = seen_events::patience;

// One of each kind that the wire has a word for, in the notation of mastra_peer.mjs.
constexpr std::string_view tagged_data =
    R"({"undefined":{"$undefined":true},"null":null,"date":{"$date":"2023-11-14T22:13:20.123Z"},)"
    R"("far":{"$date":"+012345-01-01T00:00:00.000Z"},"bigint":{"$bigint":"-12345678901234567890"},)"
    R"("regexp":{"$regexp":{"source":"a\\/b.*","flags":"gi"}},"url":{"$url":"https://ex.com/a%20b?q=%C3%A9"},)"
    R"("map":{"$map":[["a",1],[{"k":1},{"$date":"1970-01-01T00:00:00.000Z"}],["u",{"$undefined":true}]]},)"
    R"("set":{"$set":[1,"two",{"$map":[["three",{"$bigint":"3"}]]}]},)"
    R"("error":{"$error":{"name":"TypeError","message":"boom","stack":"STACK",)"
    R"("cause":{"$error":{"name":"Error","message":"inner","stack":"INNER"}},"fields":{"code":"E1"}}},)"
    R"("half":{"$units":"0061d83d"},"text":"é 😀","number":0.1})";

std::string compact(std::string_view text) {
    return json::serialize(json::parse(text));
}

std::multiset<std::int64_t> numbers(const std::vector<event>& events) {
    std::multiset<std::int64_t> out;
    for (const auto& e : events) out.insert(e.data().tree().at("seq").to_number<std::int64_t>());
    return out;
}

class UnixSocketInterop : public testing::Test {
protected:
    void SetUp() override {
        if (!interop::no_reference().empty()) GTEST_SKIP() << interop::no_reference();
    }
    std::shared_ptr<unix_socket_pubsub> open() {
        auto bus = std::make_shared<unix_socket_pubsub>(
            unix_socket_options(path()).logger(log_.logger()).broker_path_check_interval(50ms)
        );
        EXPECT_EQ(tests::joined(*bus), error_code{});
        return bus;
    }
    static subscription record(pubsub& bus, seen_events& into, subscribe_options how = {}) {
        auto s = bus.subscribe("t", into.handler(), how);
        EXPECT_EQ(ready(s), error_code{});
        return s;
    }
    static void publish_numbers(pubsub& bus, int from, int count) {
        for (int i = from; i < from + count; ++i) {
            EXPECT_EQ(
                bus.publish_blocking("t", event_draft("n", "r", json::value{{"seq", i}})),
                error_code{}
            );
        }
    }
    // What a C++ member hears on "t" it says again on "u", as it came.
    void echo_keeps_every_type(bool ours_first) {
        std::unique_ptr<mastra_peer> peer;
        if (!ours_first) {
            peer = std::make_unique<mastra_peer>(path());
            peer->subscribe("u");
        }
        const auto bus = open();
        if (ours_first) {
            peer = std::make_unique<mastra_peer>(path());
            peer->subscribe("u");
        }
        EXPECT_EQ(bus->role(), ours_first ? bus_role::broker : bus_role::client);
        seen_events got;
        const auto s = record(*bus, got);
        peer->publish(
            "t",
            R"({"type":"k","runId":"r","index":7,"more":{"$bigint":"1"},"data":)" +
                std::string(tagged_data) + "}"
        );
        ASSERT_TRUE(got.wait_for(1));
        const auto heard = got.all().front();
        EXPECT_EQ(heard.type(), "k");
        EXPECT_EQ(heard.run_id(), "r");
        EXPECT_EQ(heard.index(), 7U);
        event_draft again("k", "r", heard.data());
        again = std::move(again).index(7);
        for (const auto& [name, value] : *heard.extra())
            again = std::move(again).extra(name, value);
        ASSERT_EQ(bus->publish_blocking("u", std::move(again)), error_code{});
        const auto back = peer->wait_for_events(1).at(0);
        EXPECT_EQ(back.data_text(), compact(tagged_data));
        EXPECT_EQ(back.index, 7);
        EXPECT_EQ(json::serialize(back.extra), R"({"more":{"$bigint":"1"}})");
        EXPECT_EQ(back.delivery_attempt, 1);
        EXPECT_THAT(json::serialize(back.created_at), HasSubstr("$date"));
    }
    std::string path() const { return folder_.file("bus.sock"); }

    tests::temporary_folder folder_;
    testkit::captured_log log_;
};

TEST_F(UnixSocketInterop, EveryTypeSurvivesThroughOurBroker) {
    echo_keeps_every_type(true);
}

TEST_F(UnixSocketInterop, EveryTypeSurvivesThroughTheirBroker) {
    echo_keeps_every_type(false);
}

TEST_F(UnixSocketInterop, OneIdForAllWhoeverIsBroker) {
    for (const bool ours_first : {true, false}) {
        std::unique_ptr<mastra_peer> peer;
        if (!ours_first) peer = std::make_unique<mastra_peer>(path());
        auto bus = open();
        if (ours_first) peer = std::make_unique<mastra_peer>(path());
        peer->subscribe("t");
        seen_events got;
        auto s = record(*bus, got);
        ASSERT_EQ(bus->publish_blocking("t", event_draft("x", "r")), error_code{});
        ASSERT_TRUE(got.wait_for(1));
        EXPECT_EQ(peer->wait_for_events(1).at(0).id, got.all().front().id().text());
        s = {};
        if (ours_first) {
            ASSERT_EQ(bus->close_blocking(), error_code{});
            peer->stop();
        } else {
            peer->stop();
            ASSERT_EQ(bus->close_blocking(), error_code{});
        }
    }
}

// Each event to one process in turn, in both languages, under either broker.
TEST_F(UnixSocketInterop, AGroupIsSharedByBothLanguages) {
    for (const bool ours_first : {true, false}) {
        std::unique_ptr<mastra_peer> peer;
        if (!ours_first) peer = std::make_unique<mastra_peer>(path());
        auto bus = open();
        if (ours_first) peer = std::make_unique<mastra_peer>(path());
        const auto theirs = peer->subscribe("t", {.group = "g", .mode = "ack", .quiet = true});
        seen_events got;
        auto s = record(*bus, got, subscribe_options().group("g"));
        publish_numbers(*bus, 0, 100);
        ASSERT_TRUE(got.wait_for(50));
        EXPECT_EQ(peer->wait_for_count(theirs, 50).count, 50);
        peer->publish_many("t", 100, 100);
        ASSERT_TRUE(got.wait_for(100));
        EXPECT_EQ(peer->wait_for_count(theirs, 100).count, 100);
        const auto seen = numbers(got.all());
        EXPECT_EQ(seen.size(), 100U);
        for (const auto n : seen) EXPECT_EQ(seen.count(n), 1U);
        s = {};
        bus.reset();
        peer.reset();
    }
}

TEST_F(UnixSocketInterop, NackIsLocalAndPeersCannotTell) {
    const auto bus = open();
    mastra_peer peer(path());
    const auto theirs = peer.subscribe("t", {.quiet = true});
    std::mutex mutex;
    std::vector<std::uint32_t> attempts;
    std::promise<void> third;
    auto s = bus->subscribe("t", [&](delivery& d) {
        const std::lock_guard lock(mutex);
        attempts.push_back(d.event().delivery_attempt());
        if (attempts.size() < 3) {
            std::move(d).nack();
            return;
        }
        std::move(d).ack();
        third.set_value();
    });
    peer.publish_many("t", 1);
    third.get_future().get();
    EXPECT_THAT(attempts, ElementsAre(1U, 2U, 3U));
    EXPECT_EQ(peer.wait_for_count(theirs, 1).count, 1);
}

// Row 9, and the hand-over both ways: whoever is broker leaves, the other takes over, and the
// subscriptions of both are there again.
TEST_F(UnixSocketInterop, TheBrokerIsHandedOverBothWays) {
    auto bus = open();
    auto peer = std::make_unique<mastra_peer>(path());
    peer->subscribe("t");
    // Ours leaves: theirs takes over.
    ASSERT_EQ(bus->close_blocking(), error_code{});
    peer->wait_for_role(true);
    auto second = open();
    EXPECT_EQ(second->role(), bus_role::client);
    seen_events got;
    const auto s = record(*second, got);
    publish_numbers(*second, 0, 3);
    ASSERT_TRUE(got.wait_for(3));
    EXPECT_EQ(peer->wait_for_events(3).size(), 3U);
    // Theirs dies: ours takes over, and a new one of theirs joins.
    peer->kill_9();
    const auto until = std::chrono::steady_clock::now() + patience;
    while (second->role() != bus_role::broker && std::chrono::steady_clock::now() < until)
        std::this_thread::yield();
    ASSERT_EQ(second->role(), bus_role::broker);
    mastra_peer newcomer(path());
    newcomer.subscribe("t");
    EXPECT_FALSE(newcomer.role().broker);
    publish_numbers(*second, 10, 1);
    newcomer.publish_many("t", 1, 11);
    ASSERT_TRUE(got.wait_for(5));
    EXPECT_EQ(newcomer.wait_for_events(2).size(), 2U);
}

TEST_F(UnixSocketInterop, AConfirmedPublishOnTheirBrokerDoesNotHang) {
    mastra_peer broker(path());
    broker.subscribe("t");
    const auto bus = open();
    for (int i = 0; i < 20; ++i) {
        ASSERT_EQ(
            bus->publish_blocking("t", event_draft("x", "r"), publish_options().confirmed()),
            error_code{}
        );
    }
    EXPECT_EQ(broker.wait_for_events(20).size(), 20U);
    EXPECT_EQ(bus->flush_blocking(), error_code{});
}

TEST_F(UnixSocketInterop, ALargeEventPassesBothWays) {
    const auto bus = open();
    mastra_peer peer(path());
    peer.subscribe("t");
    seen_events got;
    const auto s = record(*bus, got);
    std::string large;
    large.resize(10'000'000, 'x');
    ASSERT_EQ(
        bus->publish_blocking("t", event_draft("big", "r", json::value(large))), error_code{}
    );
    EXPECT_EQ(peer.wait_for_events(1).at(0).data.as_string(), large);
    peer.publish("t", R"({"type":"big","runId":"r","data":")" + large + "\"}");
    ASSERT_TRUE(got.wait_for(2));
    EXPECT_EQ(got.all().at(1).data().tree().as_string(), large);
}

// Row 6: two publishers in two processes, each with a replay cache of its own: nobody loses one.
TEST_F(UnixSocketInterop, TwoReplayCachesOnOneBusLoseNothing) {
    const auto bus = open();
    auto cached = std::make_shared<caching_pubsub>(bus, std::make_shared<memory_server_cache>());
    mastra_peer peer(path(), {.replay = true});
    seen_events got;
    auto s = cached->subscribe_with_replay("t", got.handler());
    ASSERT_EQ(ready(s), error_code{});
    const auto theirs = peer.subscribe("t", {.quiet = true});
    const auto under_way =
        peer.send("publish_many", {{"topic", "t"}, {"count", 200}, {"first", 1000}});
    publish_numbers(*cached, 0, 200);
    peer.answer(under_way);
    ASSERT_TRUE(got.wait_for(400));
    EXPECT_EQ(peer.wait_for_count(theirs, 400).count, 400);
    const auto seen = numbers(got.all());
    EXPECT_EQ(seen.size(), 400U);
    for (int i = 0; i < 200; ++i) {
        EXPECT_EQ(seen.count(i), 1U) << i;
        EXPECT_EQ(seen.count(1000 + i), 1U) << i;
    }
}

}  // namespace
}  // namespace trunkline
