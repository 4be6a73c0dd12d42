#include "wire/json_scanner.hpp"

#include <array>
#include <bit>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

TRUNKLINE_NAMESPACE_BEGIN
namespace wire {

namespace {

bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

bool is_hex(char c) noexcept {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// The first byte that is no ordinary part of a string: a quote, a backslash or a control character.
const char* end_of_plain(const char* at, const char* end) noexcept {
#if defined(__SSE2__)
    const auto quote = _mm_set1_epi8('"');
    const auto backslash = _mm_set1_epi8('\\');
    const auto highest_control = _mm_set1_epi8(0x1f);
    for (; end - at >= 16; at += 16) {
        const auto bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        const auto special = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)),
            _mm_cmpeq_epi8(_mm_min_epu8(bytes, highest_control), bytes)
        );
        const auto found = static_cast<unsigned>(_mm_movemask_epi8(special));
        if (found != 0) return at + std::countr_zero(found);
    }
#endif
    while (at != end && *at != '"' && *at != '\\' && static_cast<unsigned char>(*at) > 0x1f) ++at;
    return at;
}

}  // namespace

bool json_scanner::begin_object() noexcept {
    skip_space();
    if (at_ == end_ || *at_ != '{') return false;
    if (++depth_ > depth_max_) return fail();
    ++at_;
    first_ = true;
    return true;
}

bool json_scanner::next_member(name& key) noexcept {
    skip_space();
    if (at_ == end_) return fail();
    if (*at_ == '}') {
        ++at_;
        --depth_;
        first_ = false;
        return false;
    }
    if (!first_) {
        if (*at_ != ',') return fail();
        ++at_;
        skip_space();
    }
    first_ = false;
    const auto* begin = at_;
    if (at_ == end_ || *at_ != '"' || !skip_string(key.escaped)) return fail();
    key.raw = {begin + 1, static_cast<std::size_t>(at_ - begin - 2)};
    skip_space();
    if (at_ == end_ || *at_ != ':') return fail();
    ++at_;
    return true;
}

std::string_view json_scanner::skip_value() noexcept {
    skip_space();
    const auto* begin = at_;
    if (at_ == end_) {
        fail();
        return {};
    }
    bool good = false;
    bool escaped = false;
    switch (*at_) {
        case '"':
            good = skip_string(escaped);
            break;
        case '{':
        case '[':
            good = skip_nested();
            break;
        case 't':
            good = skip_word("true");
            break;
        case 'f':
            good = skip_word("false");
            break;
        case 'n':
            good = skip_word("null");
            break;
        default:
            good = skip_number();
    }
    if (!good) {
        fail();
        return {};
    }
    return {begin, static_cast<std::size_t>(at_ - begin)};
}

bool json_scanner::finish() noexcept {
    skip_space();
    return !failed_ && at_ == end_ && depth_ == 0;
}

bool json_scanner::skip_string(bool& escaped) noexcept {
    escaped = false;
    ++at_;
    for (;;) {
        at_ = end_of_plain(at_, end_);
        if (at_ == end_) return false;
        if (*at_ == '"') {
            ++at_;
            return true;
        }
        if (*at_ != '\\' || end_ - at_ < 2) return false;
        escaped = true;
        switch (at_[1]) {
            case '"':
            case '\\':
            case '/':
            case 'b':
            case 'f':
            case 'n':
            case 'r':
            case 't':
                at_ += 2;
                break;
            case 'u':
                if (end_ - at_ < 6 || !is_hex(at_[2]) || !is_hex(at_[3]) || !is_hex(at_[4]) ||
                    !is_hex(at_[5]))
                    return false;
                at_ += 6;
                break;
            default:
                return false;
        }
    }
}

bool json_scanner::skip_number() noexcept {
    const auto digits = [this] {
        if (at_ == end_ || !is_digit(*at_)) return false;
        while (at_ != end_ && is_digit(*at_)) ++at_;
        return true;
    };
    if (*at_ == '-') ++at_;
    if (at_ != end_ && *at_ == '0')
        ++at_;
    else if (!digits())
        return false;
    if (at_ != end_ && *at_ == '.') {
        ++at_;
        if (!digits()) return false;
    }
    if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) {
        ++at_;
        if (at_ != end_ && (*at_ == '+' || *at_ == '-')) ++at_;
        if (!digits()) return false;
    }
    return true;
}

bool json_scanner::skip_word(std::string_view word) noexcept {
    if (std::string_view(at_, static_cast<std::size_t>(end_ - at_)).substr(0, word.size()) != word)
        return false;
    at_ += word.size();
    return true;
}

// An array or object with all it holds. What is open is a bit per level: 1 for an object.
bool json_scanner::skip_nested() noexcept {
    constexpr std::size_t levels_max = 4096;
    std::array<std::uint64_t, levels_max / 64> objects;  // NOLINT: cleared word by word
    const auto room = depth_max_ - depth_ < levels_max ? depth_max_ - depth_ : levels_max;
    std::size_t open = 0;
    bool value_next = true;  // a value has to come; otherwise a comma or an end
    for (;;) {
        skip_space();
        if (at_ == end_) return false;
        if (value_next) {
            bool escaped = false;
            const char c = *at_;
            if (c == '{' || c == '[') {
                if (open == room) return false;
                if (open % 64 == 0) objects[open / 64] = 0;
                const auto bit = std::uint64_t{1} << (open % 64);
                if (c == '{')
                    objects[open / 64] |= bit;
                else
                    objects[open / 64] &= ~bit;
                ++open;
                ++at_;
                skip_space();
                if (at_ == end_) return false;
                if (*at_ == (c == '{' ? '}' : ']')) {
                    ++at_;
                    if (--open == 0) return true;
                    value_next = false;
                    continue;
                }
                if (c == '[') continue;
            } else {
                const bool good = c == '"'   ? skip_string(escaped)
                                  : c == 't' ? skip_word("true")
                                  : c == 'f' ? skip_word("false")
                                  : c == 'n' ? skip_word("null")
                                             : skip_number();
                if (!good) return false;
                value_next = false;
                continue;
            }
        } else {
            const bool in_object = (objects[(open - 1) / 64] >> ((open - 1) % 64) & 1) != 0;
            if (*at_ == (in_object ? '}' : ']')) {
                ++at_;
                if (--open == 0) return true;
                continue;
            }
            if (*at_ != ',') return false;
            ++at_;
            value_next = true;
            if (!in_object) continue;
            skip_space();
        }
        // A member's name, and then its value.
        bool escaped = false;
        if (at_ == end_ || *at_ != '"' || !skip_string(escaped)) return false;
        skip_space();
        if (at_ == end_ || *at_ != ':') return false;
        ++at_;
    }
}

}  // namespace wire
TRUNKLINE_NAMESPACE_END
