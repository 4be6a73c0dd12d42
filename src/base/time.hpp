#pragma once

#include <trunkline/clock.hpp>

TRUNKLINE_NAMESPACE_BEGIN
namespace base {

/// UTC by one system call; exact to the millisecond.
wall_time system_wall() noexcept;

/// Steady time that advances in timer ticks (1–10 ms) and is four times cheaper to read.
TRUNKLINE_EXPORT clock::time_point coarse_now() noexcept;

/// A far limit stays far: no overflow for absurdly long times.
inline clock::time_point saturating_add(
    clock::time_point from, std::chrono::milliseconds time
) noexcept {
    const auto room =
        std::chrono::floor<std::chrono::milliseconds>(clock::time_point::max() - from);
    return time >= room ? clock::time_point::max() : from + time;
}

}  // namespace base
TRUNKLINE_NAMESPACE_END
