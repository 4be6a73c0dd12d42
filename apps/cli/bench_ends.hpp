#pragma once

#include "bench_plan.hpp"
#include "bench_text.hpp"

#include <trunkline/clock.hpp>
#include <trunkline/pubsub.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <semaphore>
#include <string_view>
#include <vector>

namespace trunkline_cli {

/// Throws boost::system::system_error naming `what` of the benchmark went wrong.
void bench_check(const trunkline::error_code& ec, const char* what);
/// A moment of the steady clock, which all processes of a host share.
std::uint64_t bench_nanoseconds(trunkline::clock::time_point t);

/// One subscription's share of a benchmark.
class bench_receiver {
public:
    /// Subscribes, and returns when nothing published later can be missed.
    bench_receiver(trunkline::pubsub& bus, const bench_plan& plan);
    bench_receiver(const bench_receiver&) = delete;
    bench_receiver& operator=(const bench_receiver&) = delete;

    /// To be read, and set back, after a flush only.
    std::uint64_t delivered() const noexcept { return tally_.delivered; }
    void reset() noexcept { tally_.delivered = 0; }
    const std::vector<std::uint32_t>& latencies_ns() const noexcept { return tally_.latencies_ns; }

private:
    // Handler calls never overlap and the numbers are read after a flush, so nothing here needs to
    // be atomic; the alignment keeps subscriptions out of each other's way.
    struct alignas(64) tally {
        std::uint64_t delivered = 0;
        std::vector<std::uint32_t> latencies_ns;
    };

    tally tally_;
    trunkline::subscription subscription_;  // last: ended before what it writes to
};

/// The publishing end of a benchmark.
class bench_sender {
public:
    bench_sender(trunkline::pubsub& bus, const bench_plan& plan);

    /// Publishes `count` events and waits until each was answered and everything accepted was
    /// handled, or left this process. Where a queue is full it waits for room: nothing is lost.
    void send(std::uint64_t count, std::optional<double> rate);

private:
    void send_paced(bench_text& text, std::uint64_t count, double rate);
    void publish(std::string_view data);
    void publish_blocking(std::string_view data);
    void publish_awaited(std::string_view data, std::uint64_t seq);
    void await_completions();
    void send_refused();

    trunkline::pubsub& bus_;
    const bench_plan& plan_;
    const std::shared_ptr<trunkline::clock> time_;
    trunkline::publish_options how_;
    std::counting_semaphore<> room_;
    std::mutex mutex_;
    trunkline::error_code failure_;
    std::vector<std::uint64_t> refused_;  // by a full queue, to be sent again
};

}  // namespace trunkline_cli
