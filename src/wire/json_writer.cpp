#include "base/utf8.hpp"

#include <trunkline/json_text.hpp>

#include <boost/json/value.hpp>

#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN

namespace {

constexpr std::int64_t safe_integer_max = (std::int64_t{1} << 53) - 1;
constexpr std::string_view hex_digits = "0123456789abcdef";

void append_unicode_escape(std::string& out, unsigned unit) {
    out.append("\\u");
    for (int shift = 12; shift >= 0; shift -= 4) out.push_back(hex_digits[(unit >> shift) & 15]);
}

// The escape for one byte below 0x20, a quote or a backslash.
void append_escape(std::string& out, unsigned char c) {
    switch (c) {
        case '"':
            out.append("\\\"");
            return;
        case '\\':
            out.append("\\\\");
            return;
        case '\b':
            out.append("\\b");
            return;
        case '\f':
            out.append("\\f");
            return;
        case '\n':
            out.append("\\n");
            return;
        case '\r':
            out.append("\\r");
            return;
        case '\t':
            out.append("\\t");
            return;
        default:
            append_unicode_escape(out, c);
    }
}

template <class Integer>
void append_integer(std::string& out, Integer number) {
    std::array<char, 24> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    const std::string_view text(digits.data(), static_cast<std::size_t>(end - digits.data()));
    const bool safe = [&] {
        if constexpr (std::is_signed_v<Integer>)
            return number >= -safe_integer_max && number <= safe_integer_max;
        else
            return number <= static_cast<std::uint64_t>(safe_integer_max);
    }();
    if (safe) {
        out.append(text);
    } else {
        out.append("{\"__m_codec__\":\"BigInt\",\"v\":\"").append(text).append("\"}");
    }
}

// A UTF-16 surrogate that was encoded as three bytes by itself (0xed 0xa0..0xbf 0x80..0xbf).
bool is_lone_surrogate(std::string_view text, std::size_t at) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
    return text.size() - at >= 3 && byte(0) == 0xed && byte(1) >= 0xa0 && byte(1) <= 0xbf &&
           byte(2) >= 0x80 && byte(2) <= 0xbf;
}

}  // namespace

void append_json(std::string& out, double number) {
    if (!std::isfinite(number)) {
        out.append("null");
        return;
    }
    if (number == 0) {
        out.push_back('0');
        return;
    }
    if (number < 0) {
        out.push_back('-');
        number = -number;
    }
    // The shortest digits that read back the same, as d.ddde±xx; then laid out as ECMAScript's
    // Number::toString does.
    std::array<char, 32> buffer;
    const auto end =
        std::to_chars(
            buffer.data(), buffer.data() + buffer.size(), number, std::chars_format::scientific
        )
            .ptr;
    std::string_view text(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
    const auto e = text.find('e');
    int exponent = 0;
    {
        const auto* from = text.data() + e + 1;
        if (*from == '+') ++from;
        std::from_chars(from, text.data() + text.size(), exponent);
    }
    std::array<char, 20> digits;
    std::size_t count = 0;
    for (const char c : text.substr(0, e)) {
        if (c != '.') digits[count++] = c;
    }
    const std::string_view all(digits.data(), count);
    const int k = static_cast<int>(count);
    const int n = exponent + 1;  // position of the decimal point, counted from the first digit
    if (k <= n && n <= 21) {
        out.append(all).append(static_cast<std::size_t>(n - k), '0');
    } else if (0 < n && n <= 21) {
        out.append(all.substr(0, static_cast<std::size_t>(n)));
        out.push_back('.');
        out.append(all.substr(static_cast<std::size_t>(n)));
    } else if (-6 < n && n <= 0) {
        out.append("0.").append(static_cast<std::size_t>(-n), '0').append(all);
    } else {
        out.push_back(all[0]);
        if (k > 1) {
            out.push_back('.');
            out.append(all.substr(1));
        }
        out.push_back('e');
        out.push_back(n - 1 < 0 ? '-' : '+');
        std::array<char, 8> power;
        const auto stop =
            std::to_chars(power.data(), power.data() + power.size(), std::abs(n - 1)).ptr;
        out.append(power.data(), static_cast<std::size_t>(stop - power.data()));
    }
}

void append_json_string(std::string& out, std::string_view text) {
    out.push_back('"');
    std::size_t copied = 0;
    for (std::size_t i = 0; i < text.size();) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\') {
            ++i;
            continue;
        }
        if (c >= 0x80) {
            if (const auto length = base::utf8_length(text, i); length != 0) {
                i += length;
                continue;
            }
        }
        out.append(text.substr(copied, i - copied));
        if (c < 0x80) {
            append_escape(out, c);
            ++i;
        } else if (is_lone_surrogate(text, i)) {
            const auto second = static_cast<unsigned char>(text[i + 1]);
            const auto third = static_cast<unsigned char>(text[i + 2]);
            append_unicode_escape(out, 0xd000U | ((second & 0x3fU) << 6) | (third & 0x3fU));
            i += 3;
        } else {
            out.append("\xef\xbf\xbd");
            ++i;
        }
        copied = i;
    }
    out.append(text.substr(copied));
    out.push_back('"');
}

void append_json(std::string& out, const boost::json::value& value) {
    using boost::json::kind;
    switch (value.kind()) {
        case kind::null:
            out.append("null");
            return;
        case kind::bool_:
            out.append(value.get_bool() ? "true" : "false");
            return;
        case kind::int64:
            append_integer(out, value.get_int64());
            return;
        case kind::uint64:
            append_integer(out, value.get_uint64());
            return;
        case kind::double_:
            append_json(out, value.get_double());
            return;
        case kind::string:
            append_json_string(out, value.get_string());
            return;
        case kind::array: {
            char separator = '[';
            for (const auto& item : value.get_array()) {
                out.push_back(std::exchange(separator, ','));
                append_json(out, item);
            }
            out.append(separator == '[' ? "[]" : "]");
            return;
        }
        case kind::object: {
            char separator = '{';
            for (const auto& [name, item] : value.get_object()) {
                out.push_back(std::exchange(separator, ','));
                append_json_string(out, name);
                out.push_back(':');
                append_json(out, item);
            }
            out.append(separator == '{' ? "{}" : "}");
            return;
        }
    }
}

TRUNKLINE_NAMESPACE_END
