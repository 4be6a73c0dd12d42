// The reference among itself on a Unix socket: that the peers can be driven, what its buses do that
// ours must fit in with, and the bytes that they write.

#include "mastra_peer.hpp"
#include "support/raw_peer.hpp"
#include "support/temporary_folder.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <regex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using interop::mastra_peer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using trunkline::tests::raw_peer;
namespace json = boost::json;

// One of each kind that the wire has a word for; nothing in it depends on the machine.
constexpr std::string_view tagged_data = R"({
    "undefined": {"$undefined": true},
    "null": null,
    "date": {"$date": "2023-11-14T22:13:20.123Z"},
    "far": {"$date": "+012345-01-01T00:00:00.000Z"},
    "bigint": {"$bigint": "-12345678901234567890"},
    "regexp": {"$regexp": {"source": "a\\/b.*", "flags": "gi"}},
    "url": {"$url": "https://ex.com/a%20b?q=%C3%A9"},
    "map": {"$map": [
        ["a", 1], [{"k": 1}, {"$date": "1970-01-01T00:00:00.000Z"}], ["u", {"$undefined": true}]
    ]},
    "set": {"$set": [1, "two", {"$map": [["three", {"$bigint": "3"}]]}]},
    "error": {"$error": {
        "name": "TypeError", "message": "boom", "stack": "STACK",
        "cause": {"$error": {"name": "Error", "message": "inner", "stack": "INNER"}},
        "fields": {"code": "E1", "list": [1, {"deep": true}]}
    }},
    "nested": [{"list": [{"$undefined": true}, {"$date": "2023-11-14T22:13:20.000Z"}]}],
    "half": {"$units": "0061d83d"},
    "text": "\u00e9 \u2028 \ud83d\ude00",
    "number": 0.1
})";

std::string event_with(std::string_view data, std::string_view more = "") {
    return R"({"type":"k","runId":"r","data":)" + std::string(data) + std::string(more) + "}";
}

std::string compact(std::string_view text) {
    return json::serialize(json::parse(text));
}

class UnixSocketReference : public ::testing::Test {
protected:
    void SetUp() override {
        if (!interop::no_reference().empty()) GTEST_SKIP() << interop::no_reference();
    }

    const std::string& path() const { return path_; }

private:
    trunkline::tests::temporary_folder folder_;
    std::string path_ = folder_.file("bus");
};

TEST_F(UnixSocketReference, EventArrivesWithAllItsTypes) {
    mastra_peer broker(path()), client(path());
    broker.subscribe("t");
    client.subscribe("t");
    EXPECT_TRUE(broker.role().broker);
    EXPECT_FALSE(client.role().broker);

    client.publish("t", event_with(tagged_data, R"(,"index":7,"more":{"$bigint":"1"})"));
    for (auto* peer : {&broker, &client}) {
        const auto event = peer->wait_for_events(1).at(0);
        EXPECT_EQ(event.data_text(), compact(tagged_data));
        EXPECT_EQ(event.topic, "t");
        EXPECT_EQ(event.group, std::nullopt);
        EXPECT_EQ(event.type, "k");
        EXPECT_EQ(event.run_id, "r");
        EXPECT_EQ(event.index, 7);
        EXPECT_EQ(event.delivery_attempt, 1);
        EXPECT_EQ(json::serialize(event.extra), R"({"more":{"$bigint":"1"}})");
        EXPECT_THAT(json::serialize(event.created_at), HasSubstr("$date"));
    }
    EXPECT_EQ(broker.events().at(0).id, client.events().at(0).id);
}

// The broker counts as one member, however many callbacks it has; inside a process they take turns.
TEST_F(UnixSocketReference, GroupRotatesByProcess) {
    mastra_peer broker(path()), client(path());
    const interop::mastra_subscriber worker{.group = "g", .mode = "ack"};
    broker.subscribe("t", worker);
    std::vector<int> workers;
    for (int i = 0; i < 3; ++i) workers.push_back(client.subscribe("t", worker));

    broker.publish_many("t", 6);
    std::vector<std::string> at_broker, at_client;
    for (const auto& event : broker.wait_for_events(3))
        at_broker.push_back(json::serialize(event.data.at("seq")));
    std::vector<int> order;
    for (const auto& event : client.wait_for_events(3)) {
        at_client.push_back(json::serialize(event.data.at("seq")));
        order.push_back(event.subscription);
        EXPECT_EQ(event.group, "g");
    }
    EXPECT_THAT(at_broker, ElementsAre("0", "2", "4"));
    EXPECT_THAT(at_client, ElementsAre("1", "3", "5"));
    EXPECT_EQ(order, workers);
}

TEST_F(UnixSocketReference, KilledBrokerIsReplaced) {
    mastra_peer broker(path()), first(path()), second(path());
    broker.subscribe("t");
    first.subscribe("t");
    second.subscribe("t");
    broker.wait_for_role(true, 2);
    broker.kill_9();

    // Until everyone is back an event may pass somebody by or be refused: publish until one reaches
    // both.
    std::int64_t seq = 0;
    const auto arrives = [&](mastra_peer& at) {
        for (const auto& event : at.events())
            if (event.data.at("seq") == seq) return true;
        return false;
    };
    for (bool everywhere = false; !everywhere;) {
        ASSERT_LT(++seq, 200);
        first.call(
            "publish_many", {{"topic", "t"}, {"count", 1}, {"first", seq}, {"tolerant", true}}
        );
        const auto until = std::chrono::steady_clock::now() + 50ms;
        while (!everywhere && std::chrono::steady_clock::now() < until) {
            first.has_events(first.events().size() + 1, 2ms);
            everywhere = arrives(first) && arrives(second);
        }
    }
    EXPECT_NE(first.role().broker, second.role().broker);
    (first.role().broker ? first : second).wait_for_role(true, 1);
}

TEST_F(UnixSocketReference, NackComesAgainToTheSameSubscriber) {
    mastra_peer broker(path()), client(path());
    broker.subscribe("t", {.group = "g", .mode = "ack"});
    const int failing = client.subscribe("t", {.group = "g", .mode = "nack", .times = 2});
    client.publish_many("t", 2);  // the second one is the client's

    std::vector<int> attempts;
    for (const auto& event : client.wait_for_events(3)) {
        attempts.push_back(event.delivery_attempt);
        EXPECT_EQ(event.subscription, failing);
        EXPECT_EQ(event.id, client.events().front().id);
    }
    EXPECT_THAT(attempts, ElementsAre(1, 2, 3));
}

TEST_F(UnixSocketReference, ThrowingSubscriberIsNotARedelivery) {
    mastra_peer broker(path()), client(path());
    const int throwing = client.subscribe("t", {.mode = "throw"});
    client.subscribe("t");
    broker.publish_many("t", 3);
    EXPECT_EQ(client.wait_for_count(throwing, 3).different, 3);
    EXPECT_EQ(client.wait_for_events(6).back().delivery_attempt, 1);
}

TEST_F(UnixSocketReference, QuietSubscriberCounts) {
    mastra_peer broker(path()), client(path());
    broker.subscribe("other");
    const int quiet = client.subscribe("t", {.quiet = true});
    constexpr int count = 2000;
    broker.publish_many("t", count);
    const auto counts = client.wait_for_count(quiet, count);
    EXPECT_EQ(counts.different, count);
    EXPECT_EQ(counts.inversions, 0);
    EXPECT_TRUE(client.events().empty());
}

TEST_F(UnixSocketReference, UnsubscribedIsSilent) {
    mastra_peer broker(path()), client(path());
    broker.subscribe("t");
    const int gone = client.subscribe("t");
    const int stays = client.subscribe("t");
    client.unsubscribe(gone);
    broker.publish_many("t", 1);
    EXPECT_EQ(client.wait_for_events(1).at(0).subscription, stays);
    client.unsubscribe(stays);
    broker.publish_many("t", 1);
    client.subscribe("sentinel");
    broker.publish_many("sentinel", 1);
    EXPECT_EQ(client.wait_for_events(2).at(1).topic, "sentinel");
}

TEST_F(UnixSocketReference, ReplayComesBeforeLiveEvents) {
    mastra_peer broker(path(), {.replay = true}), client(path());
    broker.subscribe("t");
    broker.publish_many("t", 3);
    const int late = broker.subscribe("t", {.from = 1});
    broker.publish_many("t", 1, 3);
    std::vector<std::int64_t> indexes;
    for (const auto& event : broker.wait_for_events(6))
        if (event.subscription == late) indexes.push_back(event.index.value_or(-1));
    EXPECT_THAT(indexes, ElementsAre(1, 2, 3));
    EXPECT_EQ(broker.history("t", 2).size(), 2U);
}

TEST_F(UnixSocketReference, StoppedPeerLeaves) {
    mastra_peer broker(path()), client(path());
    broker.subscribe("t");
    client.subscribe("t");
    broker.wait_for_role(true, 1);
    client.stop();
    broker.wait_for_role(true, 0);
    EXPECT_TRUE(std::filesystem::exists(path()));
    broker.stop();
    EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(UnixSocketReference, RefusedCommandSaysWhy) {
    mastra_peer peer(path());
    peer.close();
    try {
        peer.publish("t", event_with("1"));
        FAIL() << "a closed bus took an event";
    } catch (const std::runtime_error& failure) {
        EXPECT_THAT(failure.what(), HasSubstr("publish"));
        EXPECT_THAT(failure.what(), HasSubstr("closed"));
    }
    peer.kill_9();
    EXPECT_THROW(peer.role(), std::runtime_error);
}

// ---- The bytes

// Ids and times are different each time; in their place come some of the same length.
std::string without_chance(const std::string& frame) {
    static const std::regex id(R"re("id":"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")re");
    static const std::regex time(R"re("createdAt":\{"__m_codec__":"Date","v":"[-0-9T:.]{23}Z"\})re"
    );
    return std::regex_replace(
        std::regex_replace(frame, id, R"("id":"00000000-0000-4000-8000-000000000000")"),
        time,
        R"("createdAt":{"__m_codec__":"Date","v":"2026-01-01T00:00:00.000Z"})"
    );
}

std::string golden_line(std::string_view step, std::string_view from, const std::string& frame) {
    return json::serialize(
        json::object{{"step", step}, {"from", from}, {"frame", without_chance(frame)}}
    );
}

const std::string plain_event = event_with(R"({"a":{"$undefined":true},"b":[1,"two",null]})");
const std::string extra_event =
    event_with("1", R"(,"index":3,"zz":{"$date":"1970-01-01T00:00:00.000Z"})");
// What custom fields of an error become: the reference does not encode them.
const std::string error_event =
    event_with(R"({"$error":{"message":"m","stack":"S","fields":{)"
               R"("when":{"$date":"1970-01-01T00:00:00.000Z"},"map":{"$map":[[1,2]]}}}})");

// Frames that a client of the reference writes; the broker is ours and answers by hand.
std::vector<std::string> record_client(const std::string& path) {
    std::vector<std::string> lines;
    auto listener = raw_peer::listening(path);
    mastra_peer client(path);

    const int fanout = client.send("subscribe", {{"topic", "t"}});
    auto broker = listener.accept();
    const auto record = [&](std::string_view step) {
        lines.push_back(golden_line(step, "client", broker.line()));
    };
    record("subscribe");
    broker.send(R"({"type":"subscribed","topic":"t"})");
    client.answer(fanout);
    const int member = client.send("subscribe", {{"topic", "t"}, {"group", "g"}});
    record("subscribe in a group");
    broker.send(R"({"type":"subscribed","topic":"t","group":"g"})");
    client.answer(member);

    client.publish("t", plain_event);
    record("publish");
    client.publish("t", event_with(tagged_data));
    record("publish all types");
    client.publish("t", extra_event);
    record("publish with further fields");
    client.publish("t", error_event);
    record("publish an error with fields of its own");

    const int leaves = client.send("unsubscribe", {{"subscription", member}});
    record("unsubscribe in a group");
    broker.send(R"({"type":"unsubscribed","topic":"t","group":"g"})");
    client.answer(leaves);
    const int ends = client.send("unsubscribe", {{"subscription", fanout}});
    record("unsubscribe");
    broker.send(R"({"type":"unsubscribed","topic":"t"})");
    client.answer(ends);
    return lines;
}

// Frames that a broker of the reference writes to a client of ours, which wrote the first ones.
std::vector<std::string> record_broker(const std::string& path) {
    std::vector<std::string> lines;
    mastra_peer broker(path);
    broker.subscribe("elsewhere");
    raw_peer client(path);
    const auto record = [&](std::string_view step) {
        lines.push_back(golden_line(step, "broker", client.line()));
    };

    client.send(R"({"type":"subscribe","topic":"t","group":{"__m_codec__":"Undefined"}})");
    record("subscribed");
    client.send(R"({"type":"subscribe","topic":"t","group":"g"})");
    record("subscribed in a group");

    const auto record_both = [&](const std::string& step) {
        record(step);
        record(step + ", in a group");
    };
    broker.publish("t", plain_event);
    record_both("event");
    broker.publish("t", event_with(tagged_data));
    record_both("event with all types");
    broker.publish("t", extra_event);
    record_both("event with further fields");
    client.send(
        R"({"type":"publish","topic":"t","event":{"type":"k","id":"mine","runId":"r",)"
        R"("data":{"a":{"__m_codec__":"Undefined"},"n":1.50e1},"deliveryAttempt":9,"index":3,)"
        R"("zz":1}})"
    );
    record_both("event of this client");

    client.send(R"({"type":"unsubscribe","topic":"t","group":"g"})");
    record("unsubscribed in a group");
    client.send(R"({"type":"unsubscribe","topic":"t"})");
    record("unsubscribed");
    client.send(R"({"type":"unsubscribe","topic":"never","group":null})");
    record("unsubscribed from what it had not subscribed");
    return lines;
}

constexpr const char* golden_file = TRUNKLINE_SOURCE_DIR "/tests/interop/golden/unix_socket.jsonl";
constexpr const char* record_variable = "TRUNKLINE_RECORD";

TEST_F(UnixSocketReference, FramesAreTheGoldenOnes) {
    auto recorded = record_client(path());
    std::filesystem::remove(path());
    for (auto& line : record_broker(path())) recorded.push_back(std::move(line));

    if (std::getenv(record_variable) != nullptr) {
        std::ofstream file(golden_file, std::ios::binary);
        file << json::serialize(json::object{
                    {"reference", interop::reference_version()},
                    {"command",
                     std::string(record_variable) +
                         "=1 trunkline_interop_tests"
                         " --gtest_filter=UnixSocketReference.FramesAreTheGoldenOnes"},
                    {"replaced", json::array{"id", "createdAt"}}
                })
             << '\n';
        for (const auto& line : recorded) file << line << '\n';
        ASSERT_TRUE(file.flush());
        GTEST_SKIP() << "recorded, not compared: " << record_variable << " is set";
    }

    std::ifstream file(golden_file, std::ios::binary);
    std::string header, line;
    ASSERT_TRUE(std::getline(file, header)) << golden_file;
    std::vector<std::string> golden;
    while (std::getline(file, line)) golden.push_back(line);
    EXPECT_EQ(recorded, golden) << "recorded with " << interop::reference_version()
                                << ", the file: " << header;
}

}  // namespace
