#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace trunkline_cli {

enum class bench_shape { one, fanout, group };

/// Published before the measured part begins.
inline constexpr std::uint64_t bench_warm_up_events = 20'000;

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
    /// Publish with `publish_options::confirmed`.
    bool confirmed = false;

    std::uint64_t expected() const noexcept { return deliveries_of(events); }
    /// How often `count` events are delivered.
    std::uint64_t deliveries_of(std::uint64_t count) const noexcept {
        return shape == bench_shape::fanout ? count * subscribers : count;
    }
};

/// What came out of it.
struct bench_result {
    std::uint64_t delivered = 0;
    double seconds = 0;      ///< first publish to last delivery
    double cpu_seconds = 0;  ///< user and system time of all its processes in that time
    std::optional<double> p50_us;
    std::optional<double> p99_us;
    double peak_rss_mb = 0;  ///< of all its processes together
};

/// Fewest bytes that a payload of this plan can have.
std::size_t payload_bytes_min(const bench_plan& plan) noexcept;

}  // namespace trunkline_cli
