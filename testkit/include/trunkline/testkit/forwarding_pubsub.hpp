#pragma once

#include <trunkline/config.hpp>
#include <trunkline/pubsub.hpp>

#include <memory>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

/// A bus that hands every verb to another one. Derive from it to change just one: a backend
/// without batching, one that loses events, one that delivers twice.
class TRUNKLINE_EXPORT forwarding_pubsub : public pubsub {
public:
    /// Throws std::invalid_argument when `inner` is null.
    explicit forwarding_pubsub(std::shared_ptr<pubsub> inner);
    ~forwarding_pubsub() override;

    const std::shared_ptr<pubsub>& inner() const noexcept { return inner_; }

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
    subscription do_subscribe(
        std::string_view topic, trunkline::handler h, const subscribe_options& options
    ) override;
    subscription do_subscribe_from(
        std::string_view topic,
        std::uint64_t offset,
        trunkline::handler h,
        const subscribe_options& options
    ) override;
    void do_history(
        std::string_view topic, std::uint64_t offset, std::size_t limit, history_completion done
    ) override;
    void do_flush(completion done) override;
    void do_close(completion done) override;
    void do_clear_topic(std::string_view topic, completion done) override;
    void do_trim_topic(std::string_view topic, const trim_options& options, completion done)
        override;

private:
    std::shared_ptr<pubsub> inner_;
};

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
