#pragma once

#include <trunkline/config.hpp>

#include <exception>
#include <string>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN

/// What an exception says of itself.
inline std::string describe(std::exception_ptr failure) {
    try {
        std::rethrow_exception(std::move(failure));
    } catch (const std::exception& e) {
        return e.what();
    } catch (...) {
        return "an exception of another type";
    }
}

TRUNKLINE_NAMESPACE_END
