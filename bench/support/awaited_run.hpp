#pragma once

#include "bench.hpp"

#include <trunkline/pubsub.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <cstdint>
#include <utility>

namespace bench {

/// Publishes a run of numbers, each awaited before the next. Lives until its coroutine has ended.
struct awaited_run {
    trunkline::pubsub* bus;
    std::uint64_t from;
    std::uint64_t to;

    boost::asio::awaitable<void> operator()() const {
        payload_text text;
        for (auto number = from; number < to; ++number) {
            auto event = draft(text, number);
            co_await bus->async_publish(topic, std::move(event), boost::asio::use_awaitable);
        }
    }
};

}  // namespace bench
