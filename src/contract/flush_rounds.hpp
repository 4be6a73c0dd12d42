#pragma once

#include "contract/bus_context.hpp"

#include <trunkline/completion.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN

/// Completes once everything accepted before has been handled, redeliveries included: marks all
/// queues, and looks again as long as events were on their way between queues. One that slipped
/// between a mark and the count would otherwise be missed, so nacks are counted and never taken
/// back.
class TRUNKLINE_EXPORT flush_rounds : public std::enable_shared_from_this<flush_rounds> {
public:
    /// `mark` puts the barrier behind what every queue holds, and may be called on any thread.
    flush_rounds(
        std::shared_ptr<bus_context> context,
        std::function<void(const std::shared_ptr<void>& barrier)> mark
    )
        : context_(std::move(context)), mark_(std::move(mark)) {}

    void start(completion done);

    /// An event left a queue to come to one again, by `handed_on` at the latest.
    void sent_on_its_way() noexcept {
        on_their_way_.fetch_add(1);
        nacks_.fetch_add(1);
    }
    /// The same where it is not a nack: it is counted only while it is nowhere.
    void taken_out() noexcept { on_their_way_.fetch_add(1); }
    void handed_on();
    /// Events moved from one queue to another at once.
    void moved() noexcept { nacks_.fetch_add(1); }

private:
    void start_again(completion done);

    const std::shared_ptr<bus_context> context_;
    const std::function<void(const std::shared_ptr<void>&)> mark_;
    std::atomic<unsigned long long> on_their_way_{0};
    std::atomic<unsigned long long> nacks_{0};
    std::mutex mutex_;
    std::vector<completion> waiters_;
};

TRUNKLINE_NAMESPACE_END
