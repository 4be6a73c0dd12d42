#pragma once

#include "base/short_text.hpp"

#include <trunkline/config.hpp>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>

TRUNKLINE_NAMESPACE_BEGIN
namespace base {

/// A fast hash of short texts: eight bytes at a time, multiplied and folded. Not proof against
/// chosen collisions, which cost whoever names the topics time and nothing else.
inline std::size_t hash_text(std::string_view text) noexcept {
    constexpr std::uint64_t multiplier = 0x9e3779b97f4a7c15ULL;
    const auto fold = [](std::uint64_t a, std::uint64_t b) noexcept {
        const auto product = static_cast<unsigned __int128>(a) * b;
        return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
    };
    std::uint64_t hash = text.size() * multiplier;
    const auto* at = text.data();
    auto left = text.size();
    std::uint64_t word = 0;
    for (; left >= 8; at += 8, left -= 8) {
        std::memcpy(&word, at, 8);
        hash = fold(hash ^ word, multiplier);
    }
    if (left >= 4) {
        std::uint32_t low = 0;
        std::uint32_t high = 0;
        std::memcpy(&low, at, 4);
        std::memcpy(&high, at + left - 4, 4);
        word = std::uint64_t{high} << 32 | low;
    } else if (left > 0) {
        const auto byte = [&](std::size_t i) {
            return static_cast<std::uint64_t>(static_cast<unsigned char>(at[i]));
        };
        word = byte(0) << 16 | byte(left / 2) << 8 | byte(left - 1);
    } else {
        word = 0;
    }
    return fold(hash ^ word ^ multiplier, multiplier);
}

/// A text with its hash, so that one computation serves the shard and the table in it.
struct hashed_text {
    explicit hashed_text(std::string_view t) noexcept : text(t), hash(hash_text(t)) {}
    std::string_view text;
    std::size_t hash;
};

struct string_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return hash_text(text); }
    std::size_t operator()(const hashed_text& t) const noexcept { return t.hash; }
};

struct string_equal {
    using is_transparent = void;
    bool operator()(std::string_view a, std::string_view b) const noexcept {
        return equal_text(a, b);
    }
    bool operator()(const hashed_text& a, std::string_view b) const noexcept {
        return equal_text(a.text, b);
    }
    bool operator()(std::string_view a, const hashed_text& b) const noexcept {
        return equal_text(a, b.text);
    }
};

/// A hash map from owned strings that is asked with views.
template <class Value>
using string_map = std::unordered_map<std::string, Value, string_hash, string_equal>;

}  // namespace base
TRUNKLINE_NAMESPACE_END
