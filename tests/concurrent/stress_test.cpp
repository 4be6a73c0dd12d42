// Many threads on one bus, with the invariants that must hold whatever the schedule. These run
// under ThreadSanitizer too.
#include <trunkline/caching_pubsub.hpp>
#include <trunkline/event_emitter_pubsub.hpp>
#include <trunkline/make_pubsub.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace trunkline {
namespace {

namespace asio = boost::asio;

constexpr int publishers = 4;
constexpr int per_publisher = 2000;

/// Two threads for the bus, joined before the test looks at the results.
struct bus_threads {
    asio::thread_pool pool{2};
    std::shared_ptr<pubsub> open(const std::string& url) {
        bus_environment environment;
        environment.executor = pool.get_executor();
        environment.logger = logger::none();
        return make_pubsub(url, environment);
    }
};

void in_threads(int count, const std::function<void(int)>& body) {
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i) threads.emplace_back([&, i] { body(i); });
    for (auto& t : threads) t.join();
}

void publish_numbers(pubsub& bus, int publisher, int count = per_publisher) {
    for (int i = 0; i < count; ++i) {
        auto text = std::to_string(i);
        while (bus.publish(
            "t", event_draft("e", std::to_string(publisher), payload::from_json_text(text))
        )) {
            ASSERT_FALSE(bus.publish_blocking(
                "t", event_draft("e", std::to_string(publisher), payload::from_json_text(text))
            ));
            break;
        }
    }
}

class Stress : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(
    Buses,
    Stress,
    ::testing::Values(
        "memory:", "memory:?dispatch=queued", "memory:?replay=1", "memory:?replay=1&dispatch=queued"
    ),
    [](const auto& info) {
        std::string name = info.param;
        std::erase_if(name, [](char c) {
            return std::isalnum(static_cast<unsigned char>(c)) == 0;
        });
        return name;
    }
);

// Subscribers come and go; those that stay see everything, in one common order, and each
// publisher's events in its own.
TEST_P(Stress, AllSubscribersSeeOneOrder) {
    bus_threads threads;
    const auto bus = threads.open(GetParam());
    std::vector<std::string> seen[2];
    const auto record = [&](int which) {
        return [&, which](const event& e) {
            seen[which].push_back(std::string(e.run_id()) + ':' + std::string(e.data().text()));
        };
    };
    const auto first = bus->subscribe("t", record(0));
    const auto second = bus->subscribe("t", record(1));
    std::atomic<bool> over{false};
    std::thread guests([&] {
        while (!over) {
            const auto guest = bus->subscribe("t", [](const event&) {});
            const auto member =
                bus->subscribe("t", [](const event&) {}, subscribe_options{}.group("g"));
        }
    });
    in_threads(publishers, [&](int p) { publish_numbers(*bus, p); });
    over = true;
    guests.join();
    ASSERT_FALSE(bus->flush_blocking());
    ASSERT_EQ(seen[0].size(), static_cast<std::size_t>(publishers * per_publisher));
    EXPECT_EQ(seen[0], seen[1]);
    std::map<std::string, int> next;
    for (const auto& text : seen[0]) {
        const auto colon = text.find(':');
        ASSERT_EQ(std::stoi(text.substr(colon + 1)), next[text.substr(0, colon)]++);
    }
}

// Members join and leave, some deliveries fail: every event is settled once.
TEST_P(Stress, AGroupHandlesEveryEventOnce) {
    bus_threads threads;
    const auto bus = threads.open(GetParam());
    std::mutex mutex;
    std::map<std::string, int> handled;
    const auto work = [&](const event& e) {
        const auto key = std::string(e.run_id()) + ':' + std::string(e.data().text());
        if (e.delivery_attempt() == 1 && e.data().text().ends_with("7"))
            throw std::runtime_error("x");
        const std::lock_guard lock(mutex);
        ++handled[key];
    };
    const subscribe_options in_group = subscribe_options{}.group("g");
    const auto stays = bus->subscribe("t", work, in_group);
    std::atomic<bool> over{false};
    std::thread guests([&] {
        while (!over) {
            const auto one = bus->subscribe("t", work, in_group);
            const auto two = bus->subscribe("t", work, in_group);
        }
    });
    in_threads(publishers, [&](int p) { publish_numbers(*bus, p); });
    over = true;
    guests.join();
    ASSERT_FALSE(bus->flush_blocking());
    EXPECT_EQ(handled.size(), static_cast<std::size_t>(publishers * per_publisher));
    for (const auto& [key, times] : handled) ASSERT_EQ(times, 1) << key;
}

TEST_P(Stress, StopIsFinalWhileOthersPublish) {
    bus_threads threads;
    const auto bus = threads.open(GetParam());
    std::atomic<bool> over{false};
    std::thread publisher([&] {
        while (!over) bus->publish("t", event_draft("e", "r"));
    });
    for (int round = 0; round < 300; ++round) {
        std::atomic<bool> alive{true};
        std::atomic<int> late{0};
        {
            const auto s = bus->subscribe("t", [&](const event&) {
                if (!alive) ++late;
            });
        }
        alive = false;
        ASSERT_EQ(late, 0);
    }
    over = true;
    publisher.join();
}

TEST_P(Stress, CloseWhilePublishing) {
    bus_threads threads;
    for (int round = 0; round < 20; ++round) {
        const auto bus = threads.open(GetParam());
        std::atomic<bool> closed{false};
        std::atomic<bool> over{false};
        std::atomic<int> late{0};
        const auto s = bus->subscribe("t", [&](const event&) {
            if (closed) ++late;
        });
        std::thread publisher([&] {
            while (!over) bus->publish("t", event_draft("e", "r"));
        });
        ASSERT_FALSE(bus->close_blocking());
        closed = true;
        over = true;
        publisher.join();
        EXPECT_EQ(late, 0);
    }
}

TEST_P(Stress, AwaitedPublishesAllComplete) {
    bus_threads threads;
    const auto bus = threads.open(GetParam());
    std::atomic<int> handled{0};
    std::atomic<int> accepted{0};
    std::atomic<int> completed{0};
    const auto s =
        bus->subscribe("t", [&](const event&) { ++handled; }, subscribe_options{}.queue_limit(64));
    in_threads(publishers, [&](int) {
        for (int i = 0; i < per_publisher; ++i) {
            bus->async_publish("t", event_draft("e", "r"), [&](error_code ec) {
                if (!ec) ++accepted;
                ++completed;
            });
        }
    });
    ASSERT_FALSE(bus->flush_blocking());
    bus->close_blocking();
    threads.pool.join();
    EXPECT_EQ(completed, publishers * per_publisher);
    EXPECT_EQ(handled, accepted);
}

class ReplayStress : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(
    Buses,
    ReplayStress,
    ::testing::Values("memory:?replay=1", "memory:?replay=1&dispatch=queued"),
    [](const auto& info) { return std::string(info.index == 0 ? "inline" : "queued"); }
);

// Six subscribers join while three publishers run: each sees 0…n−1 once, in order.
TEST_P(ReplayStress, JoinersSeeEveryIndexOnceAndInOrder) {
    bus_threads threads;
    const auto bus = threads.open(GetParam());
    constexpr int joiners = 6;
    std::vector<std::uint64_t> seen[joiners];
    std::vector<subscription> subscriptions(joiners);
    std::thread joining([&] {
        for (int j = 0; j < joiners; ++j) {
            subscriptions[static_cast<std::size_t>(j)] = bus->subscribe_with_replay(
                "t", [&, j](const event& e) { seen[j].push_back(e.index().value()); }
            );
            std::this_thread::yield();
        }
    });
    in_threads(3, [&](int p) { publish_numbers(*bus, p); });
    joining.join();
    ASSERT_FALSE(bus->flush_blocking());
    for (auto& s : subscriptions) s.ready(asio::use_future).get();
    ASSERT_FALSE(bus->flush_blocking());
    subscriptions.clear();
    for (const auto& indices : seen) {
        ASSERT_EQ(indices.size(), 3U * per_publisher);
        for (std::size_t i = 0; i < indices.size(); ++i) ASSERT_EQ(indices[i], i);
    }
}

// The topic is cleared now and then: indices of one subscriber only ever go on by one or start
// again at 0, and after the last clear nothing is missing.
TEST_P(ReplayStress, ClearingNeverMixesTwoLives) {
    bus_threads threads;
    const auto bus = threads.open(GetParam());
    std::vector<std::uint64_t> seen;
    auto s =
        bus->subscribe_with_replay("t", [&](const event& e) { seen.push_back(e.index().value()); });
    std::thread clearing([&] {
        for (int i = 0; i < 20; ++i) {
            bus->async_clear_topic("t", asio::use_future).get();
            std::this_thread::yield();
        }
    });
    in_threads(2, [&](int p) { publish_numbers(*bus, p); });
    clearing.join();
    ASSERT_FALSE(bus->flush_blocking());
    bus->async_clear_topic("t", asio::use_future).get();
    publish_numbers(*bus, 9, 10);
    ASSERT_FALSE(bus->flush_blocking());
    s = {};
    for (std::size_t i = 1; i < seen.size(); ++i)
        ASSERT_TRUE(seen[i] == seen[i - 1] + 1 || seen[i] == 0)
            << seen[i - 1] << " then " << seen[i];
    ASSERT_GE(seen.size(), 10U);
    EXPECT_EQ(seen.back(), 9U);
}

TEST(LeaseStress, OneOfManyRacersWins) {
    bus_threads threads;
    const auto bus = threads.open("memory:");
    for (int round = 0; round < 100; ++round) {
        std::atomic<int> winners{0};
        const auto key = std::to_string(round);
        in_threads(4, [&](int racer) {
            const auto answer =
                bus->leases()
                    ->async_acquire(
                        key, std::to_string(racer), std::chrono::hours{1}, asio::use_future
                    )
                    .get();
            if (answer.acquired) ++winners;
        });
        ASSERT_EQ(winners, 1);
    }
}

}  // namespace
}  // namespace trunkline
