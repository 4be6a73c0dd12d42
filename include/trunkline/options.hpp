#pragma once

#include <trunkline/config.hpp>
#include <trunkline/event.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN

/// How one publish travels. All default to off.
class publish_options {
public:
    publish_options() noexcept {}

    /// Stay in this process: no serialisation, no broker, no cache, no index.
    publish_options& local_only(bool on = true) noexcept {
        local_only_ = on;
        return *this;
    }
    bool local_only() const noexcept { return local_only_; }

    /// Keep the id and time that the draft brings; what it lacks is still assigned.
    publish_options& keep_identity(bool on = true) noexcept {
        keep_identity_ = on;
        return *this;
    }
    bool keep_identity() const noexcept { return keep_identity_; }

    /// Complete only when every Trunkline member that the event went to has it, and send it again,
    /// under the same id, when the broker is replaced before that. Where publishing already means
    /// as much (in process, or where a server stores the event) it changes nothing.
    publish_options& confirmed(bool on = true) noexcept {
        confirmed_ = on;
        return *this;
    }
    bool confirmed() const noexcept { return confirmed_; }

private:
    bool local_only_ = false;
    bool keep_identity_ = false;
    bool confirmed_ = false;
};

/// Where a new durable group begins. Ignored where the backend keeps no backlog.
enum class start_position { earliest, latest };

/// What happens when a subscription's queue is full (see `subscribe_options::queue_limit`).
enum class queue_policy {
    /// `async_publish` is accepted and completes once there is room; `publish` answers `queue_full`
    /// and nobody gets the event. Default.
    wait,
    /// Both answer `queue_full`, nobody gets the event.
    fail,
    /// The oldest waiting event of this subscription is acknowledged and dropped.
    drop_oldest,
    /// The new event is acknowledged and dropped for this subscription.
    drop_newest,
};

/// Which events of a full batch buffer go first. Immediate events never do.
enum class batch_overflow { coalesce_or_drop_oldest, drop_oldest, drop_newest };

/// Groups calls of one subscription in time: N events are still N calls, in publish order.
/// Where the backend does not batch natively, it is ignored. Batched calls run on the executor.
class batch_options {
public:
    using milliseconds = std::chrono::milliseconds;
    using predicate = std::function<bool(const event&)>;
    using coalescer = std::function<std::vector<event>(std::vector<event>)>;

    batch_options() {}

    /// Flush once this many events wait; at least 1. Default: none.
    batch_options& max_size(std::size_t events) {
        max_size_ = events;
        return *this;
    }
    std::optional<std::size_t> max_size() const noexcept { return max_size_; }

    /// Flush this long after the first event that waits; later ones never move it. Default: none.
    batch_options& max_wait(milliseconds time) {
        max_wait_ = time;
        return *this;
    }
    std::optional<milliseconds> max_wait() const noexcept { return max_wait_; }

    /// Least time from the end of one flush to the next. Default: 0.
    batch_options& min_interval(milliseconds time) {
        min_interval_ = time;
        return *this;
    }
    milliseconds min_interval() const noexcept { return min_interval_; }

    /// Events for which this holds ask for a flush at once and survive overflow.
    batch_options& is_immediate(predicate f) {
        is_immediate_ = std::move(f);
        return *this;
    }
    const predicate& is_immediate() const noexcept { return is_immediate_; }

    /// Runs once per flush; must answer with some of the given events in their order. Anything
    /// else drops the whole batch (acknowledged); an exception loses it (not acknowledged).
    batch_options& coalesce(coalescer f) {
        coalesce_ = std::move(f);
        return *this;
    }
    const coalescer& coalesce() const noexcept { return coalesce_; }

    /// Events that may wait; reaching it flushes regardless of the interval. At least 1.
    batch_options& max_buffer_size(std::size_t events) {
        max_buffer_size_ = events;
        return *this;
    }
    std::size_t max_buffer_size() const noexcept { return max_buffer_size_; }

    batch_options& overflow(batch_overflow policy) {
        overflow_ = policy;
        return *this;
    }
    batch_overflow overflow() const noexcept { return overflow_; }

private:
    std::optional<std::size_t> max_size_;
    std::optional<milliseconds> max_wait_;
    milliseconds min_interval_{0};
    predicate is_immediate_;
    coalescer coalesce_;
    std::size_t max_buffer_size_ = 256;
    batch_overflow overflow_ = batch_overflow::coalesce_or_drop_oldest;
};

/// Events that retention removed: the first that was asked for, and the oldest still there.
struct offset_gap {
    std::uint64_t first_missing = 0;
    std::uint64_t oldest = 0;
};

/// How a subscription receives. Wrong values make `subscribe` throw std::invalid_argument.
class subscribe_options {
public:
    using gap_handler = std::function<void(const offset_gap&)>;

    subscribe_options() {}

    /// Share the topic's events with every other subscription of this group: each event goes to
    /// one of them. Non-empty UTF-8. Default: none, every event arrives.
    subscribe_options& group(std::string name) {
        group_ = std::move(name);
        return *this;
    }
    const std::optional<std::string>& group() const noexcept { return group_; }

    /// Never defaulted to a value: unset means the backend's own default.
    subscribe_options& start_from(start_position where) {
        start_from_ = where;
        return *this;
    }
    std::optional<start_position> start_from() const noexcept { return start_from_; }

    subscribe_options& batch(batch_options how) {
        batch_ = std::move(how);
        return *this;
    }
    subscribe_options& no_batch() noexcept {
        batch_.reset();
        return *this;
    }
    const std::optional<batch_options>& batch() const noexcept { return batch_; }

    /// Deliveries that may be unsettled outside the handler call at once; at least 1.
    subscribe_options& in_flight(std::uint32_t deliveries) {
        in_flight_ = deliveries;
        return *this;
    }
    std::uint32_t in_flight() const noexcept { return in_flight_; }

    /// Events that may wait for the handler; at least 1.
    subscribe_options& queue_limit(std::size_t events) {
        queue_limit_ = events;
        return *this;
    }
    std::size_t queue_limit() const noexcept { return queue_limit_; }

    /// Bytes of events that may wait; at least 1. One event larger than this still passes alone.
    subscribe_options& queue_bytes(std::size_t bytes) {
        queue_bytes_ = bytes;
        return *this;
    }
    std::size_t queue_bytes() const noexcept { return queue_bytes_; }

    subscribe_options& on_full(queue_policy policy) {
        on_full_ = policy;
        return *this;
    }
    queue_policy on_full() const noexcept { return on_full_; }

    /// Whether a handler that fails without settling refuses the event like a nack. Default: the
    /// backend's own rule (in process: in a group, yes; on the Unix socket: no, as its other
    /// members do).
    subscribe_options& rejection_is_nack(bool on) noexcept {
        rejection_is_nack_ = on;
        return *this;
    }
    std::optional<bool> rejection_is_nack() const noexcept { return rejection_is_nack_; }

    /// For replay: called once when the asked offset is older than retention; delivery then starts
    /// at the oldest. Without it `ready()` completes with `offset_gone` and nothing arrives.
    subscribe_options& on_gap(gap_handler f) {
        on_gap_ = std::move(f);
        return *this;
    }
    const gap_handler& on_gap() const noexcept { return on_gap_; }

private:
    std::optional<std::string> group_;
    std::optional<start_position> start_from_;
    std::optional<batch_options> batch_;
    std::uint32_t in_flight_ = 1024;
    std::size_t queue_limit_ = 2048;
    std::size_t queue_bytes_ = std::size_t{64} << 20;
    queue_policy on_full_ = queue_policy::wait;
    std::optional<bool> rejection_is_nack_;
    gap_handler on_gap_;
};

TRUNKLINE_NAMESPACE_END
