// Several members of one socket bus, many threads, with the invariants that must hold whatever the
// schedule. Under ThreadSanitizer too.
#include "support/temporary_folder.hpp"
#include "support/unix_socket.hpp"

#include <trunkline/unix_socket_pubsub.hpp>

#include <boost/asio/thread_pool.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace trunkline {
namespace {

using namespace std::chrono_literals;
using tests::joined;
using tests::ready;

constexpr auto patience = 60s;

// Counts events by their text; `wait_for` looks at how many different ones there are.
class tally {
public:
    void add(const event& e) {
        const std::lock_guard lock(mutex_);
        ++seen_[std::string(e.run_id()) + "/" + std::string(e.data().text())];
        changed_.notify_all();
    }
    bool wait_for(std::size_t different) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, patience, [&] { return seen_.size() >= different; });
    }
    std::size_t different() {
        const std::lock_guard lock(mutex_);
        return seen_.size();
    }
    std::size_t total() {
        const std::lock_guard lock(mutex_);
        std::size_t sum = 0;
        for (const auto& [key, count] : seen_) sum += count;
        return sum;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::string, std::size_t> seen_;
};

class UnixSocketStress : public testing::Test {
protected:
    std::unique_ptr<unix_socket_pubsub> open(bool client_only = false) {
        unix_socket_options options(folder_.file("bus.sock"));
        options.client_only(client_only)
            .executor(pool_.get_executor())
            .logger(logger::none())
            .broker_path_check_interval(20ms);
        auto bus = std::make_unique<unix_socket_pubsub>(options);
        EXPECT_EQ(joined(*bus), error_code{});
        return bus;
    }
    static void publish(pubsub& bus, const std::string& run, int count, bool confirmed) {
        for (int i = 0; i < count; ++i) {
            event_draft draft("e", run, payload::from_json_text(std::to_string(i)));
            const auto ec =
                bus.publish_blocking("t", std::move(draft), publish_options().confirmed(confirmed));
            ASSERT_EQ(ec, error_code{}) << ec.message();
        }
    }

    tests::temporary_folder folder_;
    boost::asio::thread_pool pool_{2};
};

TEST_F(UnixSocketStress, EveryMemberSeesEveryEventOfEveryPublisher) {
    constexpr int per_publisher = 500;
    std::vector<std::unique_ptr<unix_socket_pubsub>> buses;
    std::vector<std::unique_ptr<tally>> seen;
    std::vector<subscription> subscriptions;
    for (int i = 0; i < 3; ++i) {
        buses.push_back(open());
        seen.push_back(std::make_unique<tally>());
        subscriptions.push_back(
            buses.back()->subscribe("t", [to = seen.back().get()](const event& e) { to->add(e); })
        );
        ASSERT_EQ(ready(subscriptions.back()), error_code{});
    }
    std::vector<std::thread> publishers;
    for (std::size_t i = 0; i < 6; ++i) {
        publishers.emplace_back([&, i] {
            publish(*buses[i % 3], std::to_string(i), per_publisher, i >= 3);
        });
    }
    for (auto& p : publishers) p.join();
    for (auto& s : seen) {
        EXPECT_TRUE(s->wait_for(6UL * per_publisher));
        EXPECT_EQ(s->total(), 6UL * per_publisher);
    }
}

TEST_F(UnixSocketStress, MembersComeAndGoAndAGroupGetsEachEventOnce) {
    constexpr int events = 2000;
    auto broker = open(), publisher = open(), stays = open();
    tally seen;
    const auto worker = [&](const event& e) { seen.add(e); };
    auto s = stays->subscribe("t", worker, subscribe_options().group("g"));
    ASSERT_EQ(ready(s), error_code{});
    std::atomic<bool> over{false};
    std::thread coming_and_going([&] {
        while (!over) {
            auto visitor = open();
            auto v = visitor->subscribe("t", worker, subscribe_options().group("g"));
            ASSERT_EQ(ready(v), error_code{});
        }
    });
    publish(*publisher, "p", events, true);
    EXPECT_TRUE(seen.wait_for(events));
    over = true;
    coming_and_going.join();
    // A visitor that left with events in hand had them given to another: none is lost.
    EXPECT_EQ(seen.different(), static_cast<std::size_t>(events));
}

TEST_F(UnixSocketStress, BrokersComeAndGoAndNothingConfirmedIsLost) {
    constexpr int events = 600;
    constexpr std::size_t events_per_broker = 20;
    std::vector<std::unique_ptr<unix_socket_pubsub>> brokers;
    brokers.push_back(open());
    brokers.push_back(open());
    // These two stay, and never serve.
    auto publisher = open(true), subscriber = open(true);
    tally seen;
    auto s = subscriber->subscribe("t", [&](const event& e) { seen.add(e); });
    ASSERT_EQ(ready(s), error_code{});
    std::atomic<bool> over{false};
    std::size_t ended = 0;
    std::thread killer([&] {
        for (std::size_t next = events_per_broker; !over; std::this_thread::yield()) {
            if (seen.different() < next) continue;
            for (auto& bus : brokers) {
                if (bus->role() != bus_role::broker) continue;
                bus.reset();
                bus = open();
                ++ended;
                next += events_per_broker;
                break;
            }
        }
    });
    publish(*publisher, "p", events, true);
    EXPECT_TRUE(seen.wait_for(events));
    over = true;
    killer.join();
    EXPECT_GE(ended, events / events_per_broker / 2);
}

TEST_F(UnixSocketStress, ClosingWhilePublishingEndsEverything) {
    for (int round = 0; round < 10; ++round) {
        auto a = open(), b = open();
        tally seen;
        auto s = a->subscribe("t", [&](const event& e) { seen.add(e); });
        ASSERT_EQ(ready(s), error_code{});
        std::thread publisher([&] {
            for (int i = 0; i < 100'000; ++i) {
                const auto ec = b->publish_blocking("t", event_draft("e", "r"));
                if (ec == errc::closed) return;
            }
            ADD_FAILURE() << "never closed";
        });
        ASSERT_TRUE(seen.wait_for(1));
        EXPECT_EQ(b->close_blocking(), error_code{});
        publisher.join();
        EXPECT_EQ(a->close_blocking(), error_code{});
    }
}

}  // namespace
}  // namespace trunkline
