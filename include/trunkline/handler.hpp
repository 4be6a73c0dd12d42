#pragma once

#include <trunkline/delivery.hpp>
#include <trunkline/detail/unique_function.hpp>

#include <concepts>
#include <type_traits>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN

namespace detail {
/// Marks callables that start work which outlives the call (coroutines).
struct asynchronous_handler_tag {};

template <class F>
concept takes_event = std::invocable<F&, const trunkline::event&>;
template <class F>
concept takes_delivery_reference = std::invocable<F&, delivery&>;
template <class F>
concept takes_delivery_value = std::invocable<F&, delivery>;
/// `const delivery&` accepts a const lvalue, `delivery&` and `delivery` do not.
template <class F>
concept takes_const_delivery = std::invocable<F&, const delivery&>;
}  // namespace detail

/// A subscriber's callable, in one of three forms:
/// - `void(const event&)`: returning is ack, throwing is nack.
/// - `void(delivery&)`: the bus owns the delivery unless it is moved out; settle it here, or move
///   it out and settle it later; throwing while it is still here and unsettled is nack.
/// - `void(delivery)`: the handler owns it; destroyed by an exception it is nack.
/// Coroutines go through `on_executor`. Each is called by one thread at a time. A delivery that is
/// kept in the handler's own captures keeps handler and subscription alive until it is settled or
/// the subscription has ended.
class handler {
public:
    template <class F>
        requires(!std::is_same_v<std::decay_t<F>, handler>)
    handler(F&& f)  // NOLINT(google-explicit-constructor)
        : asynchronous_(std::is_base_of_v<detail::asynchronous_handler_tag, std::decay_t<F>>) {
        using callable = std::decay_t<F>;
        static_assert(
            detail::takes_event<callable> || detail::takes_delivery_reference<callable> ||
                detail::takes_delivery_value<callable>,
            "trunkline: a handler takes const event&, delivery& or delivery"
        );
        static_assert(
            !detail::takes_const_delivery<callable> || detail::takes_event<callable>,
            "trunkline: a handler taking const delivery& could never settle it; take delivery&"
        );
        if constexpr (detail::takes_event<callable>) {
            require_void<std::invoke_result_t<callable&, const trunkline::event&>>();
            call_ = [f = std::forward<F>(f)](delivery& d) mutable {
                f(d.event());
                std::move(d).ack();
            };
        } else if constexpr (detail::takes_delivery_reference<callable>) {
            require_void<std::invoke_result_t<callable&, delivery&>>();
            call_ = std::forward<F>(f);
        } else if constexpr (detail::takes_delivery_value<callable>) {
            require_void<std::invoke_result_t<callable&, delivery>>();
            call_ = [f = std::forward<F>(f)](delivery& d) mutable { f(std::move(d)); };
        }
    }

    void operator()(delivery& d) { call_(d); }
    bool asynchronous() const noexcept { return asynchronous_; }

private:
    template <class Result>
    static constexpr void require_void() {
        static_assert(
            std::is_void_v<Result>,
            "trunkline: a handler returns void; wrap coroutines with on_executor(executor, f)"
        );
    }

    detail::unique_function<void(delivery&), 48> call_;
    bool asynchronous_ = false;
};

TRUNKLINE_NAMESPACE_END
