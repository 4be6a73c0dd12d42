#pragma once

// What the test bodies of the suites share. Not installed.

#include <trunkline/on_executor.hpp>
#include <trunkline/testkit/conformance.hpp>
#include <trunkline/testkit/gate.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json/value.hpp>

#include <gmock/gmock.h>

#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

using std::chrono::milliseconds;
using testing::Each;
using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::IsEmpty;
using testing::UnorderedElementsAre;
using testing::UnorderedElementsAreArray;

/// "a0", "a1", …
inline std::vector<std::string> numbered(std::string_view prefix, std::size_t count) {
    std::vector<std::string> out;
    out.reserve(count);
    for (std::size_t i = 0; i < count; ++i) out.push_back(std::string(prefix) + std::to_string(i));
    return out;
}

inline std::vector<std::optional<std::uint64_t>> indices_from_to(
    std::uint64_t from, std::uint64_t to
) {
    std::vector<std::optional<std::uint64_t>> out;
    for (auto i = from; i < to; ++i) out.emplace_back(i);
    return out;
}

inline std::vector<std::string> types_of(const history_page& page) {
    std::vector<std::string> out;
    out.reserve(page.events.size());
    for (const auto& e : page.events) out.emplace_back(e.type());
    return out;
}

/// Publishes from a thread of the test's own until the bus has room.
inline error_code publish_patiently(
    pubsub& bus, const std::string& topic, const std::string& type, const payload& data = {}
) {
    for (;;) {
        const auto ec = bus.publish_blocking(topic, event_draft{type, "run-1", data});
        if (ec != errc::queue_full) return ec;
        std::this_thread::yield();
    }
}

/// A judge that answers `first` to the first `count` deliveries and acknowledges the others.
inline recorder::judge at_first(verdict first, int count = 1) {
    auto left = std::make_shared<std::atomic<int>>(count);
    return [left, first](const event&) { return left->fetch_sub(1) > 0 ? first : verdict::ack; };
}

/// A judge that answers `what` to events of one type and acknowledges the others.
inline recorder::judge for_type(std::string type, verdict what) {
    return [type = std::move(type), what](const event& e) {
        return e.type() == type ? what : verdict::ack;
    };
}

/// A coroutine handler that waits at a gate before it acknowledges.
struct slow_handler {
    boost::asio::any_io_executor executor;
    gate door;
    std::shared_ptr<std::atomic<int>> started = std::make_shared<std::atomic<int>>(0);
    std::shared_ptr<std::atomic<int>> finished = std::make_shared<std::atomic<int>>(0);

    // The adaptor's frame owns the delivery.
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-reference-coroutine-parameters)
    boost::asio::awaitable<void> operator()(delivery& d) {
        if (d.event().type() == sentinel_type) {
            std::move(d).ack();
            co_return;
        }
        started->fetch_add(1);
        co_await door.async_wait(executor, boost::asio::use_awaitable);
        finished->fetch_add(1);
        std::move(d).ack();
    }
};

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
