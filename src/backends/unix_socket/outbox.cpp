#include "backends/unix_socket/outbox.hpp"

#include <algorithm>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

namespace {
// Small texts share a segment up to this size: a write of more gains nothing.
constexpr std::size_t segment_max = std::size_t{256} << 10;
}  // namespace

void outbox::append(std::string_view text) {
    if (text.empty()) return;
    const bool joins = !segments_.empty() && segments_.back().shared == nullptr &&
                       segments_.back().own.size() + text.size() <= segment_max;
    if (!joins) {
        segments_.emplace_back();
        segments_.back().own = std::exchange(spare_, {});
    }
    segments_.back().own.append(text);
    queued_ += text.size();
}

void outbox::append(shared_text text) {
    if (text == nullptr || text->size() < shared_min) {
        if (text != nullptr) append(std::string_view(*text));
        return;
    }
    queued_ += text->size();
    segments_.push_back({{}, std::move(text)});
}

std::size_t outbox::gather(std::span<iovec> out) const {
    std::size_t used = 0;
    auto skip = first_at_;
    for (const auto& s : segments_) {
        if (used == out.size()) break;
        const auto rest = s.view().substr(std::exchange(skip, 0));
        // The interface of writev is not const-correct; it only reads.
        out[used++] = {const_cast<char*>(rest.data()), rest.size()};  // NOLINT
    }
    return used;
}

void outbox::consume(std::size_t bytes) {
    queued_ -= bytes;
    written_ += bytes;
    while (bytes > 0) {
        auto& first = segments_.front();
        const auto left = first.view().size() - first_at_;
        if (bytes < left) {
            first_at_ += bytes;
            return;
        }
        bytes -= left;
        first_at_ = 0;
        if (first.shared == nullptr && first.own.capacity() > spare_.capacity() &&
            first.own.capacity() <= 2 * segment_max) {
            first.own.clear();
            spare_ = std::move(first.own);
        }
        segments_.pop_front();
    }
}

void outbox::clear() {
    segments_.clear();
    first_at_ = 0;
    written_ += std::exchange(queued_, 0);
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
