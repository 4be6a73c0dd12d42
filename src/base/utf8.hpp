#pragma once

#include <trunkline/config.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

TRUNKLINE_NAMESPACE_BEGIN
namespace base {

/// Length in bytes of the well-formed UTF-8 character at `at`, or 0.
inline std::size_t utf8_length(std::string_view text, std::size_t at) noexcept {
    const auto byte = [&](std::size_t i) {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
    };
    const auto lead = byte(at);
    const auto follows = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xbf) {
        return byte(at + i) >= low && byte(at + i) <= high;
    };
    if (lead < 0x80) return 1;
    if (lead >= 0xc2 && lead <= 0xdf) return follows(1) ? 2 : 0;
    if (lead >= 0xe0 && lead <= 0xef) {
        const auto low = lead == 0xe0 ? 0xa0U : 0x80U;
        const auto high = lead == 0xed ? 0x9fU : 0xbfU;  // no surrogates
        return follows(1, low, high) && follows(2) ? 3 : 0;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        const auto low = lead == 0xf0 ? 0x90U : 0x80U;
        const auto high = lead == 0xf4 ? 0x8fU : 0xbfU;
        return follows(1, low, high) && follows(2) && follows(3) ? 4 : 0;
    }
    return 0;
}

/// True when the whole text is well-formed UTF-8, without the short cut of `is_utf8`.
inline bool is_utf8_long(std::string_view text) noexcept {
    const auto size = text.size();
    std::size_t i = 0;
    while (i < size) {
        if (size - i >= 8) {
            std::uint64_t eight = 0;
            std::memcpy(&eight, text.data() + i, 8);
            if ((eight & 0x8080808080808080ULL) == 0) {
                i += 8;
                continue;
            }
        }
        const auto length = utf8_length(text, i);
        if (length == 0) return false;
        i += length;
    }
    return true;
}

/// True when the whole text is well-formed UTF-8; ASCII names of 4 to 16 bytes take two looks.
[[gnu::always_inline]] inline bool is_utf8(std::string_view text) noexcept {
    const auto look = [&]<class Word>(Word high_bits) noexcept {
        Word first = 0;
        Word last = 0;
        std::memcpy(&first, text.data(), sizeof first);
        std::memcpy(&last, text.data() + text.size() - sizeof last, sizeof last);
        return ((first | last) & high_bits) == 0;
    };
    if (text.size() >= 8 && text.size() <= 16) {
        if (look(std::uint64_t{0x8080808080808080ULL})) return true;
    } else if (text.size() >= 4 && text.size() < 8) {
        if (look(std::uint32_t{0x80808080U})) return true;
    }
    return is_utf8_long(text);
}

}  // namespace base
TRUNKLINE_NAMESPACE_END
