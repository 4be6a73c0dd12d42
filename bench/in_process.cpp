// What does one event cost from publish to the end of its handlers, inline dispatch?

#include "support/awaited_run.hpp"
#include "support/bench.hpp"

#include <trunkline/event_emitter_pubsub.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json/value.hpp>

#include <array>
#include <exception>
#include <string>
#include <thread>
#include <vector>

namespace {

namespace asio = boost::asio;
using bench::arrivals;
using trunkline::event_draft;
using trunkline::event_emitter_pubsub;

// One bus and its subscribers.
template <std::size_t Subscribers>
struct rig {
    std::array<arrivals, Subscribers> got;
    event_emitter_pubsub bus;
    std::vector<trunkline::subscription> subscriptions;

    rig() {
        subscriptions.reserve(Subscribers);
        for (auto& to : got)
            subscriptions.push_back(bus.subscribe(bench::topic, bench::counting(to)));
    }
    explicit rig(const trunkline::subscribe_options& options) {
        subscriptions.reserve(Subscribers);
        for (auto& to : got) {
            subscriptions.push_back(
                bus.subscribe(bench::topic, bench::counting_and_acknowledging(to), options)
            );
        }
    }
};

// Publishes one event an iteration and returns how many there were.
std::uint64_t publish_each(benchmark::State& state, trunkline::pubsub& bus) {
    bench::payload_text text;
    std::uint64_t number = 0;
    for ([[maybe_unused]] auto _ : state)
        bench::must(bus.publish(bench::topic, bench::draft(text, number++)));
    bench::must(bus.flush_blocking());
    state.SetItemsProcessed(state.iterations());
    return number;
}

void one_to_one(benchmark::State& state) {
    rig<1> r;
    const auto published = publish_each(state, r.bus);
    bench::check(state, r.got, published);
}
BENCHMARK(one_to_one)->UseRealTime();

void one_to_four(benchmark::State& state) {
    rig<4> r;
    const auto published = publish_each(state, r.bus);
    bench::check(state, r.got, published);
}
BENCHMARK(one_to_four)->UseRealTime();

void one_to_group_of_four(benchmark::State& state) {
    rig<4> r(trunkline::subscribe_options().group(std::string(bench::group)));
    const auto published = publish_each(state, r.bus);
    bench::check_shared(state, r.got, published);
}
BENCHMARK(one_to_group_of_four)->UseRealTime();

// The payload is a tree that is built for each event, and the handler reads it.
void tree_payload(benchmark::State& state) {
    arrivals got;
    event_emitter_pubsub bus;
    const auto subscription = bus.subscribe(bench::topic, [&](const trunkline::event& e) {
        got.add(e.data().tree().as_object().at("seq").to_number<std::uint64_t>());
    });
    const std::string text(110, 'x');
    std::uint64_t number = 0;
    for ([[maybe_unused]] auto _ : state) {
        boost::json::value tree{{"seq", number++}, {"text", text}};
        bench::must(bus.publish(bench::topic, event_draft("bench", "run-1", std::move(tree))));
    }
    bench::must(bus.flush_blocking());
    state.SetItemsProcessed(state.iterations());
    bench::check(state, {&got, 1}, number);
}
BENCHMARK(tree_payload)->UseRealTime();

// One payload for all events.
void reused_payload(benchmark::State& state) {
    constexpr std::uint64_t number = 7;
    rig<1> r;
    bench::payload_text text;
    const auto payload = trunkline::payload::from_json_text(text.write(number));
    for ([[maybe_unused]] auto _ : state)
        bench::must(r.bus.publish(bench::topic, event_draft("bench", "run-1", payload)));
    bench::must(r.bus.flush_blocking());
    const auto published = static_cast<std::uint64_t>(state.iterations());
    state.SetItemsProcessed(state.iterations());
    if (r.got[0].events != published || r.got[0].sum != published * number)
        bench::fail(state, "not every event arrived once");
}
BENCHMARK(reused_payload)->UseRealTime();

// Both threads publish on one topic; an iteration is all their events. The thread that has the turn
// delivers for both, so the other one runs ahead until the topic's limit of waiting events refuses
// it: then it waits for its event to be delivered.
void two_publishers(benchmark::State& state) {
    const auto events = bench::events(200'000);
    rig<1> r;
    std::atomic<std::uint64_t> refused{0};
    // Half of the numbers each: the even ones, the odd ones.
    const auto publish = [&](std::uint64_t first, std::uint64_t round) {
        bench::payload_text text;
        for (auto i = first; i < events; i += 2) {
            const auto number = round * events + i;
            auto ec = r.bus.publish(bench::topic, bench::draft(text, number));
            while (ec == trunkline::errc::queue_full) {
                std::this_thread::yield();
                ec = r.bus.publish_blocking(bench::topic, bench::draft(text, number));
            }
            if (ec) ++refused;
        }
    };
    std::uint64_t round = 0;
    for ([[maybe_unused]] auto _ : state) {
        std::thread other(publish, 1, round);
        publish(0, round);
        other.join();
        ++round;
    }
    bench::must(r.bus.flush_blocking());
    state.SetItemsProcessed(static_cast<std::int64_t>(round * events));
    if (refused != 0) return bench::fail(state, std::to_string(refused) + " publishes refused");
    bench::check(state, r.got, round * events);
}
BENCHMARK(two_publishers)->UseRealTime()->Unit(benchmark::kMillisecond);

// An iteration is one run.
void awaited_publish(benchmark::State& state) {
    const auto events = bench::events(20'000);
    rig<1> r;
    asio::io_context loop;
    std::uint64_t round = 0;
    for ([[maybe_unused]] auto _ : state) {
        std::exception_ptr failure;
        asio::co_spawn(
            loop,
            bench::awaited_run{&r.bus, round * events, (round + 1) * events},
            [&](std::exception_ptr e) { failure = std::move(e); }
        );
        loop.run();
        loop.restart();
        if (failure != nullptr) return bench::fail(state, "a publish failed");
        ++round;
    }
    bench::must(r.bus.flush_blocking());
    state.SetItemsProcessed(static_cast<std::int64_t>(round * events));
    bench::check(state, r.got, round * events);
}
BENCHMARK(awaited_publish)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
