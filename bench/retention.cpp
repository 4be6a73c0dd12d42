// How much memory does a topic with bounded history need, however many events pass through it?
// Ten million events, 100,000 of them kept: the peak of the process must stay below 300 MB.

#include "support/bench.hpp"

#include <trunkline/caching_pubsub.hpp>
#include <trunkline/event_emitter_pubsub.hpp>
#include <trunkline/server_cache.hpp>

#include <memory>
#include <sys/resource.h>

namespace {

constexpr double peak_mb_max = 300;

double peak_mb() {
    rusage used{};
    getrusage(RUSAGE_SELF, &used);
    return static_cast<double>(used.ru_maxrss) * 1024 / 1e6;
}

void bounded_history(benchmark::State& state) {
    const auto events = bench::smoke() ? std::uint64_t{300'000} : std::uint64_t{10'000'000};
    constexpr std::size_t kept = 100'000;
    for ([[maybe_unused]] auto _ : state) {
        bench::arrivals got;
        trunkline::caching_pubsub bus(
            std::make_shared<trunkline::event_emitter_pubsub>(),
            std::make_shared<trunkline::memory_server_cache>(
                trunkline::memory_cache_options().max_events(kept)
            )
        );
        const auto subscription = bus.subscribe(bench::topic, bench::counting(got));
        bench::payload_text text;
        for (std::uint64_t i = 0; i < events; ++i)
            bench::must(bus.publish(bench::topic, bench::draft(text, i)));
        bench::must(bus.flush_blocking());
        bench::check(state, {&got, 1}, events);
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(events));
    state.counters["peak_mb"] = peak_mb();
    // Sanitizers keep freed memory for a while.
    if (!bench::smoke() && peak_mb() > peak_mb_max) bench::fail(state, "more than 300 MB");
}
BENCHMARK(bounded_history)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond)
    ->Iterations(1)
    ->Repetitions(1);

}  // namespace
