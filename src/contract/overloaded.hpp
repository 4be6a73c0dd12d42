#pragma once

#include <trunkline/config.hpp>

TRUNKLINE_NAMESPACE_BEGIN

/// One visitor out of several lambdas.
template <class... F>
struct overloaded : F... {
    using F::operator()...;
};

TRUNKLINE_NAMESPACE_END
