#pragma once

#include <trunkline/clock.hpp>
#include <trunkline/config.hpp>
#include <trunkline/logger.hpp>
#include <trunkline/make_pubsub.hpp>
#include <trunkline/pubsub.hpp>
#include <trunkline/server_cache.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <memory>
#include <optional>
#include <string>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN

class app_options {
public:
    app_options() {}

    /// A bus made elsewhere, or its URL. Default: `event_emitter_pubsub`.
    app_options& pubsub(std::shared_ptr<trunkline::pubsub> bus) {
        bus_ = std::move(bus);
        url_.clear();
        return *this;
    }
    app_options& pubsub(std::string url) {
        url_ = std::move(url);
        bus_ = nullptr;
        return *this;
    }
    app_options& pubsub(const char* url) { return pubsub(std::string(url)); }
    const std::shared_ptr<trunkline::pubsub>& bus() const noexcept { return bus_; }
    const std::string& url() const noexcept { return url_; }

    /// For `app::cache()`, and for the history when the URL says `replay=1`. Default: one in memory
    /// each, the history's with the limits of the URL.
    app_options& cache(std::shared_ptr<server_cache> cache) {
        cache_ = std::move(cache);
        return *this;
    }
    const std::shared_ptr<server_cache>& cache() const noexcept { return cache_; }

    app_options& logger(trunkline::logger log) {
        logger_ = std::move(log);
        return *this;
    }
    const trunkline::logger& logger() const noexcept { return logger_; }

    app_options& clock(std::shared_ptr<trunkline::clock> time) {
        clock_ = std::move(time);
        return *this;
    }
    const std::shared_ptr<trunkline::clock>& clock() const noexcept { return clock_; }

    /// Bring your own; it must run until `stop` has completed. Excludes `threads`.
    app_options& executor(boost::asio::any_io_executor executor) {
        executor_ = std::move(executor);
        return *this;
    }
    const boost::asio::any_io_executor& executor() const noexcept { return executor_; }

    /// Threads of the application's own executor; at least 1. Default: cores, at most 4.
    app_options& threads(unsigned count) {
        threads_ = count;
        return *this;
    }
    std::optional<unsigned> threads() const noexcept { return threads_; }

private:
    std::shared_ptr<trunkline::pubsub> bus_;
    std::string url_;
    std::shared_ptr<server_cache> cache_;
    trunkline::logger logger_;
    std::shared_ptr<trunkline::clock> clock_;
    boost::asio::any_io_executor executor_;
    std::optional<unsigned> threads_;
};

/// The one object that an application creates: it owns the threads, the bus and the cache.
/// With its own threads, destruction closes the bus and joins them; with an executor of yours, call
/// `stop_blocking` first. Threading: any, except construction,
/// destruction and `stop_blocking`, which must not run inside a handler.
class TRUNKLINE_EXPORT app {
public:
    /// Throws std::invalid_argument for a bad URL or option.
    explicit app(app_options options = {});
    ~app();
    app(const app&) = delete;
    app& operator=(const app&) = delete;

    trunkline::pubsub& pubsub() noexcept;
    server_cache& cache() noexcept;
    /// The bus's leases, or the no-op provider where it has none.
    lease_provider& leases() noexcept;
    boost::asio::any_io_executor executor() noexcept;
    const trunkline::logger& logger() const noexcept;

    /// With `drain`, handles everything that was accepted first; then closes the bus. Idempotent.
    /// `would_deadlock` inside a handler.
    error_code stop_blocking(bool drain = true);

private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

TRUNKLINE_NAMESPACE_END
