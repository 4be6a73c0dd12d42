#include "base/random.hpp"

#include <trunkline/event_id.hpp>

#include <array>
#include <functional>

TRUNKLINE_NAMESPACE_BEGIN

namespace {

constexpr std::size_t uuid_size = 36;

bool is_dash_position(std::size_t i) noexcept {
    return i == 8 || i == 13 || i == 18 || i == 23;
}

}  // namespace

event_id event_id::from_text(std::string_view text) {
    if (text.size() == uuid_size) {
        std::array<std::uint64_t, 2> halves{};
        std::size_t digits = 0;
        bool canonical = true;
        for (std::size_t i = 0; i < uuid_size && canonical; ++i) {
            const char c = text[i];
            if (is_dash_position(i)) {
                canonical = c == '-';
                continue;
            }
            const bool digit = c >= '0' && c <= '9';
            canonical = digit || (c >= 'a' && c <= 'f');
            auto& half = halves[digits++ / 16];
            half = half << 4 | static_cast<std::uint64_t>(digit ? c - '0' : c - 'a' + 10);
        }
        if (canonical && (halves[0] != 0 || halves[1] != 0)) return {halves[0], halves[1]};
    }
    event_id id;
    id.text_ = std::make_shared<const std::string>(text);
    id.low_ = std::hash<std::string_view>{}(text);
    return id;
}

event_id event_id::random() noexcept {
    const auto bits = base::fresh_uuid();
    return {bits.high, bits.low};
}

std::string event_id::text() const {
    if (text_ != nullptr) return *text_;
    constexpr std::string_view hex_digits = "0123456789abcdef";
    std::string out(uuid_size, '-');
    std::size_t at = 0;
    for (const auto half : {high_, low_}) {
        for (int shift = 60; shift >= 0; shift -= 4) {
            if (is_dash_position(at)) ++at;
            out[at++] = hex_digits[half >> shift & 15];
        }
    }
    return out;
}

TRUNKLINE_NAMESPACE_END
