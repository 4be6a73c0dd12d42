#pragma once

#include <trunkline/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <sys/uio.h>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// A text that several outboxes hold.
using shared_text = std::shared_ptr<const std::string>;

/// What still has to be written to one peer, in order. Small texts are copied together, so that
/// one write takes many frames; large ones are shared. Pure: the shell writes what `gather` shows
/// and reports how much the kernel took.
class outbox {
public:
    /// Texts from this size on are shared rather than copied.
    static constexpr std::size_t shared_min = 4096;

    void append(std::string_view text);
    void append(shared_text text);
    /// Fills `out` with what comes next; returns how many entries were used.
    std::size_t gather(std::span<iovec> out) const;
    /// The first `bytes` are on their way.
    void consume(std::size_t bytes);
    void clear();
    /// `f(line, end)` for each line of which something is still to be written: all of it, without
    /// the newline, and what `written()` will be when it is done. For boxes where each text that
    /// was appended is a line.
    template <class F>
    void each_unwritten_line(F&& f) const {
        auto end = written_ - first_at_;
        for (const auto& s : segments_) {
            for (auto rest = s.view(); !rest.empty();) {
                const auto size = std::min(rest.find('\n'), rest.size() - 1) + 1;
                end += size;
                if (end > written_) f(rest.substr(0, size - 1), end);
                rest.remove_prefix(size);
            }
        }
    }

    bool empty() const noexcept { return queued_ == 0; }
    /// Bytes appended and not consumed.
    std::size_t queued() const noexcept { return queued_; }
    /// Bytes ever appended; what was appended until now is written once `written()` gets there.
    std::uint64_t appended() const noexcept { return written_ + queued_; }
    std::uint64_t written() const noexcept { return written_; }

private:
    struct segment {
        std::string own;
        shared_text shared;
        std::string_view view() const noexcept {
            return shared != nullptr ? std::string_view(*shared) : std::string_view(own);
        }
    };

    std::deque<segment> segments_;
    std::size_t first_at_ = 0;  // consumed bytes of the first segment
    std::size_t queued_ = 0;
    std::uint64_t written_ = 0;
    std::string spare_;  // memory for the next small segment
};

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
