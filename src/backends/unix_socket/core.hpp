#pragma once

#include "backends/unix_socket/connection.hpp"
#include "backends/unix_socket/election.hpp"
#include "backends/unix_socket/file_lease_provider.hpp"
#include "backends/unix_socket/local_registry.hpp"
#include "backends/unix_socket/recent_ids.hpp"
#include "backends/unix_socket/roster.hpp"
#include "backends/unix_socket/socket_path.hpp"
#include "base/io_loop.hpp"
#include "contract/bus_context.hpp"
#include "contract/flush_rounds.hpp"

#include <trunkline/unix_socket_pubsub.hpp>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

class broker;
class link;

using steady = std::chrono::steady_clock;

/// A publish on its way.
struct outgoing {
    std::string topic;  ///< JSON text
    event e;
    bool keep_time = false;
    bool confirmed = false;
    bool resent = false;
    std::uint64_t number = 0;  ///< of a confirmed one
    completion done;
    const void* origin = nullptr;  ///< the subscriber whose handler awaits it
    steady::time_point deadline{};
    std::vector<std::shared_ptr<void>> barriers;  ///< released with it
};

/// The bus behind its public face. One mutex guards everything but the reading half of
/// connections; no handler runs under it, and none keeps the sockets waiting (see
/// base/io_loop.hpp). Sources: core.cpp (publishing, flush, close), core_connections.cpp,
/// core_joining.cpp, core_subscribing.cpp.
class core : public std::enable_shared_from_this<core> {
public:
    static std::shared_ptr<core> make(unix_socket_options options);
    /// For `make`.
    explicit core(unix_socket_options options);
    ~core();

    bool publish(
        std::string_view topic,
        event_draft&& draft,
        const publish_options& how,
        completion& done,
        error_code& ec
    );
    std::shared_ptr<subscription_state> subscribe(
        std::string_view topic, handler h, const subscribe_options& how
    );
    void join(completion done);
    void flush(completion done);
    void close(completion done);
    /// Ends everything now; for the destructor of the face.
    void end() noexcept;
    lease_provider& leases();
    bus_role role() const;
    bus_counters counters() const;
    unix_socket_counters socket_counters() const;
    bus_context& context() const noexcept { return *context_; }
    const unix_socket_options& options() const noexcept { return options_; }

    // From members, on any thread.
    void leave(const std::shared_ptr<member>& who) noexcept;
    void when_ready(const std::shared_ptr<member>& who, completion done);
    void settled(std::uint64_t token) noexcept;
    void redeliver(const std::shared_ptr<member>& to, const event& e, std::uint64_t token) noexcept;
    void give_back(const std::shared_ptr<member>& from, std::vector<queued_event> events) noexcept;

    // --- For the parts (broker, link), with the mutex held ---

    /// Holds the mutex; what must not run under it (completions, the last owners of subscriptions)
    /// runs when it ends.
    class section {
    public:
        explicit section(core& of) : of_(of), lock_(of.mutex_) {}
        ~section();
        section(const section&) = delete;
        section& operator=(const section&) = delete;

    private:
        core& of_;
        std::unique_lock<std::mutex> lock_;
    };
    friend class section;

    void finish(completion&& done, error_code ec) {
        if (done) finished_.emplace_back(std::move(done), ec);
    }
    /// Queues bytes for a peer; they leave with `flush_dirty`.
    void send(connection& to, std::string_view text);
    void send(connection& to, shared_text text);
    void mark_dirty(connection& c);
    /// Writes what is queued, one write per peer where the kernel takes it.
    void flush_dirty();
    /// Sees to it that the socket thread calls `flush_dirty` soon.
    void flush_soon();
    void write(connection& c);
    void watch(connection& c);
    /// A connection broke or was given up; the rest happens on the socket thread.
    void lose_soon(connection& c);

    local_registry& local() noexcept { return local_; }
    void give_everyone(local_registry::topic& t, const event& e, const std::shared_ptr<void>& room);
    bool give_group(
        local_registry::topic& t,
        std::string_view group,
        const event& e,
        std::uint64_t token,
        const std::shared_ptr<void>& room
    );
    /// Under which key an event to this topic and group is remembered; the same in every process.
    static std::uint64_t key_of(
        const event_id& id, std::string_view topic, std::string_view group
    ) noexcept;
    /// True when this event, marked as sent again, came before; otherwise it is noted.
    bool came_before(const event& e, std::string_view topic, std::string_view group, bool resent);
    /// Group events that this process got lately.
    const recent_ids& recent_group_events() const noexcept { return recent_in_groups_; }
    void announced(std::string_view topic, std::optional<std::string_view> group);
    void announce_all();
    /// Confirmed publishes of this process up to `number` are with every target, or failed.
    void confirmed(std::uint64_t number, error_code ec);
    /// Takes the path over from this client's broker, which is leaving and asks for it.
    void succeed();
    /// Publishes that never left an outbox come again, before everything that waits.
    void take_back(std::deque<outgoing>&& unwritten);
    boost::asio::any_io_executor io() { return io_->sockets(); }
    /// Runs `f(core&)` where the sockets are, unless the bus is gone by then: what is queued there
    /// must not keep the bus alive that owns the queue.
    template <class F>
    void post_to_sockets(F&& f) {
        boost::asio::post(io(), [bus = weak_from_this(), f = std::forward<F>(f)]() mutable {
            if (const auto self = bus.lock()) f(*self);
        });
    }
    std::int64_t now_ms() const noexcept {
        return context_->time().wall().time_since_epoch().count();
    }
    const std::string& member_id() const noexcept { return member_id_; }
    bool may_connect(int fd) const;
    /// Keeps a confirmed publish until its confirmation.
    void await_confirmation(outgoing&& out) { unconfirmed_.push_back(std::move(out)); }
    /// Logged once the mutex is free: a sink may use the bus.
    void note(
        log_level level, std::string_view text, std::initializer_list<log_field> fields = {}
    ) {
        if (context_->logs(level)) notes_.push_back({level, std::string(text), fields});
    }
    /// Counts and logs a group event that nobody is left for.
    void drop_group_event(std::string_view topic, std::string_view group);
    roster others;
    unix_socket_counters numbers;
    unsigned long long published = 0;
    unsigned long long unheard = 0;

    void log(log_level level, std::string_view text, std::initializer_list<log_field> fields = {})
        const {
        context_->log(level, text, fields);
    }

private:
    enum class phase { idle, joining, client, broker, closing, closed };

    void publish_locally(std::string_view topic, const event& e);
    bool accept_pending(outgoing&& out, completion& done, error_code& ec);
    void start_joining();
    /// `lost`: the broker has just gone.
    void run_join(bool lost);
    void become_client(unique_fd fd, const file_identity& file);
    void become_broker(socket_path::listener&& made);
    /// True when nobody wants the bus any more.
    bool join_failed(error_code ec);
    void look_for_broker(bool lost);
    void lose_link();
    void look_again(steady::time_point deadline);
    std::optional<socket_path::listener> take_path(const std::optional<file_identity>& old);
    bool restore_path();
    std::optional<file_identity> path_file() const;
    void watch_path();
    void hand_over(std::shared_ptr<void> done);
    void send_pending();
    void route_or_send(outgoing&& out);
    void set_phase(phase next);
    bool over() const noexcept { return phase_ == phase::closing || phase_ == phase::closed; }
    /// Nothing new is accepted.
    bool ending() const noexcept { return over() || closing_at_.has_value(); }

    void on_readable(const std::shared_ptr<connection>& c, bool ok);
    void take_in(const std::shared_ptr<connection>& c, connection::read_result got);
    void linger(const std::shared_ptr<connection>& c);
    bool process(const std::shared_ptr<connection>& c);
    void resume(const std::shared_ptr<connection>& c, std::uint64_t pause);
    void handle_line(
        connection& c, const frame& f, std::string_view line, std::shared_ptr<void>& room
    );
    std::shared_ptr<void> make_room(const std::shared_ptr<connection>& c);
    bool handle_parked(const std::shared_ptr<connection>& c, std::shared_ptr<void> room);
    void on_writable(const std::shared_ptr<connection>& c, bool ok);
    void lost(const std::shared_ptr<connection>& c);
    void end_turn();

    void tick();
    void arm_tick();
    void expire(steady::time_point now);
    void refuse_waiting(member& m, error_code ec);

    void redelivery_due(std::uint64_t number);
    void hand_on(
        const std::string& topic, const std::string& group, const event& e, std::uint64_t token
    );
    void mark_everything(const std::shared_ptr<void>& barrier);
    void flush_network(const std::shared_ptr<void>& barrier);
    void tear_down(completion done);
    void cut_short();
    void shut_down() noexcept;

    const unix_socket_options options_;
    const std::shared_ptr<bus_context> context_;
    const socket_path path_;
    const access_rules access_;
    const std::string member_id_;
    const std::shared_ptr<base::io_loop> io_;
    std::shared_ptr<flush_rounds> rounds_;

    mutable std::mutex mutex_;
    std::vector<std::pair<completion, error_code>> finished_;
    std::vector<std::shared_ptr<void>> released_;
    struct noted {
        log_level level;
        std::string text;
        std::vector<log_field> fields;
    };
    std::vector<noted> notes_;
    phase phase_ = phase::idle;
    std::condition_variable hurry_;  ///< ends a pause of `run_join` early
    local_registry local_;
    recent_ids recent_;
    recent_ids recent_in_groups_;
    std::unique_ptr<link> link_;
    std::unique_ptr<broker> broker_;
    std::vector<std::shared_ptr<connection>> dirty_;
    std::vector<std::shared_ptr<connection>> being_written_;
    bool flush_posted_ = false;
    steady::time_point last_direct_write_{};
    std::deque<outgoing> pending_;  ///< until there is a broker
    std::size_t pending_bytes_ = 0;
    std::deque<outgoing> unconfirmed_;  ///< sent, ascending numbers
    std::uint64_t last_number_ = 0;
    std::vector<std::pair<completion, steady::time_point>> join_waiters_;
    std::vector<std::pair<std::shared_ptr<void>, steady::time_point>> join_barriers_;
    std::optional<boost::asio::steady_timer> tick_timer_;
    std::optional<boost::asio::steady_timer> farewell_;
    std::optional<steady::time_point> closing_at_;  ///< close was called, and waits until then
    std::unique_ptr<file_lease_provider> leases_;
    bool looking_ = false;  ///< `run_join` is at work
    std::optional<boost::asio::posix::stream_descriptor> path_watch_;
    /// The path is this client's already, and its broker about to leave.
    std::optional<socket_path::listener> succession_;
    steady::time_point succession_until_{};
    std::optional<steady::time_point> absent_since_;  ///< of a client: there is nothing at the path

    struct redelivery {
        std::shared_ptr<member> to;
        event e;
        std::uint64_t token;
        std::unique_ptr<clock::wait> timer;
    };
    std::map<std::uint64_t, redelivery> redeliveries_;
    std::uint64_t last_redelivery_ = 0;

    std::mutex settled_mutex_;
    std::vector<std::uint64_t> settled_;  ///< tokens for the next report

    friend class broker;
    friend class link;
};

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
