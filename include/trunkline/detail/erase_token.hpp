#pragma once

#include <trunkline/completion.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/system_executor.hpp>

#include <atomic>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace detail {

/// A handler that may end early because its cancellation slot said so; the operation itself goes
/// on.
template <class Handler, class... Args>
struct cancellable_handler {
    explicit cancellable_handler(Handler h) : handler(std::move(h)) {}
    Handler handler;
    std::atomic<bool> over{false};

    template <class Work>
    static void post(const std::shared_ptr<cancellable_handler>& self, Work& work, Args... args) {
        if (self->over.exchange(true)) return;
        boost::asio::post(work, [self, values = std::tuple<Args...>(std::move(args)...)]() mutable {
            boost::asio::get_associated_cancellation_slot(self->handler).clear();
            std::apply(std::move(self->handler), std::move(values));
        });
    }
};

/// Wraps an Asio handler as a plain callable that posts to the handler's own executor (`fallback`
/// when it has none) and keeps that executor busy until then. Posting, never calling inline, is
/// what makes loops over completed operations safe. Cancellation (terminal, partial) completes the
/// handler with operation_aborted; what was started is not undone.
template <class... Args, class Handler>
unique_function<void(Args...), 48> erase_handler(
    Handler handler, const boost::asio::any_io_executor& fallback
) {
    namespace asio = boost::asio;
    // Taken before the handler is moved: the order of arguments is unspecified.
    auto executor = asio::get_associated_executor(handler, fallback);
    auto work = asio::prefer(executor, asio::execution::outstanding_work.tracked);
    auto slot = asio::get_associated_cancellation_slot(handler);
    if (slot.is_connected()) {
        using shared = cancellable_handler<Handler, Args...>;
        auto state = std::make_shared<shared>(std::move(handler));
        slot.assign([weak = std::weak_ptr<shared>(state),
                     work](asio::cancellation_type type) mutable {
            constexpr auto honoured =
                asio::cancellation_type::terminal | asio::cancellation_type::partial;
            const auto self = weak.lock();
            if ((type & honoured) == asio::cancellation_type::none || self == nullptr) return;
            std::tuple<Args...> values;
            std::get<0>(values) = asio::error::operation_aborted;
            std::apply([&](auto&... v) { shared::post(self, work, std::move(v)...); }, values);
        });
        return
            [state, work](Args... args) mutable { shared::post(state, work, std::move(args)...); };
    }
    return [work = std::move(work), handler = std::move(handler)](Args... args) mutable {
        auto target = std::move(work);
        asio::post(
            target,
            [handler = std::move(handler), values = std::tuple<Args...>(std::move(args)...)](
            ) mutable { std::apply(std::move(handler), std::move(values)); }
        );
    };
}

/// Starts `start(completion)` under a completion token with signature void(error_code).
template <class Token, class Start>
auto initiate_erased(boost::asio::any_io_executor fallback, Token&& token, Start&& start) {
    if (!fallback) fallback = boost::asio::system_executor();
    return boost::asio::async_initiate<Token, void(error_code)>(
        [](auto handler, boost::asio::any_io_executor executor, auto begin) {
            begin(erase_handler<error_code>(std::move(handler), executor));
        },
        token,
        std::move(fallback),
        std::forward<Start>(start)
    );
}

/// The same with a result: void(error_code, Value). `start` takes a unique_function of that shape.
template <class Value, class Token, class Start>
auto initiate_erased_value(boost::asio::any_io_executor fallback, Token&& token, Start&& start) {
    if (!fallback) fallback = boost::asio::system_executor();
    return boost::asio::async_initiate<Token, void(error_code, Value)>(
        [](auto handler, boost::asio::any_io_executor executor, auto begin) {
            begin(erase_handler<error_code, Value>(std::move(handler), executor));
        },
        token,
        std::move(fallback),
        std::forward<Start>(start)
    );
}

}  // namespace detail
TRUNKLINE_NAMESPACE_END
