// How fast do events get from the publisher's thread to a handler on another one, queued dispatch?

#include "support/bench.hpp"

#include <trunkline/event_emitter_pubsub.hpp>

#include <array>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

namespace {

using bench::arrivals;
using trunkline::dispatch_mode;
using trunkline::event_emitter_options;
using trunkline::event_emitter_pubsub;

event_emitter_options queued() {
    return event_emitter_options().dispatch(dispatch_mode::queued);
}

// An iteration is this many events, waited for: a full queue holds the publisher back, so that the
// rate is that of the whole way.
template <std::size_t Subscribers>
void hand_over(benchmark::State& state, const trunkline::subscribe_options& options, bool shared) {
    const auto events = bench::events(200'000);
    std::array<arrivals, Subscribers> got;
    event_emitter_pubsub bus(queued());
    std::vector<trunkline::subscription> subscriptions;
    subscriptions.reserve(Subscribers);
    for (auto& to : got)
        subscriptions.push_back(bus.subscribe(bench::topic, bench::counting(to), options));

    bench::payload_text text;
    std::uint64_t number = 0;
    for ([[maybe_unused]] auto _ : state) {
        for (const auto end = number + events; number < end; ++number) {
            if (const auto ec = bus.publish_blocking(bench::topic, bench::draft(text, number)))
                return bench::fail(state, ec.message());
        }
        bench::must(bus.flush_blocking());
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(number));
    if (shared)
        bench::check_shared(state, got, number);
    else
        bench::check(state, got, number);
}

void one_to_one(benchmark::State& state) {
    hand_over<1>(state, {}, false);
}
BENCHMARK(one_to_one)->UseRealTime()->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);

void one_to_four(benchmark::State& state) {
    hand_over<4>(state, {}, false);
}
BENCHMARK(one_to_four)->UseRealTime()->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);

void one_to_group_of_four(benchmark::State& state) {
    hand_over<4>(state, trunkline::subscribe_options().group(std::string(bench::group)), true);
}
BENCHMARK(one_to_group_of_four)
    ->UseRealTime()
    ->MeasureProcessCPUTime()
    ->Unit(benchmark::kMillisecond);

// From publish to the handler when there is nothing else to do: 1,000 events a second.
void latency(benchmark::State& state) {
    const auto events = bench::smoke() ? std::uint64_t{20} : std::uint64_t{3000};
    constexpr std::chrono::milliseconds pause{1};
    std::vector<std::int64_t> nanoseconds;
    nanoseconds.reserve(events);
    event_emitter_pubsub bus(queued());
    const auto subscription = bus.subscribe(bench::topic, [&](const trunkline::event& e) {
        const auto sent = static_cast<std::int64_t>(bench::payload_text::read(e.data().text()));
        nanoseconds.push_back(bench::now_ns() - sent);
    });
    bench::payload_text text;
    for ([[maybe_unused]] auto _ : state) {
        auto next = std::chrono::steady_clock::now();
        for (std::uint64_t i = 0; i < events; ++i) {
            std::this_thread::sleep_until(next += pause);
            const auto sent = static_cast<std::uint64_t>(bench::now_ns());
            bench::must(bus.publish(bench::topic, bench::draft(text, sent)));
        }
        bench::must(bus.flush_blocking());
    }
    if (nanoseconds.size() != events) return bench::fail(state, "not every event arrived once");
    bench::report_latencies(state, std::move(nanoseconds));
}
BENCHMARK(latency)->UseRealTime()->Unit(benchmark::kMillisecond)->Iterations(1)->Repetitions(1);

}  // namespace
