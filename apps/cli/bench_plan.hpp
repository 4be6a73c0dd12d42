#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace trunkline_cli {

enum class bench_shape { one, fanout, group };

/// What a benchmark does.
struct bench_plan {
    bench_shape shape = bench_shape::one;
    std::size_t subscribers = 1;
    std::uint64_t events = 1'000'000;
    std::size_t payload_bytes = 135;
    /// Completions awaited at once; 0: plain publish, nothing is awaited.
    std::size_t in_flight = 0;
    /// Events per second; unset: as fast as it goes, and no latency is taken.
    std::optional<double> rate;

    std::uint64_t expected() const noexcept {
        return shape == bench_shape::fanout ? events * subscribers : events;
    }
};

/// What came out of it.
struct bench_result {
    std::uint64_t delivered = 0;
    double seconds = 0;      ///< first publish to last delivery
    double cpu_seconds = 0;  ///< user and system time of this process in that time
    std::optional<double> p50_us;
    std::optional<double> p99_us;
    double peak_rss_mb = 0;
};

/// Fewest bytes that a payload of this plan can have.
std::size_t payload_bytes_min(const bench_plan& plan) noexcept;

}  // namespace trunkline_cli
