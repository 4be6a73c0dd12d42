#pragma once

#include <trunkline/config.hpp>
#include <trunkline/detail/backend_options.hpp>
#include <trunkline/pubsub.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN

namespace unix_socket {
class core;
}

/// What a process is on its bus at the moment.
enum class bus_role {
    none,    ///< not connected: not needed yet, looking for the broker, or closed
    client,  ///< connected to the broker
    broker,  ///< the others are connected to this one
};

class unix_socket_options : public detail::backend_options<unix_socket_options> {
public:
    using milliseconds = std::chrono::milliseconds;

    /// Where the bus is; the directory is created when it is missing. Longer than 108 bytes, the
    /// first 108 name the socket.
    explicit unix_socket_options(std::string path) : path_(std::move(path)) {}
    const std::string& path() const noexcept { return path_; }

    /// How long a broker has to acknowledge a subscription; then it counts as acknowledged, because
    /// old brokers obey without answering. Positive. Default 5 s.
    unix_socket_options& membership_ack_timeout(milliseconds time) {
        membership_ack_timeout_ = time;
        return *this;
    }
    milliseconds membership_ack_timeout() const noexcept { return membership_ack_timeout_; }

    /// Largest frame that is read, without its newline; a peer that sends more is disconnected.
    /// Default 64 MiB.
    unix_socket_options& max_inbound_frame_bytes(std::size_t bytes) {
        max_inbound_frame_bytes_ = bytes;
        return *this;
    }
    std::size_t max_inbound_frame_bytes() const noexcept { return max_inbound_frame_bytes_; }

    /// What may wait for one client of the broker; a client that does not read and needs more is
    /// disconnected and counted. Default 64 MiB.
    unix_socket_options& max_remote_client_queued_bytes(std::size_t bytes) {
        max_remote_client_queued_bytes_ = bytes;
        return *this;
    }
    std::size_t max_remote_client_queued_bytes() const noexcept {
        return max_remote_client_queued_bytes_;
    }

    /// How often a process looks whether the path is still its broker's. Default 250 ms.
    unix_socket_options& broker_path_check_interval(milliseconds time) {
        broker_path_check_interval_ = time;
        return *this;
    }
    milliseconds broker_path_check_interval() const noexcept { return broker_path_check_interval_; }

    /// How long a publish or subscribe waits for a broker before it fails with `broker_lost`.
    /// Default 5 s.
    unix_socket_options& connect_timeout(milliseconds time) {
        connect_timeout_ = time;
        return *this;
    }
    milliseconds connect_timeout() const noexcept { return connect_timeout_; }

    /// Publishes that may wait while there is no broker, or for a confirmation; at least 1. At the
    /// limit publishing answers `queue_full`. Default 65,536.
    unix_socket_options& pending_limit(std::size_t publishes) {
        pending_limit_ = publishes;
        return *this;
    }
    std::size_t pending_limit() const noexcept { return pending_limit_; }

    /// Never be the broker: for processes that live too briefly to serve others. Without a broker
    /// they wait for one. Default off.
    unix_socket_options& client_only(bool on) {
        client_only_ = on;
        return *this;
    }
    bool client_only() const noexcept { return client_only_; }

    /// Let processes of a group in as clients: directory 0750 when it is created, socket 0660, both
    /// owned by it. Only this user's can be the broker. Default: this user only, 0700 and 0600.
    unix_socket_options& group_access(std::uint32_t group_id) {
        group_access_ = group_id;
        return *this;
    }
    std::optional<std::uint32_t> group_access() const noexcept { return group_access_; }

    /// Users besides this one and root whose processes are accepted, and accepted as broker, where
    /// the modes of directory and socket let them reach each other (see `group_access`).
    unix_socket_options& allow_users(std::vector<std::uint32_t> user_ids) {
        allow_users_ = std::move(user_ids);
        return *this;
    }
    const std::vector<std::uint32_t>& allow_users() const noexcept { return allow_users_; }

    /// Called on the executor when the role changes, for the last time after the bus has ended.
    unix_socket_options& on_role(std::function<void(bus_role)> f) {
        on_role_ = std::move(f);
        return *this;
    }
    const std::function<void(bus_role)>& on_role() const noexcept { return on_role_; }

private:
    std::string path_;
    milliseconds membership_ack_timeout_{5000};
    std::size_t max_inbound_frame_bytes_ = std::size_t{64} << 20;
    std::size_t max_remote_client_queued_bytes_ = std::size_t{64} << 20;
    milliseconds broker_path_check_interval_{250};
    milliseconds connect_timeout_{5000};
    std::size_t pending_limit_ = 65536;
    bool client_only_ = false;
    std::optional<std::uint32_t> group_access_;
    std::vector<std::uint32_t> allow_users_;
    std::function<void(bus_role)> on_role_;
};

/// Numbers of the socket side since construction.
struct unix_socket_counters {
    std::size_t clients = 0;                 ///< connected to this broker now
    std::size_t queued_bytes = 0;            ///< waiting to be written now
    unsigned long long clients_dropped = 0;  ///< disconnected for a limit
    unsigned long long frames_ignored = 0;   ///< lines that are no frame
    unsigned long long elections = 0;        ///< times this process became broker
    unsigned long long peers_refused = 0;    ///< connections of users who may not
    unsigned long long resent = 0;           ///< publishes sent again after a broker was lost
    unsigned long long duplicates = 0;       ///< events dropped because they had come before
    unsigned long long handed_on = 0;        ///< group events given to another member
};

/// Every process that opens the same path is on one bus. One of them is the broker, elected without
/// a server; when it leaves or dies another takes over, and subscriptions come back by themselves.
/// Processes of the reference implementation can be members, broker included.
///
/// Publishing completes when the frame is with the kernel (client) or was routed (broker). With
/// `publish_options::confirmed` it completes when every Trunkline member that was a target has the
/// event, and a publish that loses its broker before that is sent again with the same id, which
/// receivers know. A nack, and with `rejection_is_nack` a failed handler, brings the event again to
/// the same subscription, up to six times, 100 ms times the attempt later. Of a group each event
/// goes to one process, in turn, and to one subscription in it; what a process that leaves or dies
/// did not settle goes to another Trunkline member. Nothing is stored: a group without a member
/// loses its events.
///
/// Sockets are served by a thread of the bus's own. Without an executor in the options handlers run
/// there too, one at a time; when they are slow or block, a second thread parts the two within some
/// milliseconds. So a handler that blocks holds up what shares its executor, not the bus.
/// Threading: any. After close, publishing
/// and subscribing fail with `closed`.
class TRUNKLINE_EXPORT unix_socket_pubsub final : public pubsub {
public:
    /// Throws std::invalid_argument for an option out of range. Connects at first need.
    explicit unix_socket_pubsub(unix_socket_options options);
    ~unix_socket_pubsub() override;

    /// Joins the bus now. Completes with void(error_code) as client or broker; `broker_lost` when
    /// that took longer than `connect_timeout`, or the system's error.
    template <class Token>
    auto async_join(Token&& token) {
        return detail::initiate_erased(
            executor(),
            std::forward<Token>(token),
            [this](completion done) { start_join(std::move(done)); }
        );
    }

    bus_role role() const;
    unix_socket_counters socket_counters() const;

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
    void start_join(completion done);

    std::shared_ptr<unix_socket::core> core_;
};

TRUNKLINE_NAMESPACE_END
