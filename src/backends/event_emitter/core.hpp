#pragma once

#include "backends/event_emitter/topic.hpp"
#include "contract/bus_context.hpp"
#include "contract/flush_rounds.hpp"

#include <trunkline/event_emitter_pubsub.hpp>

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>

TRUNKLINE_NAMESPACE_BEGIN

/// The in-process bus behind its public face; members reach it weakly.
namespace event_emitter {

class core : public std::enable_shared_from_this<core> {
public:
    static std::shared_ptr<core> make(const event_emitter_options& options);
    /// For `make`.
    explicit core(const event_emitter_options& options);

    bool publish(
        std::string_view name,
        event_draft&& draft,
        const publish_options& how,
        completion& done,
        error_code& ec
    );
    std::shared_ptr<subscription_state> subscribe(
        std::string_view name, handler h, const subscribe_options& how
    );
    /// From members.
    void leave(std::shared_ptr<member> who) noexcept;
    void redeliver(std::shared_ptr<member> from, const event& e) noexcept;
    void give_back(std::shared_ptr<member> from, std::vector<queued_event> events) noexcept;

    void flush(completion done);
    void close(completion done);
    memory_lease_provider& leases();
    bus_counters counters() const;
    bus_context& context() const noexcept { return *context_; }

private:
    shard& shard_of(const base::hashed_text& name) noexcept;
    /// Appends an operation; runs it at once when the topic is idle. Creates the topic.
    void enqueue(std::string_view name, operation op);
    /// Runs what is pending until nothing is, then gives the turn up. `inline_budget`: operations
    /// to run on this stack before the rest goes to the executor.
    void run_turn(topic& t, unsigned inline_budget);
    void perform(topic& t, operation& op);
    /// True when it finished at once; false when `done` was taken.
    bool deliver(
        topic& t,
        const event& e,
        completion& done,
        error_code& ec,
        const void* origin,
        bool accepted
    );
    bool admit(
        topic& t,
        const event& e,
        completion& done,
        error_code& ec,
        const void* origin,
        bool accepted,
        std::shared_ptr<void>& room
    );
    void give_to_group(group& g, const event& e, const std::shared_ptr<void>& room);
    void join(topic& t, std::shared_ptr<member> who);
    void leave_now(topic& t, const std::shared_ptr<member>& who);
    void regroup(topic& t, regroup_operation& op);
    void mark(topic& t, const std::shared_ptr<void>& barrier);
    void mark_everything(const std::shared_ptr<void>& barrier);

    const event_emitter_options options_;
    const std::shared_ptr<bus_context> context_;
    mutable std::array<shard, 16> shards_;
    std::mutex leases_mutex_;
    std::unique_ptr<memory_lease_provider> leases_;
    std::shared_ptr<flush_rounds> rounds_;
    std::atomic<std::uint32_t> life_{0};  // raised by close: older redeliveries are void
};

}  // namespace event_emitter

TRUNKLINE_NAMESPACE_END
