#include "backends/event_emitter/core.hpp"

#include <trunkline/event_emitter_pubsub.hpp>

#include <stdexcept>

TRUNKLINE_NAMESPACE_BEGIN

event_emitter_pubsub::event_emitter_pubsub(event_emitter_options options) {
    if (options.pending_limit() == 0)
        throw std::invalid_argument("event_emitter_pubsub: pending_limit is 0");
    core_ = event_emitter::core::make(options);
}

event_emitter_pubsub::~event_emitter_pubsub() {
    core_->close({});
    core_->context().shut_down();
}

backend_traits event_emitter_pubsub::traits() const {
    backend_traits t;
    t.name = "event_emitter";
    t.pull = true;
    t.push = true;
    t.native_batching = true;
    t.redelivers_groups = true;
    return t;
}

lease_provider* event_emitter_pubsub::leases() {
    return &core_->leases();
}

boost::asio::any_io_executor event_emitter_pubsub::executor() {
    return core_->context().executor();
}

bus_counters event_emitter_pubsub::counters() const {
    return core_->counters();
}

bool event_emitter_pubsub::do_publish(
    std::string_view topic,
    event_draft&& draft,
    const publish_options& options,
    completion& done,
    error_code& ec
) {
    return core_->publish(topic, std::move(draft), options, done, ec);
}

subscription event_emitter_pubsub::do_subscribe(
    std::string_view topic, handler h, const subscribe_options& options
) {
    return subscription{core_->subscribe(topic, std::move(h), options)};
}

void event_emitter_pubsub::do_flush(completion done) {
    core_->flush(std::move(done));
}

void event_emitter_pubsub::do_close(completion done) {
    core_->close(std::move(done));
}

void event_emitter_pubsub::on_refused(std::string_view topic, std::string_view problem) noexcept {
    core_->context().note_refused(topic, problem);
}

void event_emitter_pubsub::on_unsupported_offset(
    std::string_view topic, std::uint64_t offset
) noexcept {
    core_->context().note_unsupported_offset(topic, offset);
}

TRUNKLINE_NAMESPACE_END
