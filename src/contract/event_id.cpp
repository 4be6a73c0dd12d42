#include "base/random.hpp"

#include <trunkline/event_id.hpp>

#include <array>
#include <functional>

TRUNKLINE_NAMESPACE_BEGIN

namespace {

constexpr std::size_t uuid_size = 36;
constexpr std::string_view hex_digits = "0123456789abcdef";
constexpr std::uint8_t no_digit = 0x80;

// The value of each lower-case hexadecimal digit.
constexpr auto digit_values = [] {
    std::array<std::uint8_t, 256> values{};
    values.fill(no_digit);
    for (std::uint8_t i = 0; i < 16; ++i) values[static_cast<unsigned char>(hex_digits[i])] = i;
    return values;
}();

// Where the digits are between the dashes, those of either half of the 128 bits.
struct digits {
    std::size_t from;
    std::size_t count;
};
constexpr std::array high_digits{digits{0, 8}, digits{9, 4}, digits{14, 4}};
constexpr std::array low_digits{digits{19, 4}, digits{24, 12}};
constexpr std::array<std::size_t, 4> dashes{8, 13, 18, 23};

// Adds what is no digit to `bad`.
template <std::size_t N>
std::uint64_t read_half(
    std::string_view text, const std::array<digits, N>& runs, unsigned& bad
) noexcept {
    std::uint64_t half = 0;
    for (const auto run : runs) {
        for (const char c : text.substr(run.from, run.count)) {
            const auto value = digit_values[static_cast<unsigned char>(c)];
            bad |= value & no_digit;
            half = half << 4 | (value & 0xfU);
        }
    }
    return half;
}

template <std::size_t N>
void write_half(std::string& out, const std::array<digits, N>& runs, std::uint64_t half) noexcept {
    unsigned shift = 64;
    for (const auto run : runs) {
        for (std::size_t i = 0; i < run.count; ++i) {
            shift -= 4;
            out[run.from + i] = hex_digits[half >> shift & 15];
        }
    }
}

}  // namespace

event_id event_id::from_text(std::string_view text) {
    if (text.size() == uuid_size) {
        unsigned bad = 0;
        for (const auto at : dashes) bad |= static_cast<unsigned>(text[at] != '-');
        const auto high = read_half(text, high_digits, bad);
        const auto low = read_half(text, low_digits, bad);
        if (bad == 0 && (high != 0 || low != 0)) return {high, low};
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
    std::string out(uuid_size, '-');
    write_half(out, high_digits, high_);
    write_half(out, low_digits, low_);
    return out;
}

TRUNKLINE_NAMESPACE_END
