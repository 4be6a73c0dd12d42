// The JSON writer beside the one that it must agree with: JSON.stringify of a real engine.

#include "node_script.hpp"

#include <trunkline/json_text.hpp>

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::uint64_t seed = 20'260'101;

void append_hex(std::string& out, std::uint64_t value, int digits) {
    for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4)
        out.push_back("0123456789abcdef"[(value >> shift) & 15]);
}

// Every kind of number that the layout rules tell apart, both signs.
std::vector<double> sample_numbers() {
    std::mt19937_64 random(seed);
    std::vector<double> numbers;
    const auto add = [&](double number) {
        numbers.push_back(number);
        numbers.push_back(-number);
    };
    const auto add_with_neighbours = [&](double number) {
        add(number);
        add(std::nextafter(number, 0.0));
        add(std::nextafter(number, std::numeric_limits<double>::infinity()));
    };

    using limits = std::numeric_limits<double>;
    for (const double special :
         {0.0, limits::infinity(), limits::quiet_NaN(), limits::signaling_NaN()})
        add(special);
    for (const double edge :
         {limits::min(),
          limits::max(),
          limits::denorm_min(),
          limits::epsilon(),
          1.0,
          0.1,
          0.3,
          1e21,
          1e-6,
          1e-7,
          123456789012345680000.0,
          9007199254740991.0,
          9007199254740993.0,
          4294967295.0,
          2147483647.0,
          9223372036854775807.0,
          18446744073709551615.0})
        add_with_neighbours(edge);

    // Powers of ten and of two with their neighbours: where digits, zeros and exponents change.
    for (int power = -324; power <= 308; ++power) {
        const auto text = "1e" + std::to_string(power);
        double number = 0;
        std::from_chars(text.data(), text.data() + text.size(), number);
        add_with_neighbours(number);
    }
    for (int power = -1074; power <= 1023; ++power) add_with_neighbours(std::ldexp(1.0, power));

    // Around the largest integers that a double holds exactly.
    const double exact_max = std::ldexp(1.0, 53);
    for (int i = -1000; i <= 1000; ++i) add(exact_max + i);

    // Integers of every length, small ones without a gap.
    for (int i = 0; i < 2000; ++i) add(i);
    for (int i = 0; i < 10'000; ++i) add(static_cast<double>(random() >> (random() % 64)));

    // Decimals with few digits, as people write them.
    for (int i = 0; i < 20'000; ++i) {
        const auto text = std::to_string(random() % 1'000'000) + "e" +
                          std::to_string(static_cast<int>(random() % 50) - 30);
        double number = 0;
        std::from_chars(text.data(), text.data() + text.size(), number);
        add(number);
    }
    // Subnormal numbers.
    for (int i = 0; i < 5'000; ++i) add(std::bit_cast<double>(random() >> (12 + random() % 52)));
    // Any bits at all, NaNs with odd bits among them.
    for (int i = 0; i < 60'000; ++i) numbers.push_back(std::bit_cast<double>(random()));
    return numbers;
}

TEST(JsonWriter, NumbersAreWhatNodePrints) {
    if (!interop::node().why_not.empty()) GTEST_SKIP() << interop::node().why_not;
    const auto numbers = sample_numbers();
    ASSERT_GE(numbers.size(), 100'000U);
    RecordProperty("numbers", static_cast<int>(numbers.size()));

    std::string input;
    for (const double number : numbers) {
        input.append("d ");
        append_hex(input, std::bit_cast<std::uint64_t>(number), 16);
        input.push_back('\n');
    }
    const auto expected = interop::run_script("numbers.mjs", input);
    ASSERT_EQ(expected.size(), numbers.size());

    int differences = 0;
    for (std::size_t i = 0; i < numbers.size() && differences < 20; ++i) {
        std::string written;
        trunkline::append_json(written, numbers[i]);
        EXPECT_EQ(written, expected[i])
            << "bits " << std::hex << std::bit_cast<std::uint64_t>(numbers[i]);
        if (written != expected[i]) ++differences;
    }
}

// UTF-16 units, as a JavaScript string holds them; surrogates may stand alone.
using units = std::u16string;

bool is_high(char16_t unit) {
    return unit >= 0xd800 && unit <= 0xdbff;
}
bool is_low(char16_t unit) {
    return unit >= 0xdc00 && unit <= 0xdfff;
}

// The bytes that such a string is on our side: UTF-8, a lone surrogate as three bytes.
std::string bytes_of(const units& text) {
    std::string out;
    const auto put = [&](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
    for (std::size_t i = 0; i < text.size(); ++i) {
        std::uint32_t code = text[i];
        if (is_high(text[i]) && i + 1 < text.size() && is_low(text[i + 1])) {
            code = 0x10000 + ((code - 0xd800) << 10) + (text[i + 1] - 0xdc00U);
            ++i;
        }
        if (code < 0x80) {
            put(code);
        } else if (code < 0x800) {
            put(0xc0 | code >> 6);
            put(0x80 | (code & 63));
        } else if (code < 0x10000) {
            put(0xe0 | code >> 12);
            put(0x80 | (code >> 6 & 63));
            put(0x80 | (code & 63));
        } else {
            put(0xf0 | code >> 18);
            put(0x80 | (code >> 12 & 63));
            put(0x80 | (code >> 6 & 63));
            put(0x80 | (code & 63));
        }
    }
    return out;
}

std::vector<units> sample_strings() {
    std::mt19937_64 random(seed + 1);
    std::vector<units> strings{
        u"",
        u"plain",
        u"\"quoted\" and \\ back",
        u"/slash/",
        u"\u2028\u2029",
        u"\u007f\u0080\u009f",
        u"caf\u00e9 \u4e2d\u6587",
        u"\U0001f600\U0001f468\u200d\U0001f469",
        u"\ufeff\ufffd\uffff",
        units(1, u'\0'),
    };
    // Every unit once, alone and between two letters: surrogates included.
    for (std::uint32_t unit = 0; unit < 0x10000; ++unit) {
        const auto u = static_cast<char16_t>(unit);
        strings.push_back(units{u'a', u, u'b'});
        if (unit < 0x100 || is_high(u) || is_low(u)) strings.push_back(units{u});
    }
    constexpr std::array<char16_t, 6> awkward{u'"', u'\\', 0x2028, 0x2029, 0xd83d, 0xde00};
    for (int i = 0; i < 20'000; ++i) {
        units text;
        for (auto left = random() % 40; left > 0; --left) {
            switch (random() % 5) {
                case 0:
                    text.push_back(static_cast<char16_t>(random() % 0x20));
                    break;
                case 1:
                    text.push_back(static_cast<char16_t>(0x20 + random() % 0x60));
                    break;
                case 2:
                    text.push_back(awkward[random() % awkward.size()]);
                    break;
                case 3:
                    text.push_back(static_cast<char16_t>(random()));
                    break;
                default:  // a character beyond the first plane
                    text.push_back(static_cast<char16_t>(0xd800 + random() % 0x400));
                    text.push_back(static_cast<char16_t>(0xdc00 + random() % 0x400));
            }
        }
        strings.push_back(std::move(text));
    }
    return strings;
}

TEST(JsonWriter, StringsAreWhatNodePrints) {
    if (!interop::node().why_not.empty()) GTEST_SKIP() << interop::node().why_not;
    const auto strings = sample_strings();

    std::string input;
    for (const auto& text : strings) {
        input.append("s ");
        for (const char16_t unit : text) append_hex(input, unit, 4);
        input.push_back('\n');
    }
    const auto expected = interop::run_script("numbers.mjs", input);
    ASSERT_EQ(expected.size(), strings.size());

    int differences = 0;
    for (std::size_t i = 0; i < strings.size() && differences < 20; ++i) {
        std::string written;
        trunkline::append_json_string(written, bytes_of(strings[i]));
        EXPECT_EQ(written, expected[i]) << "string " << i;
        if (written != expected[i]) ++differences;
    }
}

}  // namespace
