#pragma once

#include <trunkline/completion.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/system_executor.hpp>

#include <tuple>
#include <type_traits>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace detail {

/// Wraps an Asio handler as a plain callable that posts to the handler's own executor (`fallback`
/// when it has none) and keeps that executor busy until then. Posting, never calling inline, is
/// what makes loops over completed operations safe.
template <class Handler, class... Args>
auto erase_handler(Handler&& handler, const boost::asio::any_io_executor& fallback) {
    namespace asio = boost::asio;
    // Taken before the handler is moved: the order of arguments is unspecified.
    auto executor = asio::get_associated_executor(handler, fallback);
    auto work = asio::prefer(executor, asio::execution::outstanding_work.tracked);
    return
        [work = std::move(work), handler = std::forward<Handler>(handler)](Args... args) mutable {
            auto target = std::move(work);
            asio::post(
                target,
                [handler = std::move(handler),
                 values = std::tuple<std::decay_t<Args>...>(std::move(args)...)]() mutable {
                    std::apply(std::move(handler), std::move(values));
                }
            );
        };
}

/// Starts `start(completion)` under a completion token with signature void(error_code).
template <class Token, class Start>
auto initiate_erased(boost::asio::any_io_executor fallback, Token&& token, Start&& start) {
    if (!fallback) fallback = boost::asio::system_executor();
    return boost::asio::async_initiate<Token, void(error_code)>(
        [](auto handler, boost::asio::any_io_executor executor, auto begin) {
            begin(completion{
                erase_handler<decltype(handler), error_code>(std::move(handler), executor)
            });
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
            begin(unique_function<void(error_code, Value), 48>{
                erase_handler<decltype(handler), error_code, Value>(std::move(handler), executor)
            });
        },
        token,
        std::move(fallback),
        std::forward<Start>(start)
    );
}

}  // namespace detail
TRUNKLINE_NAMESPACE_END
