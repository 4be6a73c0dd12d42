#pragma once

#include <trunkline/config.hpp>
#include <trunkline/event_id.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// The events that this process got last, so that one which is sent again is known. Noting one
/// costs a store; asking, which only an event marked as sent again needs, walks the list from its
/// newest end. Kept as 64 bits each.
class recent_ids {
public:
    explicit recent_ids(std::size_t limit) : limit_(limit) {}

    void note(std::uint64_t key) {
        if (keys_.size() < limit_) {
            keys_.push_back(key);
            return;
        }
        keys_[oldest_] = key;
        oldest_ = (oldest_ + 1) % limit_;
    }
    bool has(std::uint64_t key) const noexcept {
        const auto newest = keys_.begin() + static_cast<std::ptrdiff_t>(oldest_);
        const auto from = std::make_reverse_iterator(newest);
        const auto older = std::make_reverse_iterator(keys_.end());
        return std::find(from, keys_.rend(), key) != keys_.rend() ||
               std::find(older, std::make_reverse_iterator(newest), key) !=
                   std::make_reverse_iterator(newest);
    }

    const std::vector<std::uint64_t>& all() const noexcept { return keys_; }

private:
    std::size_t limit_;
    std::size_t oldest_ = 0;
    std::vector<std::uint64_t> keys_;
};

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
