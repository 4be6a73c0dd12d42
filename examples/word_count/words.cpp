#include "words.hpp"

#include <algorithm>

namespace word_count {
namespace {

struct character {
    std::uint32_t code = 0;
    std::size_t bytes = 1;
    bool valid = false;
};

// The UTF-8 character at the front of a text that is not empty.
character first_character(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const auto lead = byte(0);
    if (lead < 0x80) return {lead, 1, true};
    const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {};
    std::uint32_t code = lead & (0x7fU >> bytes);
    for (std::size_t i = 1; i < bytes; ++i) {
        if ((byte(i) & 0xc0) != 0x80) return {};
        code = code << 6 | (byte(i) & 0x3f);
    }
    constexpr std::uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const bool surrogate = code >= 0xd800 && code < 0xe000;
    if (code < least[bytes] || code > 0x10ffff || surrogate) return {};
    return {code, bytes, true};
}

// Letters and digits. Beyond ASCII everything is a letter, except for the blocks of signs that
// texts in European languages use.
bool belongs_to_word(const character& c) {
    if (!c.valid) return false;
    if (c.code < 0x80) {
        return (c.code >= 'a' && c.code <= 'z') || (c.code >= 'A' && c.code <= 'Z') ||
               (c.code >= '0' && c.code <= '9');
    }
    const bool latin_sign = c.code < 0xc0;
    const bool punctuation = c.code >= 0x2000 && c.code < 0x2070;
    return !latin_sign && !punctuation && c.code != 0xfffd;
}

}  // namespace

word_counts count_words(std::string_view text) {
    word_counts counts;
    std::string word;
    const auto end_word = [&] {
        if (!word.empty()) ++counts[word];
        word.clear();
    };
    while (!text.empty()) {
        const auto c = first_character(text);
        const auto rest = text.substr(c.bytes);
        const bool inner_apostrophe = c.code == '\'' && !word.empty() && !rest.empty() &&
                                      belongs_to_word(first_character(rest));
        if (c.code >= 'A' && c.code <= 'Z')
            word.push_back(static_cast<char>(c.code - 'A' + 'a'));
        else if (belongs_to_word(c) || inner_apostrophe)
            word.append(text.substr(0, c.bytes));
        else
            end_word();
        text = rest;
    }
    end_word();
    return counts;
}

void add(word_counts& sum, const word_counts& more) {
    for (const auto& [word, count] : more) sum[word] += count;
}

std::vector<std::pair<std::string, std::uint64_t>> most_frequent(
    const word_counts& counts, std::size_t how_many
) {
    std::vector<std::pair<std::string, std::uint64_t>> best(std::min(how_many, counts.size()));
    std::partial_sort_copy(
        counts.begin(),
        counts.end(),
        best.begin(),
        best.end(),
        [](const auto& a, const auto& b) {
            return a.second != b.second ? a.second > b.second : a.first < b.first;
        }
    );
    return best;
}

}  // namespace word_count
