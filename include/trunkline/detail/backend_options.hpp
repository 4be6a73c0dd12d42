#pragma once

#include <trunkline/clock.hpp>
#include <trunkline/config.hpp>
#include <trunkline/event_id.hpp>
#include <trunkline/logger.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <functional>
#include <memory>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace detail {

/// What every backend's options have in common; `Self` is the class that derives from it.
template <class Self>
class backend_options {
public:
    /// Where handlers and completions run; must run until `async_close` has completed. Default: a
    /// thread of the bus's own, started at first need.
    Self& executor(boost::asio::any_io_executor executor) {
        executor_ = std::move(executor);
        return self();
    }
    const boost::asio::any_io_executor& executor() const noexcept { return executor_; }

    Self& logger(trunkline::logger log) {
        logger_ = std::move(log);
        return self();
    }
    const trunkline::logger& logger() const noexcept { return logger_; }

    /// Default: the system's clocks.
    Self& clock(std::shared_ptr<trunkline::clock> time) {
        clock_ = std::move(time);
        return self();
    }
    const std::shared_ptr<trunkline::clock>& clock() const noexcept { return clock_; }

    /// Default: `event_id::random`.
    Self& id_source(std::function<event_id()> source) {
        id_source_ = std::move(source);
        return self();
    }
    const std::function<event_id()>& id_source() const noexcept { return id_source_; }

private:
    friend Self;
    backend_options() = default;
    Self& self() noexcept { return static_cast<Self&>(*this); }

    boost::asio::any_io_executor executor_;
    trunkline::logger logger_;
    std::shared_ptr<trunkline::clock> clock_;
    std::function<event_id()> id_source_;
};

}  // namespace detail
TRUNKLINE_NAMESPACE_END
