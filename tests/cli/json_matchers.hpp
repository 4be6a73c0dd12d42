#pragma once

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <gmock/gmock.h>

#include <string>
#include <vector>

namespace cli_test {

/// The member of each object, or null where it is missing.
inline std::vector<boost::json::value> all(
    const std::vector<boost::json::value>& lines, std::string_view name
) {
    std::vector<boost::json::value> result;
    for (const auto& line : lines) {
        const auto* fields = line.if_object();
        const auto* value = fields != nullptr ? fields->if_contains(name) : nullptr;
        result.push_back(value != nullptr ? *value : boost::json::value());
    }
    return result;
}

/// The same as text: `1`, `"a"`, `null`.
inline std::vector<std::string> texts(
    const std::vector<boost::json::value>& lines, std::string_view name
) {
    std::vector<std::string> result;
    for (const auto& value : all(lines, name)) result.push_back(boost::json::serialize(value));
    return result;
}

/// One member of one object as text.
inline std::string text(const boost::json::value& line, std::string_view name) {
    return texts({line}, name).front();
}

}  // namespace cli_test
