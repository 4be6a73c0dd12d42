#include "wire/json_scanner.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

TRUNKLINE_NAMESPACE_BEGIN
namespace wire {

namespace {

using detail::block_size;
constexpr std::size_t unicode_escape_size = 6;  // \uXXXX

// -1 when it is none.
int hex_digit(char c) noexcept {
    if (detail::is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// A bit for each of 64 bytes: set where a quote, a backslash or a control character is.
std::uint64_t special_bytes(const char* at) noexcept {
    std::uint64_t found = 0;
#if defined(__SSE2__)
    const auto quote = _mm_set1_epi8('"');
    const auto backslash = _mm_set1_epi8('\\');
    const auto highest_control = _mm_set1_epi8(0x1f);
    for (std::size_t i = 0; i < block_size; i += 16) {
        const auto bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at + i));
        const auto special = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)),
            _mm_cmpeq_epi8(_mm_min_epu8(bytes, highest_control), bytes)
        );
        const auto bits = static_cast<std::uint32_t>(_mm_movemask_epi8(special));
        found |= std::uint64_t{bits} << i;
    }
#else
    for (std::size_t i = 0; i < block_size; ++i) {
        const auto byte = static_cast<unsigned char>(at[i]);
        const bool special = byte == '"' || byte == '\\' || byte < 0x20;
        found |= std::uint64_t{special} << i;
    }
#endif
    return found;
}

}  // namespace

namespace detail {

json_block find_block(const char* at, const char* end) noexcept {
    for (; static_cast<std::size_t>(end - at) >= block_size; at += block_size) {
        if (const auto special = special_bytes(at)) return {at, special};
    }
    std::array<char, block_size> padded;
    padded.fill(' ');
    std::memcpy(padded.data(), at, static_cast<std::size_t>(end - at));
    return {at, special_bytes(padded.data())};
}

const char* skip_escapes(const char* at, const char* end) noexcept {
    while (at != end && *at == '\\') {
        if (end - at < 2) return nullptr;
        if (at[1] == 'u') {
            if (static_cast<std::size_t>(end - at) < unicode_escape_size) return nullptr;
            for (std::size_t i = 2; i < unicode_escape_size; ++i) {
                if (hex_digit(at[i]) < 0) return nullptr;
            }
            at += unicode_escape_size;
        } else {
            if (std::string_view(R"("\/bfnrt)").find(at[1]) == std::string_view::npos)
                return nullptr;
            at += 2;
        }
        const auto [from, special] = find_block(at, end);
        at = special != 0 ? from + std::countr_zero(special) : end;
    }
    return at != end && *at == '"' ? at + 1 : nullptr;
}

namespace {

// A member's name and its colon.
[[gnu::always_inline]] inline bool skip_name(json_cursor& in) noexcept {
    bool escaped = false;
    if (peek(in) != '"' || !skip_string(in, escaped) || peek(in) != ':') return false;
    ++in.at;
    return true;
}

// The arrays and objects that are open, one bit each: set for an object.
class open_levels {
public:
    bool empty() const noexcept { return count_ == 0; }
    std::size_t count() const noexcept { return count_; }
    void push(bool object) noexcept {
        auto& word = bits_[count_ / 64];
        word = count_ % 64 == 0 ? object : word << 1 | std::uint64_t{object};
        ++count_;
    }
    void pop() noexcept {
        --count_;
        bits_[count_ / 64] >>= 1;
    }
    bool in_object() const noexcept { return (bits_[(count_ - 1) / 64] & 1) != 0; }

private:
    std::size_t count_ = 0;
    std::array<std::uint64_t, json_scanner::depth_limit / 64> bits_;  // NOLINT: see push
};

}  // namespace

json_cursor skip_nested(json_cursor in, std::size_t levels_max) noexcept {
    open_levels open;
    bool object = false;
    bool escaped = false;
    for (;;) {
        // A value.
        const char c = peek(in);
        if (c == '"') {
            if (!skip_string(in, escaped)) return {};
        } else if (c == '{' || c == '[') {
            if (open.count() == levels_max) return {};
            object = c == '{';
            open.push(object);
            ++in.at;
            if (peek(in) != (object ? '}' : ']')) {
                if (object && !skip_name(in)) return {};
                continue;
            }
        } else if (!skip_plain(in)) {
            return {};
        }
        // What follows it: the ends of arrays and objects, and a comma.
        while (peek(in) != ',') {
            if (*in.at != (object ? '}' : ']')) return {};
            ++in.at;
            open.pop();
            if (open.empty()) {
                return in;
            }
            if (in.at == in.end) return {};
            object = open.in_object();
        }
        ++in.at;
        if (object && !skip_name(in)) return {};
    }
}

}  // namespace detail

json_scanner::json_scanner(std::string_view text, std::size_t depth_max) noexcept
    : in_{text.data(), text.data() + text.size(), text.data()},
      depth_max_(std::min(depth_max, depth_limit)) {
    while (in_.end != in_.at && detail::is_space(in_.end[-1])) --in_.end;
    // Without a closing bracket at its end it has no good object or array anywhere.
    if (in_.end == in_.at || (in_.end[-1] != '}' && in_.end[-1] != ']')) depth_max_ = 0;
}

namespace {

std::uint32_t unicode_unit(std::string_view raw, std::size_t at) noexcept {
    std::uint32_t unit = 0;
    for (std::size_t i = 2; i < unicode_escape_size; ++i)
        unit = unit << 4 | static_cast<std::uint32_t>(hex_digit(raw[at + i]));
    return unit;
}

bool is_high_surrogate(std::uint32_t unit) noexcept {
    return unit >= 0xd800 && unit <= 0xdbff;
}
bool is_low_surrogate(std::uint32_t unit) noexcept {
    return unit >= 0xdc00 && unit <= 0xdfff;
}

void append_code_point(std::string& out, std::uint32_t code) {
    const auto append = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
    const auto append_rest = [&](int shift) { append(0x80 | (code >> shift & 0x3f)); };
    if (code < 0x80) {
        append(code);
    } else if (code < 0x800) {
        append(0xc0 | code >> 6);
        append_rest(0);
    } else if (code < 0x10000) {
        append(0xe0 | code >> 12);
        append_rest(6);
        append_rest(0);
    } else {
        append(0xf0 | code >> 18);
        append_rest(12);
        append_rest(6);
        append_rest(0);
    }
}

char short_escape(char c) noexcept {
    switch (c) {
        case 'b':
            return '\b';
        case 'f':
            return '\f';
        case 'n':
            return '\n';
        case 'r':
            return '\r';
        case 't':
            return '\t';
        default:
            return c;  // a quote, a slash or a backslash
    }
}

// The escape at `at`; how long it is.
std::size_t append_escaped(std::string& out, std::string_view raw, std::size_t at) {
    if (raw[at + 1] != 'u') {
        out.push_back(short_escape(raw[at + 1]));
        return 2;
    }
    const auto unit = unicode_unit(raw, at);
    const auto next = at + unicode_escape_size;
    if (is_high_surrogate(unit) && raw.substr(next).starts_with("\\u")) {
        const auto low = unicode_unit(raw, next);
        if (is_low_surrogate(low)) {
            append_code_point(out, 0x10000 + ((unit - 0xd800) << 10 | (low - 0xdc00)));
            return 2 * unicode_escape_size;
        }
    }
    append_code_point(out, unit);
    return unicode_escape_size;
}

}  // namespace

void append_unescaped(std::string& out, std::string_view raw) {
    for (std::size_t at = 0; at < raw.size();) {
        const auto escape = std::min(raw.find('\\', at), raw.size());
        out.append(raw, at, escape - at);
        at = escape;
        if (at < raw.size()) at += append_escaped(out, raw, at);
    }
}

}  // namespace wire
TRUNKLINE_NAMESPACE_END
