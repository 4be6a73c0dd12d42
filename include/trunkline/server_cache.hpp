#pragma once

#include <trunkline/clock.hpp>
#include <trunkline/completion.hpp>
#include <trunkline/config.hpp>
#include <trunkline/event.hpp>

#include <boost/json/fwd.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN

/// One topic's retained events: index = position, gap-free, oldest removed first.
class TRUNKLINE_EXPORT event_log {
public:
    struct page {
        std::vector<event> events;
        std::uint64_t first = 0;       ///< oldest retained index (equals `next` when empty)
        std::uint64_t next = 0;        ///< index of the next append
        std::uint32_t generation = 0;  ///< this life of the log; changes when it is cleared
    };
    using append_completion = detail::unique_function<void(error_code, event), 48>;
    using read_completion = detail::unique_function<void(error_code, page), 48>;

    virtual ~event_log() = default;
    /// Allocates the next index, writes it into the stamped draft and keeps the event; readers of
    /// this process see it after `confirm`. True: finished at once, `ec` and `stored` are set and
    /// `done` is untouched. False: `done` was taken and is called once. Either way the result is
    /// the event to publish; after a failure it has no index, and none was used up. One append of a
    /// log at a time, confirmed or withdrawn before the next.
    virtual bool append(
        event_draft&& draft, append_completion& done, error_code& ec, event& stored
    ) = 0;
    /// The stored event was published.
    virtual void confirm(const event& stored) noexcept = 0;
    /// The stored event was refused by the bus: it is taken out again where that is possible.
    virtual void withdraw(const event& stored) noexcept = 0;
    /// Reads up to `limit` events (0: all) from the index `from` on, or from the oldest one if
    /// `from` is older: compare `first`. `done` may run before this returns.
    virtual void read(std::uint64_t from, std::size_t limit, read_completion done) = 0;
    /// Forgets all events and starts again at 0 with another generation.
    virtual void clear(completion done) = 0;
};

/// Where replay history and small shared values live. Values are JSON; lists of events have verbs
/// of their own (`event_log`). Callbacks may run before the call returns. Threading: any.
///
/// Type errors (a list operation on a value, `increment` on a non-number) complete with
/// `invalid_argument`.
class TRUNKLINE_EXPORT server_cache {
public:
    using milliseconds = std::chrono::milliseconds;
    template <class Value>
    using answer = detail::unique_function<void(error_code, Value), 48>;

    virtual ~server_cache() = default;

    /// Nothing for a missing or expired key.
    virtual void get(std::string_view key, answer<std::optional<boost::json::value>> done) = 0;
    /// `ttl`: unset means the cache's default, zero or less means never.
    virtual void set(
        std::string_view key,
        boost::json::value value,
        std::optional<milliseconds> ttl,
        completion done
    ) = 0;
    /// 0 for a missing key.
    virtual void list_length(std::string_view key, answer<std::size_t> done) = 0;
    virtual void list_push(std::string_view key, boost::json::value value, completion done) = 0;
    /// Positions `from` to `to`, both inclusive, negative ones counted from the end; empty for a
    /// missing or non-list key.
    virtual void list_range(
        std::string_view key,
        std::int64_t from,
        std::int64_t to,
        answer<std::vector<boost::json::value>> done
    ) = 0;
    virtual void erase(std::string_view key, completion done) = 0;
    virtual void clear(completion done) = 0;
    /// The new value; the first call gives 1.
    virtual void increment(std::string_view key, answer<std::int64_t> done) = 0;
    /// Allocates the next 0-based index from `counter_key` and appends `object` with it as field
    /// `index`, in one step.
    virtual void list_push_indexed(
        std::string_view list_key,
        std::string_view counter_key,
        boost::json::object object,
        answer<std::uint64_t> done
    ) = 0;

    /// The event log under `list_key` (its next index under `counter_key`), null when the key holds
    /// something else. It becomes a key with its first event. Keep it as long as you like: after an
    /// eviction it goes on counting.
    virtual std::shared_ptr<event_log> log(
        std::string_view list_key, std::string_view counter_key
    ) = 0;

    /// True when other processes see the same content.
    virtual bool shared() const noexcept = 0;
};

class memory_cache_options {
public:
    memory_cache_options() {}

    /// Keys; at least 1. Over it, the keys nearest to expiry go first. Default 1,000.
    memory_cache_options& max_size(std::size_t keys) {
        max_size_ = keys;
        return *this;
    }
    std::size_t max_size() const noexcept { return max_size_; }

    /// Life of a key after its last write; zero or less: for ever. Default 300,000 ms.
    memory_cache_options& ttl(std::chrono::milliseconds time) {
        ttl_ = time;
        return *this;
    }
    std::chrono::milliseconds ttl() const noexcept { return ttl_; }

    /// Events kept per log; at least 1. Default 100,000. The oldest goes first.
    memory_cache_options& max_events(std::size_t events) {
        max_events_ = events;
        return *this;
    }
    std::size_t max_events() const noexcept { return max_events_; }

    /// Bytes of events and values kept in all; 0: no limit. Default 256 MiB. Over it, the oldest
    /// events of the log being written go, then the keys nearest to expiry.
    memory_cache_options& max_bytes(std::size_t bytes) {
        max_bytes_ = bytes;
        return *this;
    }
    std::size_t max_bytes() const noexcept { return max_bytes_; }

    memory_cache_options& clock(std::shared_ptr<trunkline::clock> time) {
        clock_ = std::move(time);
        return *this;
    }
    const std::shared_ptr<trunkline::clock>& clock() const noexcept { return clock_; }

private:
    std::size_t max_size_ = 1000;
    std::chrono::milliseconds ttl_{300'000};
    std::size_t max_events_ = 100'000;
    std::size_t max_bytes_ = std::size_t{256} << 20;
    std::shared_ptr<trunkline::clock> clock_;
};

/// The cache of one process. Every write re-arms its key's time to live, reads do not. When a log
/// expires or is evicted its next index is kept (for 65,536 topics, oldest forgotten first), so old
/// offsets answer `offset_gone` instead of showing wrong events; only `clear` restarts at 0.
class TRUNKLINE_EXPORT memory_server_cache final : public server_cache {
public:
    /// Throws std::invalid_argument for an option out of range.
    explicit memory_server_cache(memory_cache_options options = {});
    ~memory_server_cache() override;

    void get(std::string_view key, answer<std::optional<boost::json::value>> done) override;
    void set(
        std::string_view key,
        boost::json::value value,
        std::optional<milliseconds> ttl,
        completion done
    ) override;
    void list_length(std::string_view key, answer<std::size_t> done) override;
    void list_push(std::string_view key, boost::json::value value, completion done) override;
    void list_range(
        std::string_view key,
        std::int64_t from,
        std::int64_t to,
        answer<std::vector<boost::json::value>> done
    ) override;
    void erase(std::string_view key, completion done) override;
    void clear(completion done) override;
    void increment(std::string_view key, answer<std::int64_t> done) override;
    void list_push_indexed(
        std::string_view list_key,
        std::string_view counter_key,
        boost::json::object object,
        answer<std::uint64_t> done
    ) override;
    std::shared_ptr<event_log> log(std::string_view list_key, std::string_view counter_key)
        override;
    bool shared() const noexcept override { return false; }

    /// Removes what has expired; also done now and then by writes. Returns the keys removed.
    std::size_t sweep();
    /// Keys now held, expired ones not yet swept included.
    std::size_t size() const;
    /// Bytes now held.
    std::size_t size_bytes() const;

private:
    class impl;
    std::shared_ptr<impl> impl_;
};

TRUNKLINE_NAMESPACE_END
