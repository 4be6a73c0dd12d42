#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace word_count {

using word_counts = std::map<std::string, std::uint64_t, std::less<>>;

/// Words are runs of letters, digits and inner apostrophes; A-Z count as a-z. The text may be
/// anything: bytes that are not UTF-8 separate words.
word_counts count_words(std::string_view text);

void add(word_counts& sum, const word_counts& more);

/// The most frequent ones first, equals in alphabetical order.
std::vector<std::pair<std::string, std::uint64_t>> most_frequent(
    const word_counts& counts, std::size_t how_many
);

}  // namespace word_count
