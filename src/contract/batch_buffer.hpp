#pragma once

#include <trunkline/clock.hpp>
#include <trunkline/options.hpp>

#include <cstdint>
#include <optional>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN

/// An event that waits for a handler, with the backend's token for settling it.
struct queued_event {
    event e;
    std::uint64_t token = 0;
    bool immediate = false;  ///< what batch_options::is_immediate said
};

/// When to flush a batch and what of it to deliver: no clock, no timer, no thread. The owner calls
/// `push` for each event, arms one timer at `armed()`, and brackets each flush with `begin_flush`
/// and `end_flush`.
///
///   on push        | condition                    | effect
///   ---------------+------------------------------+--------------------------------------------
///   immediate      | past the floor               | flush
///                  | before it                    | arm at the floor
///   count >= maxBufferSize                        | flush, whatever the floor
///   count >= maxSize | past the floor             | flush
///                  | before it                    | arm at the floor
///   otherwise      | maxWait is set               | arm at max(first queued + maxWait, floor)
///
/// The floor is the end of the last flush that had events, plus minInterval. An armed time only
/// moves forward when a flush begins, so a later event never postpones an immediate one.
class batch_buffer {
public:
    using time_point = clock::time_point;

    explicit batch_buffer(batch_options options) : options_(std::move(options)) {}

    /// Asks the user; call it without locks. Whatever it throws passes through.
    bool is_immediate(const event& e) const {
        return options_.is_immediate() && options_.is_immediate()(e);
    }

    /// Takes an event; true when a flush is due now.
    bool push(queued_event item, time_point now);

    /// When the timer should fire, if at all.
    std::optional<time_point> armed() const noexcept { return armed_; }
    std::size_t size() const noexcept { return events_.size(); }

    /// Takes everything that waits; the timer is no longer armed.
    std::vector<queued_event> begin_flush();

    struct choice {
        std::vector<queued_event> deliver;
        std::vector<queued_event> coalesced;  ///< left out by coalesce
        std::vector<queued_event> lost;       ///< by overflow, or all of them after a violation
        bool violation = false;  ///< coalesce answered with an event that it was not given
    };
    /// Runs coalesce and overflow. User code runs here, so call it without locks; what coalesce
    /// throws passes through and the snapshot is lost.
    choice choose(std::vector<queued_event> snapshot) const;

    /// The events taken by `begin_flush` have been delivered and dropped; not for an empty flush.
    void end_flush(time_point now);

    /// Applies the overflow policy to what waits, down to maxBufferSize; returns what was dropped.
    std::vector<queued_event> shed();

    const batch_options& options() const noexcept { return options_; }

private:
    void arm(time_point when);
    void overflow(std::vector<queued_event>& kept, std::vector<queued_event>& dropped) const;

    batch_options options_;
    std::vector<queued_event> events_;
    std::optional<time_point> first_queued_;
    std::optional<time_point> floor_;
    std::optional<time_point> armed_;
};

TRUNKLINE_NAMESPACE_END
