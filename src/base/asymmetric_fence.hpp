#pragma once

#include <trunkline/config.hpp>

#include <atomic>

TRUNKLINE_NAMESPACE_BEGIN
namespace base {

/// Whether the kernel can make every thread of this process pass a full fence (membarrier).
TRUNKLINE_EXPORT extern const bool kernel_can_fence;

/// A store-to-load fence that costs nothing where its partner is `heavy_fence`: one side runs for
/// every event, the other once in the life of a subscription.
inline void light_fence() noexcept {
    if (kernel_can_fence) [[likely]]
        std::atomic_signal_fence(std::memory_order_seq_cst);
    else
        std::atomic_thread_fence(std::memory_order_seq_cst);
}

/// Afterwards, each other thread has either made the stores before its `light_fence` visible here,
/// or sees the stores made here before when it loads behind that fence. Some microseconds.
void heavy_fence() noexcept;

}  // namespace base
TRUNKLINE_NAMESPACE_END
