#pragma once

#include <trunkline/config.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

TRUNKLINE_NAMESPACE_BEGIN
namespace wire {

namespace detail {

// Where a scanner is. The compiler keeps a cursor in registers as long as nobody takes its address:
// what is not inlined takes and returns it by value.
struct json_cursor {
    const char* at = nullptr;
    const char* end = nullptr;
    // Of up to 64 bytes from `block` on: which of those not read yet a string cannot pass over.
    const char* block = nullptr;
    std::uint64_t special = 0;
};

struct json_block {
    const char* at;
    std::uint64_t special;
};
inline constexpr std::size_t block_size = 64;
// The first block from `at` on with something special in it, or the last one.
TRUNKLINE_EXPORT json_block find_block(const char* at, const char* end) noexcept;

// Behind the end quote of a string that has its first special byte at `at`, or null.
TRUNKLINE_EXPORT const char* skip_escapes(const char* at, const char* end) noexcept;

// Passes over an array or object with all it holds; `in` stands on its bracket, the text ends in a
// closing one. An empty cursor after an error.
TRUNKLINE_EXPORT json_cursor skip_nested(json_cursor in, std::size_t levels_max) noexcept;

inline bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

inline bool is_space(char c) noexcept {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

[[gnu::always_inline]] inline void skip_space(json_cursor& in) noexcept {
    while (in.at != in.end && is_space(*in.at)) ++in.at;
}

// The next byte that is no white space. It needs no look at the end where the last byte, a closing
// bracket, is still to come.
[[gnu::always_inline]] inline char peek(json_cursor& in) noexcept {
    while (static_cast<unsigned char>(*in.at) <= ' ' && is_space(*in.at)) ++in.at;
    return *in.at;
}

// Stands on the quote. Outside of strings quotes are nearly always the only special bytes, so the
// next ones of the block are this one and its end: they are found without waiting for `at`.
[[gnu::always_inline]] inline bool skip_string(json_cursor& in, bool& escaped) noexcept {
    escaped = false;
    if (in.special == 0 || in.block + std::countr_zero(in.special) != in.at) {
        const auto found = find_block(in.at, in.end);
        in.block = found.at;
        in.special = found.special;
    }
    in.special &= in.special - 1;
    if (in.special == 0) {
        const auto found = find_block(in.at + 1, in.end);
        in.block = found.at;
        in.special = found.special;
        if (in.special == 0) return false;
    }
    in.at = in.block + std::countr_zero(in.special);
    if (*in.at == '"') {
        ++in.at;
        in.special &= in.special - 1;
        return true;
    }
    escaped = true;
    const auto* behind = skip_escapes(in.at, in.end);
    if (behind == nullptr) return false;
    in.at = behind;
    return true;
}

[[gnu::always_inline]] inline bool skip_char(json_cursor& in, char c) noexcept {
    if (in.at == in.end || *in.at != c) return false;
    ++in.at;
    return true;
}

[[gnu::always_inline]] inline bool skip_digits(json_cursor& in) noexcept {
    const auto* begin = in.at;
    while (in.at != in.end && is_digit(*in.at)) ++in.at;
    return in.at != begin;
}

[[gnu::always_inline]] inline bool skip_number(json_cursor& in) noexcept {
    skip_char(in, '-');
    if (!skip_char(in, '0') && !skip_digits(in)) return false;
    if (skip_char(in, '.') && !skip_digits(in)) return false;
    if (skip_char(in, 'e') || skip_char(in, 'E')) {
        if (!skip_char(in, '+')) skip_char(in, '-');
        return skip_digits(in);
    }
    return true;
}

[[gnu::always_inline]] inline bool skip_word(json_cursor& in, std::string_view word) noexcept {
    const std::string_view rest(in.at, static_cast<std::size_t>(in.end - in.at));
    if (!rest.starts_with(word)) return false;
    in.at += word.size();
    return true;
}

// A number, true, false or null.
[[gnu::always_inline]] inline bool skip_plain(json_cursor& in) noexcept {
    switch (*in.at) {
        case 't':
            return skip_word(in, "true");
        case 'f':
            return skip_word(in, "false");
        case 'n':
            return skip_word(in, "null");
        default:
            return skip_number(in);
    }
}

}  // namespace detail

/// Walks one JSON text from front to back, once, and gives its parts as views. Everything is
/// checked on the way, skipped values too; nothing is copied, allocated or recursed into. Accepts
/// what JSON.parse accepts, up to a depth.
///
///     json_scanner in(text, depth_max);
///     if (in.begin_object())
///         while (in.next_member(key)) value = in.skip_value();
///     good = in.finish();
///
/// After the first error every call answers false or empty.
class TRUNKLINE_EXPORT json_scanner {
public:
    /// More levels than this are never accepted.
    static constexpr std::size_t depth_limit = 4096;

    json_scanner(std::string_view text, std::size_t depth_max) noexcept;

    struct name {
        std::string_view raw;  ///< between the quotes
        bool escaped = false;  ///< it has to be unescaped before it is compared
    };

    /// Enters the object that comes next; false, and nothing consumed, when something else does.
    bool begin_object() noexcept;
    /// The next member's name; false at the end of the object, which is left, and after an error.
    bool next_member(name& key) noexcept;
    /// Passes over the value that comes next; its text without white space around it.
    std::string_view skip_value() noexcept;
    /// Just behind what was read last.
    const char* behind() const noexcept { return in_.at; }
    /// True when all of the text was read without an error.
    bool finish() noexcept;

private:
    bool fail() noexcept;

    detail::json_cursor in_;
    std::size_t depth_max_;
    std::size_t depth_ = 0;
    bool failed_ = false;
    bool first_ = false;
};

inline bool json_scanner::fail() noexcept {
    failed_ = true;
    in_.at = in_.end;
    return false;
}

[[gnu::always_inline]] inline bool json_scanner::begin_object() noexcept {
    detail::skip_space(in_);
    if (in_.at == in_.end || *in_.at != '{') return false;
    if (depth_ == depth_max_) return fail();
    ++depth_;
    ++in_.at;
    first_ = true;
    return true;
}

[[gnu::always_inline]] inline bool json_scanner::next_member(name& key) noexcept {
    if (in_.at == in_.end || depth_ == 0) return fail();
    if (detail::peek(in_) == '}') {
        ++in_.at;
        --depth_;
        first_ = false;
        return false;
    }
    if (!first_) {
        if (*in_.at != ',') return fail();
        ++in_.at;
    }
    first_ = false;
    if (detail::peek(in_) != '"') return fail();
    const auto* begin = in_.at;
    if (!detail::skip_string(in_, key.escaped)) return fail();
    key.raw = {begin + 1, static_cast<std::size_t>(in_.at - begin - 2)};
    if (detail::peek(in_) != ':') return fail();
    ++in_.at;
    return true;
}

[[gnu::always_inline]] inline std::string_view json_scanner::skip_value() noexcept {
    detail::skip_space(in_);
    if (in_.at == in_.end) {
        fail();
        return {};
    }
    const auto* begin = in_.at;
    bool escaped = false;
    bool good = false;
    if (*begin == '"') {
        good = detail::skip_string(in_, escaped);
    } else if (*begin == '{' || *begin == '[') {
        in_ = detail::skip_nested(in_, depth_max_ - depth_);
        good = in_.at != nullptr;
    } else {
        good = detail::skip_plain(in_);
    }
    if (!good) {
        fail();
        return {};
    }
    return {begin, static_cast<std::size_t>(in_.at - begin)};
}

inline bool json_scanner::finish() noexcept {
    detail::skip_space(in_);
    return !failed_ && in_.at == in_.end && depth_ == 0;
}

/// Appends the characters of a string whose inside, between the quotes, a scanner has passed. Half
/// a surrogate pair becomes three bytes, which append_json_string turns into its escape again.
TRUNKLINE_EXPORT void append_unescaped(std::string& out, std::string_view raw);

}  // namespace wire
TRUNKLINE_NAMESPACE_END
