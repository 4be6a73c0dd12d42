#pragma once

#include <trunkline/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

TRUNKLINE_NAMESPACE_BEGIN
namespace wire {

/// Walks one JSON text from front to back, once, and gives its parts as views. Everything is
/// checked on the way, skipped values too; nothing is copied, allocated or recursed into. Accepts
/// what JSON.parse accepts, up to a depth.
///
///     json_scanner s(text, depth);
///     if (s.begin_object())
///         while (s.next_member(key)) value = s.skip_value();
///     good = s.finish();
///
/// After the first error every call answers false or empty.
class json_scanner {
public:
    json_scanner(std::string_view text, std::size_t depth_max) noexcept
        : at_(text.data()), end_(text.data() + text.size()), depth_max_(depth_max) {}

    struct name {
        std::string_view raw;  ///< between the quotes
        bool escaped = false;
    };

    /// Enters the object that comes next; false, and nothing consumed, when something else does.
    bool begin_object() noexcept;
    /// The next member's name; false at the end of the object, which is left, and after an error.
    bool next_member(name& key) noexcept;
    /// Passes over the value that comes next; its text without white space around it.
    std::string_view skip_value() noexcept;
    /// Where the next value begins.
    const char* position() noexcept {
        skip_space();
        return at_;
    }
    /// Just behind what was read last.
    const char* behind() const noexcept { return at_; }
    /// True when all of the text was read without an error.
    bool finish() noexcept;
    bool failed() const noexcept { return failed_; }

private:
    void skip_space() noexcept {
        while (at_ != end_ && static_cast<unsigned char>(*at_) <= ' ' &&
               (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t'))
            ++at_;
    }
    bool fail() noexcept {
        failed_ = true;
        at_ = end_;
        return false;
    }
    bool skip_string(bool& escaped) noexcept;
    bool skip_number() noexcept;
    bool skip_word(std::string_view word) noexcept;
    bool skip_nested() noexcept;

    const char* at_;
    const char* end_;
    std::size_t depth_max_;
    std::size_t depth_ = 0;
    bool failed_ = false;
    bool first_ = false;
};

}  // namespace wire
TRUNKLINE_NAMESPACE_END
