#pragma once

#include "watch.hpp"

#include <trunkline/clock.hpp>
#include <trunkline/delivery.hpp>

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

namespace trunkline_cli {

/// How a delivery ends: done, to be delivered again, or left unsettled.
enum class verdict { ack, nack, none };

void settle(trunkline::delivery&& d, verdict how);

/// Deliveries that wait for a fixed time before they are settled; no thread waits with them.
/// Threading: any.
class held_deliveries : public std::enable_shared_from_this<held_deliveries> {
public:
    held_deliveries(
        boost::asio::any_io_executor executor, std::chrono::milliseconds time, const watch& w
    );

    void add(trunkline::delivery d, verdict how);
    /// Lets go of everything unsettled. Call it before the executor ends.
    void abandon();

    bool empty() const;
    /// How many were settled so far.
    std::uint64_t settled() const;

private:
    struct held {
        trunkline::clock::time_point due;
        trunkline::delivery what;
        verdict how;
    };

    void arm();
    void release();

    const boost::asio::any_io_executor executor_;
    const std::chrono::milliseconds time_;
    const watch& watch_;
    mutable std::mutex mutex_;
    std::deque<held> waiting_;  // due times ascend, because all wait equally long
    std::unique_ptr<trunkline::clock::wait> timer_;
    std::uint64_t settling_ = 0;  // taken out, not settled yet
    std::uint64_t settled_ = 0;
    bool abandoned_ = false;
};

}  // namespace trunkline_cli
