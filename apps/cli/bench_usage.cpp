#include "bench_usage.hpp"

#include <algorithm>
#include <cstddef>
#include <sys/resource.h>

namespace trunkline_cli {

bench_usage bench_usage::now() {
    rusage u{};
    ::getrusage(RUSAGE_SELF, &u);
    constexpr double micro = 1e-6;
    constexpr double kib_per_mib = 1024;
    return {
        static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
            static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * micro,
        static_cast<double>(u.ru_maxrss) / kib_per_mib
    };
}

void add_latencies(bench_result& result, std::vector<std::uint32_t> latencies_ns) {
    if (latencies_ns.empty()) return;
    const auto percentile = [&](std::size_t percent) {
        constexpr double ns_per_us = 1000;
        const auto at =
            latencies_ns.begin() + static_cast<std::ptrdiff_t>(latencies_ns.size() * percent / 100);
        std::nth_element(latencies_ns.begin(), at, latencies_ns.end());
        return static_cast<double>(*at) / ns_per_us;
    };
    result.p50_us = percentile(50);
    result.p99_us = percentile(99);
}

}  // namespace trunkline_cli
