#pragma once

#include <trunkline/config.hpp>

#include <chrono>
#include <cstdint>
#include <optional>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// Deliveries of one event to one subscription, the first included.
inline constexpr std::uint32_t deliveries_max = 7;

/// How long after a nack of this attempt the next one comes: 100 ms, 200 ms, … 600 ms; nothing
/// after the last. The numbers are the reference's.
constexpr std::optional<std::chrono::milliseconds> redelivery_delay(std::uint32_t attempt
) noexcept {
    if (attempt >= deliveries_max) return std::nullopt;
    return std::chrono::milliseconds{100} * attempt;
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
