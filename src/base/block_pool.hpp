#pragma once

#include <trunkline/config.hpp>

#include <cstddef>

TRUNKLINE_NAMESPACE_BEGIN
namespace base {

/// Memory for the small shared blocks of events and payloads. Sizes up to 256 bytes are recycled:
/// each thread keeps a magazine per size class, and chains of blocks move between threads through a
/// shared depot with a cap, because events are often made on one thread and dropped on another.
/// Larger sizes, and everything under a sanitizer, come from operator new.
void* take_block(std::size_t bytes);
/// `bytes` must be what the block was taken with.
void give_block(void* block, std::size_t bytes) noexcept;

}  // namespace base
TRUNKLINE_NAMESPACE_END
