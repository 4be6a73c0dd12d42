#pragma once

#include <trunkline/config.hpp>

#include <cstdint>

TRUNKLINE_NAMESPACE_BEGIN
namespace base {

/// 128 fresh bits from the calling thread's xoshiro256** generator, which is seeded from the
/// system at first use and again in a child after fork(). Fast, not secret.
struct random_bits {
    std::uint64_t high;
    std::uint64_t low;
};
TRUNKLINE_EXPORT random_bits fresh_bits() noexcept;

/// The same bits with the version and variant of a random UUID set.
inline random_bits fresh_uuid() noexcept {
    auto bits = fresh_bits();
    bits.high = (bits.high & ~std::uint64_t{0xf000}) | 0x4000;
    bits.low = (bits.low & ~(std::uint64_t{3} << 62)) | (std::uint64_t{1} << 63);
    return bits;
}

}  // namespace base
TRUNKLINE_NAMESPACE_END
