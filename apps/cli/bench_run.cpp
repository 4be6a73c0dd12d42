#include "bench_run.hpp"

#include "bench_ends.hpp"
#include "bench_usage.hpp"

#include <chrono>
#include <memory>
#include <vector>

namespace trunkline_cli {

bench_result run_bench(trunkline::pubsub& bus, const bench_plan& plan) {
    bench_sender sender(bus, plan);
    std::vector<std::unique_ptr<bench_receiver>> receivers;
    receivers.reserve(plan.subscribers);
    for (std::size_t i = 0; i < plan.subscribers; ++i)
        receivers.push_back(std::make_unique<bench_receiver>(bus, plan));
    const auto time = trunkline::system_clock();

    sender.send(bench_warm_up_events, std::nullopt);
    for (auto& r : receivers) r->reset();
    const auto used = bench_usage::now();
    const auto start = time->now();
    sender.send(plan.events, plan.rate);
    const std::chrono::duration<double> elapsed = time->now() - start;
    const auto used_after = bench_usage::now();

    bench_result result;
    result.seconds = elapsed.count();
    result.cpu_seconds = used_after.cpu_seconds - used.cpu_seconds;
    result.peak_rss_mb = used_after.peak_rss_mb;
    std::vector<std::uint32_t> latencies;
    for (const auto& r : receivers) {
        result.delivered += r->delivered();
        latencies.insert(latencies.end(), r->latencies_ns().begin(), r->latencies_ns().end());
    }
    add_latencies(result, std::move(latencies));
    return result;
}

}  // namespace trunkline_cli
