#pragma once

#include <trunkline/config.hpp>

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

TRUNKLINE_NAMESPACE_BEGIN
namespace base {

struct string_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
        return std::hash<std::string_view>{}(text);
    }
};

/// A hash map from owned strings that is asked with views.
template <class Value>
using string_map = std::unordered_map<std::string, Value, string_hash, std::equal_to<>>;

}  // namespace base
TRUNKLINE_NAMESPACE_END
