#pragma once

#include "node_script.hpp"

#include <boost/json.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace interop {

namespace json = boost::json;

/// Why there is no reference to test against; empty when there is one.
const std::string& no_reference();
/// "@mastra/core 1.71.0, node v22.23.3"
const std::string& reference_version();

/// An event as the reference's subscriber got it. Values are in the notation of mastra_peer.mjs.
struct mastra_event {
    int subscription = 0;
    std::string topic;
    std::optional<std::string> group;
    std::string type, run_id, id;
    json::value created_at;
    int delivery_attempt = 0;
    std::optional<std::int64_t> index;
    json::value data;
    json::object extra;  ///< every other field

    /// The data as text; two are equal when types, values and order are.
    std::string data_text() const { return json::serialize(data); }
};

/// What a subscriber of the reference does with each event.
struct mastra_subscriber {
    std::optional<std::string> group = std::nullopt;
    std::string mode = "none";                        ///< none, ack, nack or throw
    std::optional<int> times = std::nullopt;          ///< so often per event; then it acknowledges
    bool quiet = false;                               ///< count only
    std::optional<std::int64_t> from = std::nullopt;  ///< replay from this index
};

struct mastra_counts {
    std::int64_t count = 0, different = 0, inversions = 0;
};

struct mastra_role {
    bool broker = false;
    int clients = 0;
};

struct mastra_options {
    bool replay = false;  ///< a CachingPubSub in front
    std::optional<std::size_t> max_remote_client_queued_bytes = std::nullopt;
    std::optional<std::size_t> max_inbound_frame_bytes = std::nullopt;
    std::optional<int> membership_ack_timeout_ms = std::nullopt;
};

/// A process of the reference on the Unix socket at a path. Whatever does not happen in time, and
/// every command that the reference refuses, throws std::runtime_error with the peer's standard
/// error. The process is killed when the object goes, which leaves the socket file to others.
/// Threading: one thread at a time.
class mastra_peer {
public:
    using milliseconds = std::chrono::milliseconds;

    explicit mastra_peer(std::string path, const mastra_options& options = {});

    /// Answers with the subscription's number.
    int subscribe(std::string_view topic, const mastra_subscriber& how = {});
    void unsubscribe(int subscription);
    /// `event` is JSON in the notation: type, runId, data and whatever else.
    void publish(std::string_view topic, std::string_view event);
    /// Publishes data {"seq":N,"text":...} with `first` and following as N.
    void publish_many(std::string_view topic, std::int64_t count, std::int64_t first = 0);
    void flush();
    void close();
    mastra_role role();
    /// Waits until it is broker or not, and if told so has that many clients.
    mastra_role wait_for_role(bool broker, std::optional<int> clients = std::nullopt);
    /// Waits until a subscription has received that many events.
    mastra_counts wait_for_count(int subscription, std::int64_t count);
    std::vector<mastra_event> history(std::string_view topic, std::int64_t from = 0);

    /// Sends a command and does not wait; its number.
    int send(std::string_view name, json::object command = {});
    /// Waits for the answer to a command.
    json::object answer(int number);
    json::object call(std::string_view name, json::object command = {});

    /// The events that came until now, of all subscriptions, oldest first.
    const std::vector<mastra_event>& events();
    /// Waits until there are that many.
    const std::vector<mastra_event>& wait_for_events(std::size_t count);
    /// The same, but answers false when they do not come in time.
    bool has_events(std::size_t count, milliseconds within);

    /// Ends it as a crash would, and waits for that.
    void kill_9();
    /// Lets it close the bus and ends it.
    void stop();
    /// A suspended process keeps its sockets and answers nothing.
    void suspend();
    void resume();

    pid_t pid() const { return process_.pid(); }
    std::string errors() const { return process_.errors(); }

private:
    template <class Done>
    bool read_until(deadline until, Done done);
    void take(std::string_view line);
    [[noreturn]] void fail(std::string_view what) const;

    std::string path_;
    node_process process_;
    int last_number_ = 0;
    bool ready_ = false;
    std::map<int, std::string> pending_;  // commands without an answer yet, by number
    std::map<int, json::object> answers_;
    std::vector<mastra_event> events_;
};

}  // namespace interop
