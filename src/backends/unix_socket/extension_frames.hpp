#pragma once

#include "wire/json_parser.hpp"

#include <trunkline/config.hpp>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <boost/system/system_error.hpp>

#include <optional>
#include <string_view>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// A frame between members of this library, whole; nothing when it cannot be read.
inline std::optional<boost::json::object> read_extension(std::string_view line) {
    constexpr std::size_t depth_max = 8;
    try {
        return std::move(wire::parse_json(line, depth_max).as_object());
    } catch (const boost::system::system_error&) {
        return std::nullopt;
    }
}

/// A member that is text; empty when it is missing or anything else.
inline std::string_view text_of(const boost::json::object& fields, std::string_view name) {
    const auto* value = fields.if_contains(name);
    if (value == nullptr || !value->is_string()) return {};
    return value->get_string();
}

/// A member that is an array; null when it is missing or anything else.
inline const boost::json::array* array_of(
    const boost::json::object& fields, std::string_view name
) {
    const auto* value = fields.if_contains(name);
    return value != nullptr ? value->if_array() : nullptr;
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
