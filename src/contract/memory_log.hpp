#pragma once

#include <trunkline/server_cache.hpp>

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

TRUNKLINE_NAMESPACE_BEGIN

class memory_log;

/// What a log asks of the cache that holds it; gone when the cache is.
class memory_log_owner {
public:
    /// Makes the log a key again; false when another log took its place meanwhile.
    virtual bool attach(const std::shared_ptr<memory_log>& log) = 0;
    virtual clock::time_point now() const noexcept = 0;
    /// Time at which something written now expires.
    virtual clock::time_point expiry(clock::time_point now) const noexcept = 0;
    /// Bytes came (or went, negative); true when the cache is now over its budget.
    virtual bool account(std::ptrdiff_t bytes) noexcept = 0;
    /// The cache is over its budget and this log has nothing left to give.
    virtual void relieve(const memory_log& except) = 0;
    /// Now and then, from a writer: removes what has expired.
    virtual void tidy() = 0;
    virtual std::size_t max_events() const noexcept = 0;

protected:
    memory_log_owner() = default;
    memory_log_owner(const memory_log_owner&) = default;
    memory_log_owner& operator=(const memory_log_owner&) = default;
    ~memory_log_owner() = default;
};

/// One topic's events in memory. Lock order: the cache's mutex before a log's.
///
///   shell     --first append-->    attached (a key of the cache)
///   attached  --expired, evicted-->  shell, next index kept
///   shell     --another log took the key-->  appends fail with `closed`; ask the cache again
class memory_log final : public event_log, public std::enable_shared_from_this<memory_log> {
public:
    memory_log(std::weak_ptr<memory_log_owner> owner, std::string key);
    ~memory_log() override;

    bool append(event_draft&& draft, append_completion& done, error_code& ec, event& stored)
        override;
    void confirm(const event& stored) noexcept override;
    void withdraw(const event& stored) noexcept override;
    void read(std::uint64_t from, std::size_t limit, read_completion done) override;
    void clear(completion done) override;

    const std::string& key() const noexcept { return key_; }
    clock::time_point expires_at() const noexcept {
        return clock::time_point{clock::duration{expires_at_.load(std::memory_order_relaxed)}};
    }
    std::size_t length(clock::time_point now) const;

    // By the cache, with its mutex held.
    void set_attached() noexcept;
    /// Drops the events, keeps the next index.
    void evict() noexcept;
    /// Drops the events and starts again at 0 as another generation.
    void restart() noexcept;

private:
    std::ptrdiff_t drop_events() noexcept;
    static std::ptrdiff_t cost(const event& e) noexcept;

    const std::weak_ptr<memory_log_owner> owner_;
    const std::string key_;
    std::atomic<clock::duration::rep> expires_at_{0};

    mutable std::mutex mutex_;
    bool attached_ = false;
    std::deque<event> events_;
    std::uint64_t next_ = 0;
    std::uint64_t confirmed_ = 0;  // readers see indices below this
    std::uint32_t generation_;
};

TRUNKLINE_NAMESPACE_END
