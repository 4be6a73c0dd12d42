#pragma once

#include <trunkline/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

TRUNKLINE_NAMESPACE_BEGIN
namespace wire {

/// Bytes in, lines out. One buffer, into which the reader reads directly; it grows up to the limit
/// and shrinks again. A line ends with the byte 0x0A; one of white space only is skipped. A peer
/// that sends byte by byte costs no more than one that does not: what was searched is not searched
/// again.
class line_splitter {
public:
    /// `line_max`: bytes of a line without its end; a longer one is an overflow, finished or not.
    explicit line_splitter(std::size_t line_max) : line_max_(line_max) {}

    /// Room for at least one byte, `wanted` where the limit allows. Ends views that `next` gave.
    std::span<char> prepare(std::size_t wanted) {
        if (begin_ == end_) {
            begin_ = end_ = searched_ = 0;
            if (capacity_ > kept_max && wanted <= kept_max) resize(kept_max);
        }
        if (capacity_ - end_ < wanted) make_room(wanted);
        return {buffer_.get() + end_, capacity_ - end_};
    }
    void commit(std::size_t bytes) noexcept { end_ += bytes; }

    /// The next complete line, without its end; nothing when there is none, or after an overflow.
    std::optional<std::string_view> next() {
        while (!overflow_) {
            const auto* from = buffer_.get() + searched_;
            const auto* found =
                end_ > searched_ ? std::memchr(from, '\n', end_ - searched_) : nullptr;
            if (found == nullptr) {
                searched_ = end_;
                overflow_ = end_ - begin_ > line_max_;
                return std::nullopt;
            }
            const auto at = static_cast<std::size_t>(static_cast<const char*>(found) - buffer_.get());
            const std::string_view line(buffer_.get() + begin_, at - begin_);
            begin_ = searched_ = at + 1;
            if (line.size() > line_max_)
                overflow_ = true;
            else if (!blank(line))
                return line;
        }
        return std::nullopt;
    }
    /// A line was longer than the limit; nothing comes after it.
    bool overflow() const noexcept { return overflow_; }

private:
    static constexpr std::size_t kept_max = std::size_t{256} << 10;

    static bool blank(std::string_view line) noexcept {
        return std::all_of(line.begin(), line.end(), [](char c) {
            return c == ' ' || c == '\t' || c == '\r';
        });
    }

    void make_room(std::size_t wanted) {
        const auto held = end_ - begin_;
        // One byte more than a line may have shows that it is too long.
        const auto most = line_max_ + 1 > line_max_ ? line_max_ + 1 : line_max_;
        auto room = std::min(wanted, most > held ? most - held : 1);
        room = std::max<std::size_t>(room, 1);
        if (begin_ > 0 && capacity_ - held >= room && held <= capacity_ / 2) {
            std::memmove(buffer_.get(), buffer_.get() + begin_, held);
            end_ = held;
            searched_ -= begin_;
            begin_ = 0;
            return;
        }
        resize(std::max(held + room, std::min(2 * capacity_, held + most)));
    }
    void resize(std::size_t capacity) {
        const auto held = end_ - begin_;
        std::unique_ptr<char[]> larger(new char[capacity]);  // NOLINT: not to be zeroed
        if (held > 0) std::memcpy(larger.get(), buffer_.get() + begin_, held);
        buffer_ = std::move(larger);
        capacity_ = capacity;
        searched_ -= begin_;
        begin_ = 0;
        end_ = held;
    }

    std::unique_ptr<char[]> buffer_;  // NOLINT(modernize-avoid-c-arrays)
    std::size_t line_max_;
    std::size_t capacity_ = 0;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::size_t searched_ = 0;
    bool overflow_ = false;
};

}  // namespace wire
TRUNKLINE_NAMESPACE_END
