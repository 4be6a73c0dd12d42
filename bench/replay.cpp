// What does history cost: publishing through the replay decorator, and replaying what it kept?

#include "support/bench.hpp"

#include <trunkline/caching_pubsub.hpp>
#include <trunkline/event_emitter_pubsub.hpp>
#include <trunkline/server_cache.hpp>

#include <array>
#include <future>
#include <memory>
#include <vector>

namespace {

using bench::arrivals;
using trunkline::caching_pubsub;
using trunkline::event_emitter_pubsub;
using trunkline::memory_server_cache;

constexpr std::size_t kept = 100'000;

std::unique_ptr<caching_pubsub> bus_with_history() {
    return std::make_unique<caching_pubsub>(
        std::make_shared<event_emitter_pubsub>(),
        std::make_shared<memory_server_cache>(trunkline::memory_cache_options().max_events(kept))
    );
}

template <std::size_t Subscribers>
void publish_with_history(benchmark::State& state) {
    std::array<arrivals, Subscribers> got;
    const auto bus = bus_with_history();
    std::vector<trunkline::subscription> subscriptions;
    subscriptions.reserve(Subscribers);
    for (auto& to : got) subscriptions.push_back(bus->subscribe(bench::topic, bench::counting(to)));
    bench::payload_text text;
    std::uint64_t number = 0;
    for ([[maybe_unused]] auto _ : state)
        bench::must(bus->publish(bench::topic, bench::draft(text, number++)));
    bench::must(bus->flush_blocking());
    state.SetItemsProcessed(state.iterations());
    bench::check(state, got, number);
}

void one_to_one(benchmark::State& state) {
    publish_with_history<1>(state);
}
BENCHMARK(one_to_one)->UseRealTime();

void one_to_four(benchmark::State& state) {
    publish_with_history<4>(state);
}
BENCHMARK(one_to_four)->UseRealTime();

// An iteration is one new subscriber that reads everything.
void replay_kept(benchmark::State& state) {
    const auto events = bench::events(kept);
    const auto bus = bus_with_history();
    bench::payload_text text;
    for (std::uint64_t i = 0; i < events; ++i)
        bench::must(bus->publish(bench::topic, bench::draft(text, i)));
    bench::must(bus->flush_blocking());
    for ([[maybe_unused]] auto _ : state) {
        arrivals got;
        std::promise<void> all;
        const auto subscription =
            bus->subscribe_with_replay(bench::topic, [&](const trunkline::event& e) {
                got.add(bench::payload_text::read(e.data().text()));
                if (got.events == events) all.set_value();
            });
        constexpr std::chrono::seconds patience{30};
        all.get_future().wait_for(patience);
        bench::check(state, {&got, 1}, events);
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(events));
}
BENCHMARK(replay_kept)->UseRealTime()->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);

}  // namespace
