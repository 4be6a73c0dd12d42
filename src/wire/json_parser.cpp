#include "wire/json_parser.hpp"

#include <trunkline/errc.hpp>

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/value_stack.hpp>
#include <boost/system/system_error.hpp>

#include <charconv>
#include <cstdint>
#include <string>
#include <system_error>

TRUNKLINE_NAMESPACE_BEGIN
namespace wire {

namespace {

namespace json = boost::json;

// Beyond it a number of JavaScript is no exact integer any more.
constexpr std::int64_t safe_integer_max = (std::int64_t{1} << 53) - 1;

/// Builds a tree from the parser's events and reads floating-point numbers from their own text.
struct tree_builder {
    static constexpr std::size_t max_object_size = json::object::max_size();
    static constexpr std::size_t max_array_size = json::array::max_size();
    static constexpr std::size_t max_key_size = json::string::max_size();
    static constexpr std::size_t max_string_size = json::string::max_size();
    using text = json::string_view;

    json::value_stack stack;
    std::string number;

    bool on_document_begin(error_code&) {
        stack.reset();
        return true;
    }
    bool on_document_end(error_code&) { return true; }
    bool on_object_begin(error_code&) { return true; }
    bool on_object_end(std::size_t n, error_code&) {
        stack.push_object(n);
        return true;
    }
    bool on_array_begin(error_code&) { return true; }
    bool on_array_end(std::size_t n, error_code&) {
        stack.push_array(n);
        return true;
    }
    bool on_key_part(text s, std::size_t, error_code&) {
        stack.push_chars(s);
        return true;
    }
    bool on_key(text s, std::size_t, error_code&) {
        stack.push_key(s);
        return true;
    }
    bool on_string_part(text s, std::size_t, error_code&) {
        stack.push_chars(s);
        return true;
    }
    bool on_string(text s, std::size_t, error_code&) {
        stack.push_string(s);
        return true;
    }
    bool on_number_part(text s, error_code&) {
        number.append(s.data(), s.size());
        return true;
    }
    bool on_int64(std::int64_t i, text, error_code&) {
        number.clear();
        if (i >= -safe_integer_max && i <= safe_integer_max)
            stack.push_int64(i);
        else
            stack.push_double(static_cast<double>(i));
        return true;
    }
    bool on_uint64(std::uint64_t u, text, error_code&) {
        number.clear();
        stack.push_double(static_cast<double>(u));  // larger than any int64
        return true;
    }
    bool on_double(double d, text s, error_code&) {
        number.append(s.data(), s.size());
        double exact = d;
        const auto got = std::from_chars(number.data(), number.data() + number.size(), exact);
        // Out of range: the parser's own infinity or zero is the right answer.
        stack.push_double(got.ec == std::errc{} ? exact : d);
        number.clear();
        return true;
    }
    bool on_bool(bool b, error_code&) {
        stack.push_bool(b);
        return true;
    }
    bool on_null(error_code&) {
        stack.push_null();
        return true;
    }
    bool on_comment_part(text, error_code&) { return true; }
    bool on_comment(text, error_code&) { return true; }
};

}  // namespace

json::value parse_json(std::string_view text, std::size_t depth_max) {
    json::parse_options limits;
    limits.max_depth = depth_max;
    json::basic_parser<tree_builder> parser(limits);
    error_code ec;
    const auto used = parser.write_some(false, text.data(), text.size(), ec);
    if (!ec && used < text.size()) ec = json::error::extra_data;
    if (ec) {
        throw boost::system::system_error(
            errc::protocol_error, "JSON text, " + ec.message() + " at byte " + std::to_string(used)
        );
    }
    return parser.handler().stack.release();
}

}  // namespace wire
TRUNKLINE_NAMESPACE_END
