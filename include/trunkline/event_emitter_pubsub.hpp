#pragma once

#include <trunkline/config.hpp>
#include <trunkline/detail/backend_options.hpp>
#include <trunkline/pubsub.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <cstdint>
#include <functional>
#include <memory>

TRUNKLINE_NAMESPACE_BEGIN

namespace event_emitter {
class core;
}

/// Where handlers run.
enum class dispatch_mode {
    /// In the turn of their topic: on a publisher's thread, usually the caller's. Default.
    inlined,
    /// On the executor, through one queue per subscription.
    queued,
};

class event_emitter_options : public detail::backend_options<event_emitter_options> {
public:
    event_emitter_options() {}

    event_emitter_options& dispatch(dispatch_mode mode) {
        dispatch_ = mode;
        return *this;
    }
    dispatch_mode dispatch() const noexcept { return dispatch_; }

    /// Deliveries of one event to a group before it is given up; 0: no limit. Default 5.
    event_emitter_options& max_delivery_attempts(std::uint32_t attempts) {
        max_delivery_attempts_ = attempts;
        return *this;
    }
    std::uint32_t max_delivery_attempts() const noexcept { return max_delivery_attempts_; }

    /// Operations that may wait for a busy topic; at least 1. At the limit publish answers
    /// `queue_full`. Default 65,536.
    event_emitter_options& pending_limit(std::size_t operations) {
        pending_limit_ = operations;
        return *this;
    }
    std::size_t pending_limit() const noexcept { return pending_limit_; }

private:
    dispatch_mode dispatch_ = dispatch_mode::inlined;
    std::uint32_t max_delivery_attempts_ = 5;
    std::size_t pending_limit_ = 65536;
};

/// The in-process backend: no set-up, no history, leases in memory.
///
/// Each topic has one running order. Inline dispatch delivers on the thread of a publisher, usually
/// the caller's; when two meet on one topic, the first delivers for both, and a long turn is handed
/// to the executor. Groups are strict round robin in subscription order; a nack, or an exception of
/// a grouped handler, gives the event to the next member with the next attempt, through the
/// executor. After close, publishing succeeds and reaches nobody; subscribing works again.
///
/// Performance: see docs/design/performance.md. Threading: any. Destruction waits for no handler
/// on a foreign executor; no other thread may still be calling the bus, and no handler may destroy
/// it from inside a publish on it (inline dispatch).
class TRUNKLINE_EXPORT event_emitter_pubsub final : public pubsub {
public:
    /// Throws std::invalid_argument for an option out of range.
    explicit event_emitter_pubsub(event_emitter_options options = {});
    ~event_emitter_pubsub() override;

    backend_traits traits() const override;
    lease_provider* leases() override;
    boost::asio::any_io_executor executor() override;
    bus_counters counters() const override;

protected:
    bool do_publish(
        std::string_view topic,
        event_draft&& draft,
        const publish_options& options,
        completion& done,
        error_code& ec
    ) override;
    subscription do_subscribe(std::string_view topic, handler h, const subscribe_options& options)
        override;
    void do_flush(completion done) override;
    void do_close(completion done) override;
    void on_refused(std::string_view topic, std::string_view problem) noexcept override;
    void on_unsupported_offset(std::string_view topic, std::uint64_t offset) noexcept override;

private:
    std::shared_ptr<event_emitter::core> core_;
};

TRUNKLINE_NAMESPACE_END
