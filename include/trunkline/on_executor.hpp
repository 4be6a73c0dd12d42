#pragma once

#include <trunkline/handler.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>

#include <exception>
#include <memory>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN

namespace detail {

// Parameters die in reverse order: the call ends after the delivery is gone.
template <class F>
boost::asio::awaitable<void> run_delivery(
    std::shared_ptr<F> f, asynchronous_call call, delivery d
) {
    std::exception_ptr failure;
    try {
        co_await (*f)(d);
    } catch (...) {
        failure = std::current_exception();
    }
    if (failure == nullptr) co_return;
    const bool here = !d.moved_out();
    call.report_failure(here ? d.event() : event{}, failure);
    if (here && d.unsettled()) std::move(d).reject();
}

template <class F>
struct coroutine_handler : asynchronous_handler_tag {
    boost::asio::any_io_executor executor;
    std::shared_ptr<F> f;

    void operator()(delivery& d) {
        // The frame owns the delivery and has caught everything: nothing can arrive here.
        auto call = d.begin_call();
        auto work = run_delivery(f, std::move(call), std::move(d));
        boost::asio::co_spawn(executor, std::move(work), [](std::exception_ptr) {});
    }
};

}  // namespace detail

/// Makes a handler out of a coroutine function `awaitable<void>(delivery&)` that runs on
/// `executor`. Coroutines of one subscription start in order and run side by side, at most
/// `subscribe_options::in_flight` of them; one that ends with an exception rejects, one that
/// returns without settling leaves the event pending. Inside a batch each is awaited before the
/// next.
template <class F>
handler on_executor(boost::asio::any_io_executor executor, F f) {
    using callable = std::decay_t<F>;
    detail::coroutine_handler<callable> h;
    h.executor = std::move(executor);
    h.f = std::make_shared<callable>(std::move(f));
    return handler{std::move(h)};
}

TRUNKLINE_NAMESPACE_END
