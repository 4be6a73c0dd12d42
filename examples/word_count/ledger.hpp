#pragma once

#include "words.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

namespace word_count {

/// What one reader of the bus has seen: how often each line, and its words. Threading: any.
class ledger {
public:
    explicit ledger(std::size_t lines) : times_seen_(lines), missing_(lines) {}

    /// Throws std::out_of_range for a line that was never published.
    void enter(std::size_t line, const word_counts& words);

    /// Waits until every line has been seen, or until nothing new has come for `patience`.
    void wait_for_all(std::chrono::milliseconds patience);

    std::uint64_t lost() const;        ///< lines that never came
    std::uint64_t duplicated() const;  ///< how often a line came again
    word_counts words() const;

private:
    mutable std::mutex mutex_;
    std::condition_variable news_;
    std::vector<std::uint32_t> times_seen_;
    std::size_t missing_;
    word_counts words_;
};

}  // namespace word_count
