#include <trunkline/tagged.hpp>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <stdexcept>

TRUNKLINE_NAMESPACE_BEGIN
namespace tagged {

namespace {

constexpr std::string_view tag_key = "__m_codec__";
constexpr std::string_view value_key = "v";

boost::json::object envelope(std::string_view tag) {
    boost::json::object object;
    object.emplace(tag_key, tag);
    return object;
}
boost::json::value envelope(std::string_view tag, boost::json::value value) {
    auto object = envelope(tag);
    object.emplace(value_key, std::move(value));
    return object;
}

bool has_tag(const boost::json::value& value, std::string_view tag) noexcept {
    const auto* object = value.if_object();
    if (object == nullptr) return false;
    const auto* found = object->if_contains(tag_key);
    return found != nullptr && found->is_string() && found->get_string() == tag;
}
// The `v` of an envelope with that tag, or null.
const boost::json::value* content(const boost::json::value& value, std::string_view tag) noexcept {
    return has_tag(value, tag) ? value.get_object().if_contains(value_key) : nullptr;
}

bool is_decimal(std::string_view text) noexcept {
    if (text.starts_with('-')) text.remove_prefix(1);
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

boost::json::value date(wall_time time) {
    return envelope("Date", boost::json::value(iso_text(time)));
}

boost::json::value bigint(std::string_view decimal) {
    if (!is_decimal(decimal))
        throw std::invalid_argument("BigInt \"" + std::string(decimal) + "\": want digits");
    return envelope("BigInt", boost::json::value(decimal));
}

boost::json::value undefined() {
    return envelope("Undefined");
}

boost::json::value map(boost::json::array pairs) {
    for (const auto& pair : pairs) {
        if (!pair.is_array() || pair.get_array().size() != 2)
            throw std::invalid_argument("Map: every entry is an array of key and value");
    }
    return envelope("Map", std::move(pairs));
}

boost::json::value set(boost::json::array items) {
    return envelope("Set", std::move(items));
}

std::optional<wall_time> as_date(const boost::json::value& value) {
    const auto* text = content(value, "Date");
    if (text == nullptr || !text->is_string()) return std::nullopt;
    try {
        return wall_time_from_iso(text->get_string());
    } catch (const boost::system::system_error&) {
        return std::nullopt;  // an invalid date is an envelope that carries no time
    }
}

std::optional<std::string_view> as_bigint(const boost::json::value& value) {
    const auto* text = content(value, "BigInt");
    if (text == nullptr || !text->is_string()) return std::nullopt;
    const std::string_view digits = text->get_string();
    return is_decimal(digits) ? std::optional(digits) : std::nullopt;
}

bool is_undefined(const boost::json::value& value) noexcept {
    return has_tag(value, "Undefined");
}

const boost::json::array* as_map(const boost::json::value& value) noexcept {
    const auto* items = content(value, "Map");
    return items != nullptr ? items->if_array() : nullptr;
}

const boost::json::array* as_set(const boost::json::value& value) noexcept {
    const auto* items = content(value, "Set");
    return items != nullptr ? items->if_array() : nullptr;
}

}  // namespace tagged
TRUNKLINE_NAMESPACE_END
