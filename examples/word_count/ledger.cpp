#include "ledger.hpp"

namespace word_count {

void ledger::enter(std::size_t line, const word_counts& words) {
    const std::lock_guard lock(mutex_);
    if (times_seen_.at(line)++ == 0) --missing_;
    add(words_, words);
    news_.notify_all();
}

void ledger::wait_for_all(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    while (missing_ > 0) {
        const auto before = missing_;
        if (!news_.wait_for(lock, patience, [&] { return missing_ < before; })) return;
    }
}

std::uint64_t ledger::lost() const {
    const std::lock_guard lock(mutex_);
    return missing_;
}

std::uint64_t ledger::duplicated() const {
    const std::lock_guard lock(mutex_);
    std::uint64_t count = 0;
    for (const auto times : times_seen_) count += times > 1 ? times - 1 : 0;
    return count;
}

word_counts ledger::words() const {
    const std::lock_guard lock(mutex_);
    return words_;
}

}  // namespace word_count
