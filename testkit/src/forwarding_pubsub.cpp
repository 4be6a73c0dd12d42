#include <trunkline/testkit/forwarding_pubsub.hpp>

#include <stdexcept>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

forwarding_pubsub::forwarding_pubsub(std::shared_ptr<pubsub> inner) : inner_(std::move(inner)) {
    if (inner_ == nullptr) throw std::invalid_argument("forwarding_pubsub: inner is null");
}

forwarding_pubsub::~forwarding_pubsub() = default;

backend_traits forwarding_pubsub::traits() const {
    return inner_->traits();
}

lease_provider* forwarding_pubsub::leases() {
    return inner_->leases();
}

boost::asio::any_io_executor forwarding_pubsub::executor() {
    return inner_->executor();
}

bus_counters forwarding_pubsub::counters() const {
    return inner_->counters();
}

bool forwarding_pubsub::do_publish(
    std::string_view topic,
    event_draft&& draft,
    const publish_options& options,
    completion& done,
    error_code& ec
) {
    return inner_->start_publish(topic, std::move(draft), options, done, ec);
}

subscription forwarding_pubsub::do_subscribe(
    std::string_view topic, trunkline::handler h, const subscribe_options& options
) {
    return inner_->subscribe(topic, std::move(h), options);
}

subscription forwarding_pubsub::do_subscribe_from(
    std::string_view topic,
    std::uint64_t offset,
    trunkline::handler h,
    const subscribe_options& options
) {
    return inner_->subscribe_from_offset(topic, offset, std::move(h), options);
}

void forwarding_pubsub::do_history(
    std::string_view topic, std::uint64_t offset, std::size_t limit, history_completion done
) {
    inner_->start_history(topic, offset, limit, std::move(done));
}

void forwarding_pubsub::do_flush(completion done) {
    inner_->start_flush(std::move(done));
}

void forwarding_pubsub::do_close(completion done) {
    inner_->start_close(std::move(done));
}

void forwarding_pubsub::do_clear_topic(std::string_view topic, completion done) {
    inner_->start_clear_topic(topic, std::move(done));
}

void forwarding_pubsub::do_trim_topic(
    std::string_view topic, const trim_options& options, completion done
) {
    inner_->start_trim_topic(topic, options, std::move(done));
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
