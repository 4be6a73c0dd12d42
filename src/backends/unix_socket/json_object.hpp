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

/// A small JSON object from another process, a frame or a file; nothing when it is none.
inline std::optional<boost::json::object> read_object(std::string_view text) {
    constexpr std::size_t depth_max = 8;
    try {
        auto value = wire::parse_json(text, depth_max);
        if (auto* object = value.if_object()) return std::move(*object);
    } catch (const boost::system::system_error&) {  // nothing, as said
    }
    return std::nullopt;
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
