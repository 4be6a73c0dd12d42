#pragma once

#include <trunkline/config.hpp>

#include <chrono>
#include <cstdint>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

/// What a backend promises beyond the common contract. The defaults describe the in-process
/// backend. A flag that is off is tested too: the comment says what must hold then.
struct pubsub_features {
    /// Instances on one transport hear each other. Off: they do not.
    bool cross_instance = false;
    /// Group members take turns in the order of subscription. Off: each event once, by any member.
    bool strict_round_robin = true;
    /// A member that joins has its turn as if it had been there before. Off: when the first member
    /// has had a turn alone, it has the next one too.
    bool joins_in_turn = true;
    /// A nack in a group brings the event again. Off: one delivery.
    bool redelivers_to_group = true;
    /// A nack without a group brings the event again. Off: nothing changes.
    bool redelivers_to_fanout = false;
    /// Deliveries of an event that is always refused; 0: it keeps coming.
    std::uint32_t deliveries_max = 5;
    /// `rig_settings::max_delivery_attempts` is honoured. Off: `deliveries_max` cannot be changed.
    bool deliveries_configurable = true;
    /// A handler's exception in a group is a nack. Off: one delivery.
    bool rejection_is_nack = true;
    /// A retry goes to the group that refused only. Off: other groups see it once more.
    bool retry_stays_in_group = true;
    /// A retry goes to the member that refused. Off: to any.
    bool retry_keeps_member = false;
    /// An event that was moved out and never settled comes again after `settle_deadline`. Off: no.
    bool returns_unsettled = false;
    std::chrono::milliseconds settle_deadline{0};
    /// A new group sees what was published before it existed. Off: nothing from before.
    bool retained_backlog = false;
    /// `subscribe_options::start_from` is honoured. Off: it changes nothing.
    bool start_from = false;
    /// A group goes on where its last member left. Off: events in between are lost.
    bool keeps_group_checkpoint = false;
    /// `subscribe_options::batch` is honoured. Off: events come one by one, at once.
    bool native_batching = true;
    /// Events have an index, history and replay. Off: live only, with one warning.
    bool offsets = false;
    /// `pubsub::leases()` is there. Off: it is null.
    bool leases = true;
    /// `publish_options::local_only` keeps an event in the instance, live objects included.
    bool local_only = true;
    /// Publishing after close fails with `closed`. Off: it succeeds and reaches nobody, and
    /// subscribing works again.
    bool fails_after_close = false;
    /// `rig::restart` takes the transport down and brings it back. Off: skipped.
    bool restart = false;
    /// One of the instances serves the others and can be replaced. Off: skipped.
    bool elects_broker = false;
    /// Handlers run before `publish` returns, on its thread. Off: later, on an executor.
    bool inline_delivery = true;
    /// Each subscription has a queue bounded by `queue_limit` and `on_full`. Off: the limits are
    /// accepted and do not matter.
    bool bounded_queues = false;
    /// `bus_counters::unheard` is kept. Off: who listens elsewhere is not known, it stays 0.
    bool counts_unheard = true;
    /// All ungrouped subscribers of a topic see one order, whoever published. Off: per publisher.
    bool common_order = true;
};

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
