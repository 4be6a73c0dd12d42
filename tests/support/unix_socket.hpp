#pragma once

#include <trunkline/config.hpp>
#include <trunkline/event.hpp>
#include <trunkline/handler.hpp>
#include <trunkline/subscription.hpp>
#include <trunkline/unix_socket_pubsub.hpp>

#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>
#include <string>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace tests {

/// How joining ended.
inline error_code joined(unix_socket_pubsub& bus) {
    std::promise<error_code> done;
    bus.async_join([&](error_code ec) { done.set_value(ec); });
    return done.get_future().get();
}

/// How getting ready ended.
inline error_code ready(subscription& s) {
    std::promise<error_code> done;
    s.ready([&](error_code ec) { done.set_value(ec); });
    return done.get_future().get();
}

/// What a subscription got, waited for with a deadline.
class seen_events {
public:
    static constexpr std::chrono::seconds patience{30};

    trunkline::handler handler() {
        return [this](const event& e) {
            const std::lock_guard lock(mutex_);
            events_.push_back(e);
            changed_.notify_all();
        };
    }
    bool wait_for(std::size_t count) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, patience, [&] { return events_.size() >= count; });
    }
    std::vector<event> all() {
        const std::lock_guard lock(mutex_);
        return events_;
    }
    std::vector<std::string> types() {
        std::vector<std::string> out;
        for (const auto& e : all()) out.emplace_back(e.type());
        return out;
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<event> events_;
};

}  // namespace tests
TRUNKLINE_NAMESPACE_END
