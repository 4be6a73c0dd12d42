// The first bytes choose a limit and how the rest is cut; the lines are those of the uncut text.
#include "wire/line_splitter.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct outcome {
    std::vector<std::string> lines;
    bool overflow = false;
    bool operator==(const outcome&) const = default;
};

outcome expected(std::string_view text, std::size_t limit) {
    outcome result;
    for (;;) {
        const auto end = std::min(text.find('\n'), text.size());
        const auto line = text.substr(0, end);
        result.overflow = line.size() > limit;
        if (result.overflow || end == text.size()) return result;
        if (line.find_first_not_of(" \t\v\f\r") != std::string_view::npos)
            result.lines.emplace_back(line);
        text.remove_prefix(end + 1);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::size_t head = 6;
    if (size < head) return 0;
    const std::size_t limit = data[0] | std::size_t{data[1]} << 8;
    const auto* cuts = data + 2;
    std::string text(reinterpret_cast<const char*>(data) + head, size - head);
    // A high bit makes every byte many, so that the buffer has to grow.
    if (cuts[3] & 0x80) {
        std::string many;
        for (const char c : text) many.append(c == '\n' ? 1 : 1000, c);
        text = many;
    }

    trunkline::wire::line_splitter in(limit);
    outcome found;
    std::string_view rest = text;
    for (std::size_t i = 0; !rest.empty() && !in.overflow(); ++i) {
        const std::size_t piece = 1 + std::size_t{cuts[i % 3]} * (1 + i % 7) * (1 + i % 7);
        const auto space = in.prepare(piece);
        if (space.empty()) std::abort();
        const auto taken = std::min({space.size(), piece, rest.size()});
        std::memcpy(space.data(), rest.data(), taken);
        in.commit(taken);
        rest.remove_prefix(taken);
        while (const auto line = in.next()) found.lines.emplace_back(*line);
    }
    found.overflow = in.overflow();
    if (found != expected(text, limit)) std::abort();
    return 0;
}
