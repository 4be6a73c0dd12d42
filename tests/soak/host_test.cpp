// Processes on one host that leave and die. The quick form runs with every test run; the full one
// has the counts and time limits of the product: TRUNKLINE_FULL=1, or ./dev test --full NAME.
#include "interop/mastra_peer.hpp"
#include "support/child_process.hpp"
#include "support/temporary_folder.hpp"
#include "support/unix_socket.hpp"

#include <trunkline/unix_socket_pubsub.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace trunkline {
namespace {

using namespace std::chrono_literals;
using tests::joined;
using tests::ready;
using steady = std::chrono::steady_clock;
using tests::child_process;

bool full() {
    return std::getenv("TRUNKLINE_FULL") != nullptr;
}

constexpr auto patience = 30s;

// --- a member in a process of its own ------------------------------------------------------------

constexpr auto path_variable = "TRUNKLINE_TEST_MEMBER_PATH";

// Started by the tests below as another process: a subscriber that answers `role` and leaves on
// `close`.
TEST(HostMember, DISABLED_Run) {
    const char* path = std::getenv(path_variable);
    ASSERT_NE(path, nullptr);
    unix_socket_pubsub bus{unix_socket_options(path)};
    ASSERT_EQ(joined(bus), error_code{});
    auto s = bus.subscribe("t", [](const event&) {});
    ASSERT_EQ(ready(s), error_code{});
    std::cout << "joined" << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
        if (line == "close") {
            ASSERT_EQ(bus.close_blocking(), error_code{});
            std::cout << "closed" << std::endl;
            return;
        }
        std::cout << (bus.role() == bus_role::broker ? "broker" : "other") << std::endl;
    }
}

class member_process {
public:
    explicit member_process(const std::string& path)
        : process_(
              {"/proc/self/exe",
               "--gtest_filter=HostMember.DISABLED_Run",
               "--gtest_also_run_disabled_tests"},
              {{path_variable, path}}
          ) {
        EXPECT_TRUE(process_.wait_for_line("joined", patience));
    }
    bool is_broker() {
        process_.write("role\n");
        return process_.next_of({"broker", "other"}, patience) == "broker";
    }
    void leave() {
        process_.write("close\n");
        EXPECT_TRUE(process_.wait_for_line("closed", patience));
        process_.wait();
    }
    void kill_9() { process_.kill_9(); }

private:
    child_process process_;
};

// --- kill -9 -------------------------------------------------------------------------------------

class HostKill9 : public testing::Test {
protected:
    std::unique_ptr<unix_socket_pubsub> observer() {
        auto bus = std::make_unique<unix_socket_pubsub>(
            unix_socket_options(folder_.file("bus.sock")).client_only(true)
        );
        EXPECT_EQ(joined(*bus), error_code{});
        return bus;
    }
    tests::temporary_folder folder_;
};

TEST_F(HostKill9, NothingConfirmedIsLost) {
    const int kills = full() ? 200 : 5;
    // 5,000 events a second; the quick form runs with sanitizers, beside other tests.
    const auto period = full() ? 200us : 2000us;
    const auto path = folder_.file("bus.sock");
    std::deque<std::unique_ptr<member_process>> members;
    for (int i = 0; i < 3; ++i) members.push_back(std::make_unique<member_process>(path));
    std::mutex mutex;
    std::condition_variable changed;
    std::unordered_map<std::uint64_t, unsigned> confirmed, at_first, at_second;
    steady::time_point last_confirmation{};
    std::uint64_t failed = 0;
    std::atomic<bool> over{false};
    std::atomic<std::uint64_t> under_way{0};
    auto publisher = observer(), first = observer(), second = observer();
    const auto count_into = [&](auto& map) {
        return [&](const event& e) {
            const auto n = std::stoull(std::string(e.data().text()));
            const std::lock_guard lock(mutex);
            ++map[n];
            changed.notify_all();
        };
    };
    auto s1 = first->subscribe("t", count_into(at_first));
    auto s2 = second->subscribe("t", count_into(at_second));
    ASSERT_EQ(ready(s1), error_code{});
    ASSERT_EQ(ready(s2), error_code{});

    std::thread source([&] {
        auto next = steady::now();
        for (std::uint64_t n = 0; !over; ++n) {
            next += period;
            std::this_thread::sleep_until(next);  // tidy: allow — the rate is part of the task
            ++under_way;
            publisher->async_publish(
                "t",
                event_draft("e", "r", payload::from_json_text(std::to_string(n))),
                publish_options().confirmed(),
                [&, n](error_code ec) {
                    const std::lock_guard lock(mutex);
                    last_confirmation = steady::now();
                    if (ec)
                        ++failed;
                    else
                        ++confirmed[n];
                    --under_way;
                    changed.notify_all();
                }
            );
        }
    });
    std::vector<std::chrono::milliseconds> outages;
    for (int i = 0; i < kills; ++i) {
        {  // the service is there
            std::unique_lock lock(mutex);
            const auto before = last_confirmation;
            ASSERT_TRUE(changed.wait_for(lock, patience, [&] { return last_confirmation > before; })
            );
        }
        const auto broker =
            std::find_if(members.begin(), members.end(), [](auto& m) { return m->is_broker(); });
        ASSERT_NE(broker, members.end()) << "no member is the broker";
        const auto killed = steady::now();
        (*broker)->kill_9();
        members.erase(broker);
        {
            // What was on its way may still be confirmed by what lies in the socket.
            std::unique_lock lock(mutex);
            const auto mark = confirmed.size();
            ASSERT_TRUE(changed.wait_for(lock, patience, [&] {
                return confirmed.size() > mark + 20;
            }));
            outages.push_back(
                std::chrono::duration_cast<std::chrono::milliseconds>(steady::now() - killed)
            );
        }
        members.push_back(std::make_unique<member_process>(path));
    }
    over = true;
    source.join();
    std::unique_lock lock(mutex);
    ASSERT_TRUE(changed.wait_for(lock, patience, [&] { return under_way == 0; }))
        << under_way << " publishes have no answer; confirmed " << confirmed.size() << ", failed "
        << failed << ", at the first subscriber " << at_first.size() << ", at the second "
        << at_second.size() << ", counters of the publisher: resent "
        << publisher->socket_counters().resent;
    ASSERT_TRUE(changed.wait_for(lock, patience, [&] {
        return std::all_of(confirmed.begin(), confirmed.end(), [&](const auto& entry) {
            return at_first.contains(entry.first) && at_second.contains(entry.first);
        });
    })) << "a confirmed event was lost";
    std::uint64_t twice = 0;
    for (const auto* map : {&at_first, &at_second}) {
        for (const auto& [n, times] : *map) twice += times - 1;
    }
    std::sort(outages.begin(), outages.end());
    const auto at = [&](double share) {
        return outages[static_cast<std::size_t>(share * static_cast<double>(outages.size() - 1))]
            .count();
    };
    std::cout << "kill -9 of the broker: " << kills << ", confirmed " << confirmed.size()
              << ", failed " << failed << ", lost 0, delivered twice " << twice
              << "; back after (20 more confirmed) p50 " << at(0.5) << " ms, p99 " << at(0.99)
              << " ms, most " << at(1) << " ms\n";
    EXPECT_EQ(twice, 0U);
    EXPECT_EQ(failed, 0U);
    if (full()) {
        EXPECT_LE(at(0.99), 250);
    }
}

// --- polite exits --------------------------------------------------------------------------------

// Processes of both kinds leave politely and come again: one second after each exit that leaves a
// member of this library there is one broker at most.
TEST(HostPoliteExit, NeverTwoBrokers) {
    if (!interop::no_reference().empty()) GTEST_SKIP() << interop::no_reference();
    const int exits = full() ? 1000 : 6;
    const tests::temporary_folder folder;
    const auto path = folder.file("bus.sock");
    std::deque<std::unique_ptr<member_process>> ours;
    std::deque<std::unique_ptr<interop::mastra_peer>> theirs;
    for (int i = 0; i < 3; ++i) {
        ours.push_back(std::make_unique<member_process>(path));
        theirs.push_back(std::make_unique<interop::mastra_peer>(path));
        theirs.back()->subscribe("t", {.quiet = true});
    }
    // A process of the reference may end by itself while brokers change: it is replaced and
    // counted.
    int crashed = 0;
    const auto is_broker = [&](std::unique_ptr<interop::mastra_peer>& p) {
        try {
            return p->role().broker;
        } catch (const std::runtime_error&) {
            ++crashed;
            p = std::make_unique<interop::mastra_peer>(path);
            p->subscribe("t", {.quiet = true});
            return false;
        }
    };
    int own_brokers = 0;
    const auto brokers = [&] {
        own_brokers = 0;
        for (const auto& m : ours) own_brokers += m->is_broker() ? 1 : 0;
        int count = own_brokers;
        for (auto& p : theirs) count += is_broker(p) ? 1 : 0;
        return count;
    };
    int split = 0;
    int split_after_ours = 0;  // one of ours had left
    int split_of_ours = 0;
    int without = 0;
    for (int i = 0; i < exits; ++i) {
        const auto left = steady::now();
        if (i % 2 == 0) {
            // The broker, where it is one of ours; otherwise the oldest.
            auto who =
                std::find_if(ours.begin(), ours.end(), [](auto& m) { return m->is_broker(); });
            if (who == ours.end()) who = ours.begin();
            (*who)->leave();
            ours.erase(who);
        } else {
            auto who = std::find_if(theirs.begin(), theirs.end(), is_broker);
            if (who == theirs.end()) who = theirs.begin();
            (*who)->stop();
            theirs.erase(who);
        }
        // Looked at when a second has passed, or, in the quick form, as soon as there is just one.
        if (full()) std::this_thread::sleep_until(left + 1s);  // tidy: allow — the second is given
        int count = brokers();
        while (steady::now() - left < 1s && count != 1) count = brokers();
        split += count > 1 ? 1 : 0;
        split_after_ours += count > 1 && i % 2 == 0 ? 1 : 0;
        split_of_ours += own_brokers > 1 ? 1 : 0;
        without += count == 0 ? 1 : 0;
        if (i % 2 == 0) {
            ours.push_back(std::make_unique<member_process>(path));
        } else {
            theirs.push_back(std::make_unique<interop::mastra_peer>(path));
            theirs.back()->subscribe("t", {.quiet = true});
        }
    }
    std::cout << "polite exits: " << exits << ", two brokers after a second: " << split << " ("
              << split_after_ours << " after one of ours had left), none: " << without
              << ", processes of the reference that ended by themselves: " << crashed << "\n";
    EXPECT_EQ(split_of_ours, 0);
    EXPECT_EQ(without, 0);
    // A process of the reference never notices that its path was taken, by another of its kind for
    // instance: the full form counts that, too.
    if (full()) {
        EXPECT_EQ(split, 0);
    }
}

}  // namespace
}  // namespace trunkline
