#pragma once

#include "bench_plan.hpp"

#include <cstdint>
#include <vector>

namespace trunkline_cli {

/// What this process has used of the machine so far.
struct bench_usage {
    double cpu_seconds = 0;  ///< user and system
    double peak_rss_mb = 0;

    static bench_usage now();
};

/// Fills in the percentiles; leaves them unset when there are no latencies.
void add_latencies(bench_result& result, std::vector<std::uint32_t> latencies_ns);

}  // namespace trunkline_cli
