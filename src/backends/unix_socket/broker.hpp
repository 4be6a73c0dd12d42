#pragma once

#include "backends/unix_socket/core.hpp"

#include <set>
#include <unordered_set>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// This process as the broker. With the bus's mutex held.
class broker {
public:
    broker(core& bus, socket_path::listener&& made);
    ~broker();

    /// The socket that this process bound.
    const file_identity& file() const noexcept { return file_; }

    void start();
    void join_own(std::string_view topic, std::string_view group);
    void leave_own(std::string_view topic, std::string_view group);
    /// Routes a publish of this process; false with `ec` when it is refused. `out.done` is taken
    /// when the answer has to wait.
    bool publish(outgoing& out, error_code& ec);
    void handle(
        connection& from, const frame& f, std::string_view line, std::shared_ptr<void>& room
    );
    void written(connection& to);
    void lost(const std::shared_ptr<connection>& c);
    void end_turn();
    /// True while somebody is waited for, and at first, when the last broker may still remove the
    /// path as it leaves: the clock and the path are looked at more often then.
    bool urgent(steady::time_point now) const noexcept {
        return congested_ != 0 || holding_ || now < began_at_ + settling_time;
    }
    void tick(steady::time_point now);
    void barrier(const std::shared_ptr<void>& released);
    void release_barriers();
    /// Another member for a group event that this process did not finish.
    bool hand_on(std::string_view topic, std::string_view group, const event& e, peer_id except);
    /// Asks the members, one after the other, to take the path over before this process leaves.
    /// `done` is released when one has it or nobody can.
    void hand_over(std::shared_ptr<void> done);
    void give_up_handing_over();
    /// Goes on with another listener: the path had been removed.
    void listen_at(socket_path::listener&& made);
    /// Disconnects everybody and listens no more; the path stays as it is.
    void step_down();
    std::size_t clients() const noexcept { return peers_.size(); }
    std::size_t queued_bytes() const;

private:
    struct confirmation {
        std::uint64_t number = 0;
        std::uint32_t remaining = 0;
        bool failed = false;
        peer_id publisher = own_process;
    };
    struct group_delivery {
        std::string topic;
        std::string group;
        shared_text body;
        bool settled = false;
    };
    struct peer {
        std::shared_ptr<connection> c;
        std::string member;  ///< empty: a process of the reference
        std::size_t memberships = 0;
        std::uint64_t events_sent = 0;
        std::deque<std::pair<std::uint64_t, std::shared_ptr<confirmation>>> receipts;
        std::deque<std::shared_ptr<confirmation>> publishes;
        std::uint64_t owed_confirmation = 0;
        std::uint64_t group_first = 1;  ///< ordinal of the first in `group_deliveries`
        std::deque<group_delivery> group_deliveries;
        std::size_t group_bytes = 0;
        // Congestion: over the soft limit, and reading at a useful rate.
        bool congested = false;
        bool stalled = false;
        std::uint64_t mark_written = 0;
        steady::time_point mark_time{};
        std::vector<std::shared_ptr<void>> wait_for_room;
        struct barrier {
            std::uint64_t end;
            std::shared_ptr<void> released;
            steady::time_point deadline;
        };
        std::deque<barrier> barriers;
    };
    struct held_line {
        peer_id from;
        std::string line;
    };
    struct traffic {
        std::string_view topic;
        std::string_view id;
        bool resent = false;
        std::shared_ptr<confirmation> receipt;  ///< null: nobody asks for one
    };

    void expect(const std::vector<std::string>& members);
    void accept();
    void accepted(unique_fd fd);
    /// `from` is null when the publisher has left.
    void publish_from(peer* from, peer_id publisher, const frame& f, std::shared_ptr<void>& room);
    bool hold(peer_id from, std::string_view line);
    /// `local()`: the event for this process, null when it cannot be read; `body(out)` appends the
    /// event object for the others. Each is called at most once.
    template <class Local, class Body>
    void route(const traffic& what, Local&& local, Body&& body, const std::shared_ptr<void>& room);
    bool goes_elsewhere() const;
    void note_recent(std::string_view keys);
    bool is_taken(std::string_view id, std::string_view topic, std::string_view group) const;
    void send_event(peer& to, const traffic& what, const std::string* group);
    void append_tail(const traffic& what, const std::string* group);
    bool send_limited(peer& to, std::string_view text);
    void drop(peer& p, std::string_view why);
    std::size_t soft_limit() const noexcept;
    void note_congestion(peer& p);
    void relieve(peer& p);
    void receipt_ended(const std::shared_ptr<confirmation>& r, bool failed);
    void settle_receipts(peer& p, bool failed);
    void progress(peer_id publisher);
    std::deque<std::shared_ptr<confirmation>>* publishes_of(peer_id publisher);
    void tell_confirmed(peer& p);
    void handle_extension(peer& from, std::string_view line);
    void announce_members();
    void settle(peer& p, std::uint64_t ordinal, bool returned);
    void reroute(const group_delivery& d, peer_id except);
    void end_hold();
    void ask_next_heir();
    peer* find(peer_id who);

    core& bus_;
    boost::asio::posix::stream_descriptor listener_;
    file_identity file_;
    routing_table table_;
    std::map<peer_id, peer> peers_;
    peer_id last_peer_ = own_process;
    std::deque<std::shared_ptr<confirmation>> own_publishes_;
    std::vector<peer_id> owes_confirmation_;
    std::size_t congested_ = 0;
    routing_table::targets targets_;
    bool members_changed_ = false;
    bool accept_paused_ = false;

    static constexpr std::chrono::seconds settling_time{1};
    const steady::time_point began_at_ = steady::now();
    bool holding_ = false;  ///< members of the last broker are still coming
    steady::time_point hold_until_{};
    std::set<std::string> expected_;
    std::set<std::string> came_;  ///< in the first second
    /// Group events that members brought along; until nobody sends again what the last broker lost.
    std::unordered_set<std::uint64_t> taken_;
    std::vector<held_line> held_;
    std::deque<outgoing> held_own_;
    std::size_t held_bytes_ = 0;
    std::deque<peer_id> heirs_;  ///< the first has been asked
    std::shared_ptr<void> handed_over_;

    std::string body_;    // of the event that is being routed: topic and object
    shared_text shared_;  // the same, when it is large or kept
    std::string tail_;
    std::string own_;  // the event object of an own publish
    std::string frame_;
};

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
