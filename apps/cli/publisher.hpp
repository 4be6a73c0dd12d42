#pragma once

#include "console.hpp"
#include "watch.hpp"

#include <trunkline/pubsub.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace trunkline_cli {

/// Publishes on one topic with a bounded number of publishes under way, and counts what became of
/// each. An event that is refused because a queue is full is tried again until it is taken; it then
/// follows the ones that were under way. Threading: main thread.
class publisher {
public:
    publisher(trunkline::pubsub& bus, std::string topic, watch& w);

    /// Waits for room and publishes, also when the command is over but there is room right away.
    /// False when there was none in time: nothing was sent.
    bool publish(trunkline::event_draft draft, const trunkline::publish_options& how);
    /// Counts something that never became an event; `why` names it.
    void reject(std::string_view why);
    /// Waits until every publish has been answered, or the command is over; what is unanswered then
    /// counts as failed.
    void finish();
    /// After `finish`: waits until what was published has left this process. A failure counts as
    /// one failed event, because nobody knows how many it concerns.
    void flush();

    std::uint64_t failed() const;
    /// `{"published":N,"failed":M,"seconds":S}`; S is the time from the first
    /// publish to the end of `finish`.
    bool write_summary(line_writer& out) const;

private:
    struct progress;

    void send(trunkline::event_draft draft, const trunkline::publish_options& how);
    bool send_refused();

    trunkline::pubsub& bus_;
    std::string topic_;
    watch& watch_;
    std::optional<watch::time_point> start_;
    watch::time_point end_;
    std::shared_ptr<progress> progress_;
};

}  // namespace trunkline_cli
