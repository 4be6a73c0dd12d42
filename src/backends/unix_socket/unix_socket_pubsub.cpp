#include "backends/unix_socket/core.hpp"

#include <trunkline/unix_socket_pubsub.hpp>

#include <stdexcept>

TRUNKLINE_NAMESPACE_BEGIN

namespace {

void require(bool good, const char* what) {
    if (!good) throw std::invalid_argument(std::string("unix_socket_pubsub: ") + what);
}

}  // namespace

unix_socket_pubsub::unix_socket_pubsub(unix_socket_options options) {
    using std::chrono::milliseconds;
    require(!options.path().empty(), "the path is empty");
    require(options.path().find('\0') == std::string::npos, "the path has a zero byte");
    require(
        options.membership_ack_timeout() > milliseconds{0}, "membership_ack_timeout is not positive"
    );
    require(options.connect_timeout() > milliseconds{0}, "connect_timeout is not positive");
    require(
        options.broker_path_check_interval() > milliseconds{0},
        "broker_path_check_interval is not positive"
    );
    require(options.max_inbound_frame_bytes() > 0, "max_inbound_frame_bytes is 0");
    require(options.max_remote_client_queued_bytes() > 0, "max_remote_client_queued_bytes is 0");
    require(options.pending_limit() > 0, "pending_limit is 0");
    core_ = unix_socket::core::make(std::move(options));
}

unix_socket_pubsub::~unix_socket_pubsub() {
    core_->end();
}

backend_traits unix_socket_pubsub::traits() const {
    backend_traits t;
    t.name = "unix_socket";
    t.pull = false;
    t.push = true;
    t.cross_process = true;
    t.redelivers_groups = true;
    return t;
}

lease_provider* unix_socket_pubsub::leases() {
    return &core_->leases();
}

boost::asio::any_io_executor unix_socket_pubsub::executor() {
    return core_->context().executor();
}

bus_counters unix_socket_pubsub::counters() const {
    return core_->counters();
}

bus_role unix_socket_pubsub::role() const {
    return core_->role();
}

unix_socket_counters unix_socket_pubsub::socket_counters() const {
    return core_->socket_counters();
}

void unix_socket_pubsub::start_join(completion done) {
    core_->join(std::move(done));
}

bool unix_socket_pubsub::do_publish(
    std::string_view topic,
    event_draft&& draft,
    const publish_options& options,
    completion& done,
    error_code& ec
) {
    return core_->publish(topic, std::move(draft), options, done, ec);
}

subscription unix_socket_pubsub::do_subscribe(
    std::string_view topic, handler h, const subscribe_options& options
) {
    return subscription{core_->subscribe(topic, std::move(h), options)};
}

void unix_socket_pubsub::do_flush(completion done) {
    core_->flush(std::move(done));
}

void unix_socket_pubsub::do_close(completion done) {
    core_->close(std::move(done));
}

void unix_socket_pubsub::on_refused(std::string_view topic, std::string_view problem) noexcept {
    core_->context().note_refused(topic, problem);
}

void unix_socket_pubsub::on_unsupported_offset(
    std::string_view topic, std::uint64_t offset
) noexcept {
    core_->context().note_unsupported_offset(topic, offset);
}

TRUNKLINE_NAMESPACE_END
