#pragma once

#include <boost/json/value.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace trunkline_cli {

/// Result of reading a text as JSON: a value, or what is wrong with it.
struct parsed_json {
    std::optional<boost::json::value> value;
    std::string problem;    ///< "… at byte 12"; empty when there is a value
    bool too_deep = false;  ///< it nests deeper than was allowed
};

/// Reads one JSON value that nests at most `levels_max` deep.
parsed_json parse_json(std::string_view text, std::size_t levels_max);

bool is_utf8(std::string_view text);

/// Throws usage_error naming `what` when the text is empty, not UTF-8, or too long for a topic.
void check_topic(std::string_view topic);
void check_name(std::string_view what, std::string_view text);

}  // namespace trunkline_cli
