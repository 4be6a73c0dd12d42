#pragma once

#include <trunkline/config.hpp>

#include <boost/json/fwd.hpp>

#include <string>
#include <string_view>

TRUNKLINE_NAMESPACE_BEGIN

/// Appends a value as JSON.stringify prints it: 1, 1e+21, 1e-7, -0 as 0, NaN and infinities as
/// null, integers beyond ±(2^53−1) as BigInt envelopes, U+2028 and U+2029 raw, lone surrogates as
/// escapes, other invalid UTF-8 as U+FFFD.
TRUNKLINE_EXPORT void append_json(std::string& out, const boost::json::value& value);
/// Appends one number as JavaScript prints it.
TRUNKLINE_EXPORT void append_json(std::string& out, double number);
/// Appends one string, quoted and escaped.
TRUNKLINE_EXPORT void append_json_string(std::string& out, std::string_view text);

TRUNKLINE_NAMESPACE_END
