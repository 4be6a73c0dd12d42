#pragma once

#include "messages.hpp"

#include <trunkline/delivery.hpp>
#include <trunkline/pubsub.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <atomic>
#include <cstdint>
#include <stdexcept>

namespace word_count {

/// What the workers did, apart from counting.
struct mishaps {
    std::atomic<std::uint64_t> failures{0};
    std::atomic<std::uint64_t> redeliveries{0};
};

/// Counts the words of a line and publishes the result. As a coroutine it can wait for room on the
/// topic `counts` without holding a thread. The line is acknowledged once its counts are with
/// whoever listens; a worker that throws before that gives it back, and it comes again.
class worker {
public:
    static constexpr const char* excuse = "dropped on purpose";

    /// A clumsy worker throws at every hundredth line that it is the first to see.
    worker(trunkline::pubsub& bus, mishaps& log, bool clumsy)
        : bus_(bus), log_(log), clumsy_(clumsy) {}

    // The caller keeps the delivery until the coroutine has ended.
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-reference-coroutine-parameters)
    boost::asio::awaitable<void> operator()(trunkline::delivery& line) {
        const auto event = line.event();
        if (event.delivery_attempt() > 1) {
            ++log_.redeliveries;
        } else if (clumsy_ && ++first_deliveries_ % 100 == 0) {
            ++log_.failures;
            throw std::runtime_error(excuse);
        }
        auto counts = counts_event(line_of(event), count_words(text_of(event)));
        const auto confirmed = trunkline::publish_options().confirmed();
        co_await bus_.async_publish(
            counts_topic, std::move(counts), confirmed, boost::asio::use_awaitable
        );
        std::move(line).ack();
    }

private:
    trunkline::pubsub& bus_;
    mishaps& log_;
    bool clumsy_;
    std::uint64_t first_deliveries_ = 0;
};

}  // namespace word_count
