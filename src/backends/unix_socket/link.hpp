#pragma once

#include "backends/unix_socket/core.hpp"

#include <span>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// This process as a client: its connection to the broker. With the bus's mutex held.
class link {
public:
    link(core& bus, std::shared_ptr<connection> to, const file_identity& file, std::uint32_t life);

    connection& to() noexcept { return *to_; }
    const std::shared_ptr<connection>& shared() const noexcept { return to_; }
    /// The file that the path named when this connected.
    const file_identity& file() const noexcept { return file_; }

    /// The broker's own name as a member; empty before it was heard.
    const std::string& broker_member() const noexcept { return broker_member_; }
    /// Says who this is, what it wants, and that it is all.
    void introduce();
    void subscribe(std::string_view topic, std::optional<std::string_view> group);
    void unsubscribe(std::string_view topic, std::optional<std::string_view> group);
    /// Takes `out`, or what is left of it, when true; otherwise `ec` says why not.
    bool publish(outgoing& out, bool write_now, error_code& ec);
    void handle(const frame& f, std::string_view line, const std::shared_ptr<void>& room);
    /// Released once the broker has answered everything sent before.
    void barrier(std::shared_ptr<void> released);
    void written();
    void end_turn();
    /// Group deliveries that were settled, or are given back.
    void report(std::span<const std::uint64_t> tokens, std::string_view type);
    /// Whether this process has taken the path over from its broker, which is leaving.
    void answer_succession(bool taken);
    void expire(steady::time_point now);
    /// Publishes that the kernel did not take.
    std::deque<outgoing> unwritten();
    std::vector<std::shared_ptr<void>> take_barriers();
    /// True when this token is of a group event that came over this link.
    bool owns(std::uint64_t token) const noexcept;

private:
    void report_recent();
    void report_others();
    void handle_extension(std::string_view line);
    void deliver(const frame& f, const std::shared_ptr<void>& room);
    void barrier_passed(std::string_view group);
    void know_broker(bool trunkline);

    core& bus_;
    const std::shared_ptr<connection> to_;
    const file_identity file_;
    const std::uint64_t life_;  ///< in tokens, above the ordinal
    enum class kind { unknown, reference, trunkline };
    kind broker_ = kind::unknown;
    std::string broker_member_;

    struct position {
        std::uint64_t end;
        outgoing out;
    };
    std::deque<position> writing_;
    struct waiting {
        std::uint64_t number;
        std::shared_ptr<void> released;
        steady::time_point deadline;
    };
    std::deque<waiting> barriers_;
    std::uint64_t last_barrier_ = 0;
    std::uint64_t events_received_ = 0;
    std::uint64_t group_events_received_ = 0;
    bool owes_receipt_ = false;
    std::string frame_;
};

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
