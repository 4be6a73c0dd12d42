#pragma once

#include <trunkline/config.hpp>

TRUNKLINE_NAMESPACE_BEGIN

/// Marks, for as long as it lives, that this thread runs a handler of `owner`. Frames form a chain
/// per thread, so that a subscription can tell its own stack from another thread's, and a blocking
/// call can refuse to block inside any handler.
class TRUNKLINE_EXPORT handler_frame {
public:
    explicit handler_frame(const void* owner) noexcept : owner_(owner), outer_(top) { top = this; }
    ~handler_frame() { top = outer_; }
    handler_frame(const handler_frame&) = delete;
    handler_frame& operator=(const handler_frame&) = delete;

    static bool any() noexcept { return top != nullptr; }
    static bool contains(const void* owner) noexcept {
        for (const auto* f = top; f != nullptr; f = f->outer_) {
            if (f->owner_ == owner) return true;
        }
        return false;
    }
    /// Owner of the innermost frame, or null.
    static const void* innermost() noexcept { return top != nullptr ? top->owner_ : nullptr; }

private:
    static thread_local constinit inline handler_frame* top = nullptr;

    const void* owner_;
    handler_frame* outer_;
};

TRUNKLINE_NAMESPACE_END
