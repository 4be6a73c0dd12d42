#include "contract/handler_frame.hpp"

#include <trunkline/app.hpp>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN

namespace {
constexpr unsigned threads_default_max = 4;

unsigned default_threads() {
    return std::clamp(std::thread::hardware_concurrency(), 1U, threads_default_max);
}
}  // namespace

struct app::impl {
    app_options options;
    // Declared before the bus: what runs handlers must outlive it.
    std::unique_ptr<boost::asio::io_context> context;
    std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> work;
    std::vector<std::thread> threads;
    boost::asio::any_io_executor executor;
    std::shared_ptr<server_cache> cache;
    std::shared_ptr<trunkline::pubsub> bus;
    std::unique_ptr<noop_lease_provider> no_leases;

    explicit impl(app_options o) : options(std::move(o)), executor(options.executor()) {
        if (executor && options.threads())
            throw std::invalid_argument("app: threads and executor exclude each other");
        if (options.threads() == 0U) throw std::invalid_argument("app: threads is 0");
        const auto count = options.threads().value_or(default_threads());
        if (!executor) {
            context = std::make_unique<boost::asio::io_context>(static_cast<int>(count));
            work.emplace(context->get_executor());
            executor = context->get_executor();
        }
        cache = options.cache();
        if (cache == nullptr) {
            memory_cache_options keep;
            keep.clock(options.clock());
            cache = std::make_shared<memory_server_cache>(std::move(keep));
        }
        bus = options.bus();
        if (bus == nullptr) {
            bus_environment environment;
            environment.executor = executor;
            environment.logger = options.logger();
            environment.clock = options.clock();
            environment.cache = options.cache();
            bus = make_pubsub(
                options.url().empty() ? "memory:" : options.url(), std::move(environment)
            );
        }
        no_leases = std::make_unique<noop_lease_provider>(executor);
        if (context == nullptr) return;
        try {
            for (unsigned i = 0; i < count; ++i)
                threads.emplace_back([c = context.get()] { c->run(); });
        } catch (...) {  // the system has no more threads to give
            end_threads();
            throw;
        }
    }

    ~impl() {
        if (!threads.empty()) static_cast<void>(bus->close_blocking());
        bus.reset();
        end_threads();
    }
    void end_threads() {
        work.reset();
        for (auto& t : threads) t.join();
        threads.clear();
    }
    impl(const impl&) = delete;
    impl& operator=(const impl&) = delete;
};

app::app(app_options options) : impl_(std::make_unique<impl>(std::move(options))) {}

app::~app() = default;

pubsub& app::pubsub() noexcept {
    return *impl_->bus;
}

server_cache& app::cache() noexcept {
    return *impl_->cache;
}

lease_provider& app::leases() noexcept {
    auto* provider = impl_->bus->leases();
    return provider != nullptr ? *provider : *impl_->no_leases;
}

boost::asio::any_io_executor app::executor() noexcept {
    return impl_->executor;
}

const trunkline::logger& app::logger() const noexcept {
    return impl_->options.logger();
}

error_code app::stop_blocking(bool drain) {
    if (drain) {
        if (const auto ec = impl_->bus->flush_blocking()) return ec;
    }
    return impl_->bus->close_blocking();
}

TRUNKLINE_NAMESPACE_END
