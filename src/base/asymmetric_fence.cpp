#include "base/asymmetric_fence.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

TRUNKLINE_NAMESPACE_BEGIN
namespace base {

namespace {

bool membarrier(int command) noexcept {
    return syscall(SYS_membarrier, command, 0, 0) == 0;
}

bool register_process() noexcept {
    return membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) &&
           membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

}  // namespace

const bool kernel_can_fence = register_process();

void heavy_fence() noexcept {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!kernel_can_fence) return;
    // A child of fork() may have to register anew.
    if (!membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED)) register_process();
}

}  // namespace base
TRUNKLINE_NAMESPACE_END
