#pragma once

#include "base/io_loop.hpp"
#include "base/own_thread.hpp"

#include <trunkline/clock.hpp>
#include <trunkline/logger.hpp>
#include <trunkline/options.hpp>
#include <trunkline/traits.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN

class subscriber;

/// What the parts of one bus share; it lives as long as any of them, the bus itself included.
class TRUNKLINE_EXPORT bus_context {
public:
    /// `executor` empty: a thread of its own, started at first need. `time` null: the system's.
    bus_context(
        std::string_view component,
        boost::asio::any_io_executor executor,
        std::shared_ptr<clock> time,
        trunkline::logger log,
        std::function<event_id()> id_source
    );

    /// Lets handlers run on a loop that reads sockets as well, instead of a thread of their own.
    void run_on(std::shared_ptr<base::io_loop> loop);
    boost::asio::any_io_executor executor();
    /// Is somebody likely to add to a queue while its drain task looks at it? Not where the task
    /// keeps the sockets waiting.
    bool worth_another_look() const noexcept { return loop_ == nullptr; }
    trunkline::clock& time() const noexcept { return *time_; }
    /// Gives a draft what it lacks: a fresh id and the time, unless it was stamped before or brings
    /// its own and `options` say to keep them.
    void stamp(event_draft& draft, const publish_options& options) const;
    /// Ends own threads, if there are any; running handlers are waited for unless this is in one.
    void shut_down() noexcept;

    void log(log_level level, std::string_view text, std::initializer_list<log_field> fields = {})
        const {
        log_.log(level, component_, text, fields);
    }
    void log(log_level level, std::string_view text, std::span<const log_field> fields) const {
        log_.log_fields(level, component_, text, fields);
    }
    bool logs(log_level level) const noexcept { return log_.enabled(level); }

    /// What `pubsub::on_refused` and `on_unsupported_offset` do on every backend.
    void note_refused(std::string_view topic, std::string_view problem) noexcept;
    void note_unsupported_offset(std::string_view topic, std::uint64_t offset) noexcept;

    void add(subscriber& s);
    void remove(subscriber& s) noexcept;
    /// Every subscriber that is still alive.
    std::vector<std::shared_ptr<subscriber>> subscribers() const;
    /// Adds up the rare counters here and the per-subscriber ones.
    bus_counters counters() const;

    std::atomic<unsigned long long> refused{0};
    std::atomic<unsigned long long> handler_failures{0};
    std::atomic<unsigned long long> redelivered{0};
    std::atomic<unsigned long long> exhausted{0};
    std::atomic<unsigned long long> dropped{0};

private:
    std::string_view component_;
    std::unique_ptr<base::own_thread> thread_;
    std::shared_ptr<base::io_loop> loop_;
    boost::asio::any_io_executor executor_;
    std::shared_ptr<trunkline::clock> time_;
    bool system_time_;
    trunkline::logger log_;
    std::function<event_id()> id_source_;
    mutable std::mutex mutex_;
    std::vector<subscriber*> subscribers_;
    unsigned long long delivered_before_ = 0;  // by subscribers that are gone
};

/// Runs `f` when the last copy of the returned pointer goes.
TRUNKLINE_EXPORT std::shared_ptr<void> when_released(detail::unique_function<void(), 64> f);

TRUNKLINE_NAMESPACE_END
