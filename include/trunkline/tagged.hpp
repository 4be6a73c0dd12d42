#pragma once

#include <trunkline/config.hpp>
#include <trunkline/wall_time.hpp>

#include <boost/json/value.hpp>

#include <optional>
#include <string>
#include <string_view>

TRUNKLINE_NAMESPACE_BEGIN

/// JavaScript values that JSON has no word for travel as small envelope objects whose tag key is
/// `__m_codec__`. These functions make and read the common ones; any envelope passes through a
/// payload untouched. The key is reserved: user data must not contain it for other purposes.
namespace tagged {

/// `{"__m_codec__":"Date","v":"2023-11-14T22:13:20.123Z"}`
TRUNKLINE_EXPORT boost::json::value date(wall_time time);
/// `{"__m_codec__":"BigInt","v":"12345678901234567890"}`; the text is decimal with an optional
/// minus, std::invalid_argument otherwise.
TRUNKLINE_EXPORT boost::json::value bigint(std::string_view decimal);
/// `{"__m_codec__":"Undefined"}`
TRUNKLINE_EXPORT boost::json::value undefined();
/// `{"__m_codec__":"Map","v":[[key,value],…]}`
TRUNKLINE_EXPORT boost::json::value map(boost::json::array pairs);
/// `{"__m_codec__":"Set","v":[…]}`
TRUNKLINE_EXPORT boost::json::value set(boost::json::array items);

/// Each is empty (or false) when the value is no well-formed envelope of that kind.
TRUNKLINE_EXPORT std::optional<wall_time> as_date(const boost::json::value& value);
TRUNKLINE_EXPORT std::optional<std::string_view> as_bigint(const boost::json::value& value);
TRUNKLINE_EXPORT bool is_undefined(const boost::json::value& value) noexcept;
TRUNKLINE_EXPORT const boost::json::array* as_map(const boost::json::value& value) noexcept;
TRUNKLINE_EXPORT const boost::json::array* as_set(const boost::json::value& value) noexcept;

}  // namespace tagged
TRUNKLINE_NAMESPACE_END
