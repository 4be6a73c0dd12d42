#pragma once

#include <trunkline/config.hpp>
#include <trunkline/logger.hpp>
#include <trunkline/pubsub.hpp>
#include <trunkline/server_cache.hpp>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

TRUNKLINE_NAMESPACE_BEGIN

namespace caching {
class core;
}

class caching_options {
public:
    caching_options() {}

    /// In front of every cache key. Default "pubsub:".
    caching_options& key_prefix(std::string prefix) {
        key_prefix_ = std::move(prefix);
        return *this;
    }
    const std::string& key_prefix() const noexcept { return key_prefix_; }

    /// Which topics keep history. Default: all.
    caching_options& should_cache(std::function<bool(std::string_view topic)> f) {
        should_cache_ = std::move(f);
        return *this;
    }
    const std::function<bool(std::string_view)>& should_cache() const noexcept {
        return should_cache_;
    }

    /// How long a live event waits for a predecessor that is known to exist but has not arrived
    /// and is not in the cache. Default 1 s.
    caching_options& gap_timeout(std::chrono::milliseconds time) {
        gap_timeout_ = time;
        return *this;
    }
    std::chrono::milliseconds gap_timeout() const noexcept { return gap_timeout_; }

    /// Of cached events, which are stamped before they reach the inner bus. Default:
    /// `event_id::random`.
    caching_options& id_source(std::function<event_id()> source) {
        id_source_ = std::move(source);
        return *this;
    }
    const std::function<event_id()>& id_source() const noexcept { return id_source_; }

    caching_options& logger(trunkline::logger log) {
        logger_ = std::move(log);
        return *this;
    }
    const trunkline::logger& logger() const noexcept { return logger_; }

    caching_options& clock(std::shared_ptr<trunkline::clock> time) {
        clock_ = std::move(time);
        return *this;
    }
    const std::shared_ptr<trunkline::clock>& clock() const noexcept { return clock_; }

private:
    std::string key_prefix_ = "pubsub:";
    std::function<bool(std::string_view)> should_cache_;
    std::chrono::milliseconds gap_timeout_{1000};
    std::function<event_id()> id_source_;
    trunkline::logger logger_;
    std::shared_ptr<trunkline::clock> clock_;
};

/// Adds history and replay to any bus: every published event gets the next index of its topic, is
/// kept in the cache and then published on the inner bus. A late or reconnecting subscriber reads
/// what it missed and goes on live, without gap or duplicate, also with concurrent publishers and
/// across `clear_topic`. A cache failure never stops live delivery: the event then has no index.
///
/// Leases, batching, modes, executor and close are the inner bus's. Plain `subscribe` never
/// replays. Events with `local_only`, and topics for which `should_cache` is false, pass through
/// without index. Handlers of a replay run on the executor until they have caught up.
/// Threading: any.
class TRUNKLINE_EXPORT caching_pubsub final : public pubsub {
public:
    /// Neither may be null (std::invalid_argument).
    caching_pubsub(
        std::shared_ptr<pubsub> inner,
        std::shared_ptr<server_cache> cache,
        caching_options options = {}
    );
    ~caching_pubsub() override;

    const std::shared_ptr<pubsub>& inner() const noexcept;

    backend_traits traits() const override;
    lease_provider* leases() override;
    boost::asio::any_io_executor executor() override;
    bus_counters counters() const override;

protected:
    bool do_publish(
        std::string_view topic,
        event_draft&& draft,
        const publish_options& options,
        completion& done,
        error_code& ec
    ) override;
    subscription do_subscribe(std::string_view topic, handler h, const subscribe_options& options)
        override;
    subscription do_subscribe_from(
        std::string_view topic, std::uint64_t offset, handler h, const subscribe_options& options
    ) override;
    void do_history(
        std::string_view topic, std::uint64_t offset, std::size_t limit, history_completion done
    ) override;
    void do_flush(completion done) override;
    void do_close(completion done) override;
    void do_clear_topic(std::string_view topic, completion done) override;
    void do_trim_topic(std::string_view topic, const trim_options& options, completion done)
        override;
    void on_refused(std::string_view topic, std::string_view problem) noexcept override;

private:
    std::shared_ptr<caching::core> core_;
};

TRUNKLINE_NAMESPACE_END
