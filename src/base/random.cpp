#include "base/random.hpp"

#include <atomic>
#include <bit>
#include <cstddef>
#include <pthread.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

TRUNKLINE_NAMESPACE_BEGIN
namespace base {

namespace {

// Counts forks in this process's ancestry; a generator seeded under another count is stale.
std::atomic<std::uint32_t> fork_count{1};

struct fork_watch {
    fork_watch() {
        pthread_atfork(nullptr, nullptr, [] {
            fork_count.fetch_add(1, std::memory_order_relaxed);
        });
    }
};

struct generator {
    std::uint64_t state[4] = {};
    std::uint32_t seeded_at = 0;

    void seed() noexcept {
        static const fork_watch watch;
        seeded_at = fork_count.load(std::memory_order_relaxed);
        auto* at = reinterpret_cast<unsigned char*>(state);
        std::size_t have = 0;
        while (have < sizeof state) {
            const auto got = getrandom(at + have, sizeof state - have, 0);
            if (got > 0) {
                have += static_cast<std::size_t>(got);
                continue;
            }
            // Only a kernel without getrandom gets here: mix what differs between threads.
            timespec now{};
            clock_gettime(CLOCK_MONOTONIC, &now);
            for (std::uint64_t i = 0; i < 4; ++i) {
                state[i] = static_cast<std::uint64_t>(now.tv_nsec) * 0x9e3779b97f4a7c15ULL ^
                           (static_cast<std::uint64_t>(getpid()) << 32) ^
                           reinterpret_cast<std::uintptr_t>(this) ^ (i + 1);
            }
            break;
        }
        if ((state[0] | state[1] | state[2] | state[3]) == 0) state[0] = 1;
    }

    std::uint64_t next() noexcept {
        const auto result = std::rotl(state[1] * 5, 7) * 9;
        const auto shifted = state[1] << 17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = std::rotl(state[3], 45);
        return result;
    }
};

}  // namespace

random_bits fresh_bits() noexcept {
    static thread_local generator g;
    if (g.seeded_at != fork_count.load(std::memory_order_relaxed)) [[unlikely]]
        g.seed();
    const auto high = g.next();
    return {high, g.next()};
}

}  // namespace base
TRUNKLINE_NAMESPACE_END
