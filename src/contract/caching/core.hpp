#pragma once

#include "base/string_map.hpp"
#include "contract/bus_context.hpp"

#include <trunkline/caching_pubsub.hpp>
#include <trunkline/detail/event_access.hpp>

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace caching {

class replay;

struct publish_operation {
    event_draft draft;
    publish_options options;
    completion done;
};
struct clear_operation {
    completion done;
};
struct mark_operation {
    std::shared_ptr<void> barrier;
};
using operation = std::variant<publish_operation, clear_operation, mark_operation>;

struct shard;

/// A topic with its turn: append and inner publish happen as one step, in one order, so live order
/// is index order. An append that completes later keeps the turn until then.
struct record {
    record(std::string_view n, shard& s) : name(n), home(s) {}

    const std::string name;
    shard& home;

    // With the shard's mutex held.
    bool busy = false;
    std::vector<operation> pending;

    // Of the turn's holder.
    std::shared_ptr<event_log> log;
    std::vector<operation> running;
    std::size_t running_at = 0;
};

struct shard {
    std::mutex mutex;
    base::string_map<std::shared_ptr<record>> records;
};

class core : public std::enable_shared_from_this<core> {
public:
    core(
        std::shared_ptr<pubsub> inner, std::shared_ptr<server_cache> cache, caching_options options
    );

    bool publish(
        std::string_view topic,
        event_draft&& draft,
        const publish_options& how,
        completion& done,
        error_code& ec
    );
    std::shared_ptr<subscription_state> subscribe(
        std::string_view topic, std::uint64_t offset, handler h, const subscribe_options& how
    );
    void history(
        std::string_view topic,
        std::uint64_t offset,
        std::size_t limit,
        pubsub::history_completion done
    );
    void clear_topic(std::string_view topic, completion done);
    void flush(completion done);
    void close(completion done);

    pubsub& inner() const noexcept { return *inner_; }
    /// Which life of the log the event's index belongs to; 0: it has none in this process's log.
    /// Over a wire the life travels as the field `logGeneration`.
    std::uint32_t generation_of(const event& e) const noexcept;
    const std::shared_ptr<pubsub>& shared_inner() const noexcept { return inner_; }
    bool caches(std::string_view topic) const;
    std::shared_ptr<event_log> log_of(std::string_view topic);
    trunkline::clock& time() const noexcept { return *time_; }
    const caching_options& options() const noexcept { return options_; }
    void log(log_level level, std::string_view text, std::initializer_list<log_field> fields = {})
        const {
        options_.logger().log(level, "caching", text, fields);
    }
    /// Releases `barrier` behind every operation of the topic that has begun.
    void after_turn(std::string_view topic, std::shared_ptr<void> barrier);
    void forget(replay& r) noexcept;
    void stop_replays() noexcept;

    std::atomic<unsigned long long> refused{0};
    std::atomic<unsigned long long> handler_failures{0};
    std::atomic<unsigned long long> dropped{0};
    std::atomic<unsigned long long> replayed{0};

private:
    shard& shard_of(const base::hashed_text& topic) noexcept;
    std::shared_ptr<record> record_in(shard& home, const base::hashed_text& topic);
    /// Appends an operation; runs it at once when the topic is idle.
    void enqueue(std::string_view topic, operation op);
    /// Runs what is pending; false when an operation keeps the turn and will call again.
    void run_turn(const std::shared_ptr<record>& r, unsigned inline_budget);
    /// False when the operation keeps the turn.
    bool perform(const std::shared_ptr<record>& r, operation& op);
    bool perform_publish(const std::shared_ptr<record>& r, publish_operation& p);
    void note_lost(const record& r, const error_code& ec);
    enum class published { finished, taken, later };
    published publish_now(
        const std::shared_ptr<record>& r,
        event_draft&& draft,
        const publish_options& how,
        completion& done,
        error_code& ec,
        bool done_ends_turn
    );
    bool publish_stored(
        record& r,
        event stored,
        const error_code& cache_error,
        const publish_options& how,
        completion& done,
        error_code& ec
    );
    void clear_now(record& r, completion done);
    std::vector<std::shared_ptr<replay>> replays() const;

    event_draft to_inner(const event& stored) const;

    const std::shared_ptr<pubsub> inner_;
    const std::shared_ptr<server_cache> cache_;
    const std::string mark_;  // of this process's logs on a wire; empty in process
    const caching_options options_;
    const std::shared_ptr<trunkline::clock> time_;
    std::array<shard, 16> shards_;
    mutable std::mutex replays_mutex_;
    std::vector<replay*> replays_;
};

}  // namespace caching
TRUNKLINE_NAMESPACE_END
