#pragma once

#include <trunkline/config.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

TRUNKLINE_NAMESPACE_BEGIN
namespace base {

/// memcpy for names: 4 to 16 bytes take two overlapping moves and no call.
[[gnu::always_inline]] inline void copy_text(char* to, std::string_view text) noexcept {
    const auto size = text.size();
    const auto twice = [&]<class Word>(Word first) noexcept {
        Word last = 0;
        std::memcpy(&first, text.data(), sizeof first);
        std::memcpy(&last, text.data() + size - sizeof last, sizeof last);
        std::memcpy(to, &first, sizeof first);
        std::memcpy(to + size - sizeof last, &last, sizeof last);
    };
    if (size >= 8 && size <= 16)
        twice(std::uint64_t{0});
    else if (size >= 4 && size < 8)
        twice(std::uint32_t{0});
    else
        std::memcpy(to, text.data(), size);
}

/// Equality for names, in the same way.
[[gnu::always_inline]] inline bool equal_text(std::string_view a, std::string_view b) noexcept {
    const auto size = a.size();
    if (size != b.size()) return false;
    const auto twice = [&]<class Word>(Word first) noexcept {
        Word other = 0;
        std::memcpy(&first, a.data(), sizeof first);
        std::memcpy(&other, b.data(), sizeof other);
        const bool same_start = first == other;
        std::memcpy(&first, a.data() + size - sizeof first, sizeof first);
        std::memcpy(&other, b.data() + size - sizeof other, sizeof other);
        return same_start && first == other;
    };
    if (size >= 8 && size <= 16) return twice(std::uint64_t{0});
    if (size >= 4 && size < 8) return twice(std::uint32_t{0});
    return a == b;
}

}  // namespace base
TRUNKLINE_NAMESPACE_END
