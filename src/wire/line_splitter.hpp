#pragma once

#include <trunkline/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace wire {

/// Bytes in, lines out. One buffer, into which the reader reads directly; it doubles up to the
/// limit and shrinks again behind a large line. A line ends with the byte 0x0A; one of white space
/// only is skipped. A peer that sends byte by byte costs no more than one that does not: what was
/// searched is not searched again, and what is moved was preceded by as much that was read.
///
///     auto space = in.prepare(wanted);
///     in.commit(read(space));
///     while (auto line = in.next()) use(*line);
class line_splitter {
public:
    /// `line_bytes_max`: of a line without its end; a longer one is an overflow, finished or not.
    explicit line_splitter(std::size_t line_bytes_max) noexcept : line_bytes_max_(line_bytes_max) {}

    /// Room to read into: `wanted` bytes where that is cheap, at least one. Ends the views that
    /// `next` gave.
    std::span<char> prepare(std::size_t wanted) {
        if (begin_ == end_ || overflow_) begin_ = end_ = searched_ = 0;
        if (capacity_ > kept_bytes_max && held() < capacity_ / 4 && wanted < capacity_ / 4)
            relocate(std::max(capacity_min, held() + wanted));
        else if (capacity_ - end_ < wanted)
            make_room(wanted);
        return {buffer_.get() + end_, capacity_ - end_};
    }
    void commit(std::size_t bytes) noexcept { end_ += bytes; }

    /// The next complete line, without its end; nothing when there is none, or after an overflow.
    std::optional<std::string_view> next() noexcept {
        while (!overflow_ && searched_ != end_) {
            const auto* found = std::memchr(buffer_.get() + searched_, '\n', end_ - searched_);
            if (found == nullptr) {
                searched_ = end_;
                if (held() > line_bytes_max_) give_up();
                return std::nullopt;
            }
            const auto* line_end = static_cast<const char*>(found);
            const auto size = static_cast<std::size_t>(line_end - buffer_.get()) - begin_;
            const std::string_view line(buffer_.get() + begin_, size);
            begin_ = searched_ = begin_ + size + 1;
            if (size > line_bytes_max_)
                give_up();
            else if (!is_blank(line))
                return line;
        }
        return std::nullopt;
    }
    /// A line was longer than the limit; nothing comes after it.
    bool overflow() const noexcept { return overflow_; }

private:
    static constexpr std::size_t capacity_min = std::size_t{64} << 10;
    // A larger buffer is not kept for small lines.
    static constexpr std::size_t kept_bytes_max = std::size_t{256} << 10;

    static bool is_blank(std::string_view line) noexcept {
        return std::all_of(line.begin(), line.end(), [](char c) {
            return c == ' ' || (c >= '\t' && c <= '\r');
        });
    }

    std::size_t held() const noexcept { return end_ - begin_; }

    void give_up() noexcept {
        overflow_ = true;
        begin_ = end_ = searched_ = 0;
    }

    void make_room(std::size_t wanted) {
        const bool full = capacity_ == end_ && capacity_ > line_bytes_max_;
        if (begin_ > 0 && (begin_ >= held() || full)) {
            std::memmove(buffer_.get(), buffer_.get() + begin_, held());
            settle_at_front();
        }
        if (capacity_ == 0)
            relocate(std::max(capacity_min, wanted));
        else if (capacity_ == end_)
            relocate(std::max(grown(), held() + 1));
    }
    // One byte more than a line may have shows that it is too long.
    std::size_t grown() const noexcept {
        const auto doubled = 2 * capacity_;
        return capacity_ <= line_bytes_max_ ? std::min(doubled - 1, line_bytes_max_) + 1 : doubled;
    }
    void relocate(std::size_t capacity) {
        auto other = std::make_unique_for_overwrite<char[]>(capacity);
        if (held() > 0) std::memcpy(other.get(), buffer_.get() + begin_, held());
        buffer_ = std::move(other);
        capacity_ = capacity;
        settle_at_front();
    }
    void settle_at_front() noexcept {
        searched_ -= begin_;
        end_ -= begin_;
        begin_ = 0;
    }

    std::unique_ptr<char[]> buffer_;  // NOLINT(modernize-avoid-c-arrays): of a size known later
    std::size_t line_bytes_max_;
    std::size_t capacity_ = 0;
    std::size_t begin_ = 0;     // of what was not given out yet
    std::size_t searched_ = 0;  // up to where there is no line end
    std::size_t end_ = 0;
    bool overflow_ = false;
};

}  // namespace wire
TRUNKLINE_NAMESPACE_END
