#include "json_input.hpp"

#include "exit_code.hpp"

#include <trunkline/pubsub.hpp>

#include <boost/json/error.hpp>
#include <boost/json/stream_parser.hpp>

namespace trunkline_cli {

parsed_json parse_json(std::string_view text, std::size_t levels_max) {
    boost::json::parse_options limits;
    limits.max_depth = levels_max;
    boost::json::stream_parser parser({}, limits);
    boost::system::error_code ec;
    const auto used = parser.write_some(text.data(), text.size(), ec);
    if (!ec && used < text.size()) ec = boost::json::error::extra_data;
    if (!ec) parser.finish(ec);
    parsed_json result;
    if (!ec) {
        result.value = parser.release();
        return result;
    }
    result.too_deep = ec == boost::json::error::too_deep;
    result.problem = result.too_deep
                         ? "nests deeper than " + std::to_string(levels_max) + " levels"
                         : "not JSON, " + ec.message() + " at byte " + std::to_string(used);
    return result;
}

// The JSON parser checks the encoding of strings, so the text is shown to it as one.
bool is_utf8(std::string_view text) {
    std::string quoted = "\"";
    for (const char c : text) {
        const bool special = c == '"' || c == '\\' || static_cast<unsigned char>(c) < ' ';
        quoted.push_back(special ? ' ' : c);
    }
    quoted.push_back('"');
    return parse_json(quoted, 1).value.has_value();
}

void check_topic(std::string_view topic) {
    check_name("topic", topic);
    if (topic.size() > trunkline::pubsub::topic_bytes_max)
        throw usage_error("topic is longer than 65,535 bytes");
}

void check_name(std::string_view what, std::string_view text) {
    if (text.empty()) throw usage_error(std::string(what) + " is empty");
    if (!is_utf8(text)) throw usage_error(std::string(what) + " is not UTF-8");
}

}  // namespace trunkline_cli
