#include <trunkline/caching_pubsub.hpp>
#include <trunkline/event_emitter_pubsub.hpp>
#include <trunkline/make_pubsub.hpp>
#ifdef TRUNKLINE_WITH_UNIX_SOCKET
#include <trunkline/unix_socket_pubsub.hpp>
#endif

#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <map>
#include <stdexcept>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN

namespace {

constexpr std::array<url_option, 3> memory_options = {{
    {"dispatch", "inline", "`inline`: handlers run in the publisher; `queued`: on the executor"},
    {"maxDeliveryAttempts",
     "5",
     "deliveries of an event to a group before it is given up; 0: no limit"},
    {"pendingLimit", "65536", "operations that may wait for a busy topic"},
}};

#ifdef TRUNKLINE_WITH_UNIX_SOCKET
constexpr std::array<url_option, 9> unix_options = {{
    {"membershipAckTimeoutMs", "5000", "how long a broker has to acknowledge a subscription"},
    {"maxInboundFrameBytes", "67108864", "largest frame that is read"},
    {"maxRemoteClientQueuedBytes", "67108864", "what may wait for one client of the broker"},
    {"brokerPathCheckIntervalMs",
     "250",
     "how often a process looks whether the path is still its broker's"},
    {"connectTimeoutMs", "5000", "how long a publish or subscribe waits for a broker"},
    {"pendingPublishes", "65536", "publishes that may wait for a broker or a confirmation"},
    {"clientOnly", "0", "`1`: never be the broker, for processes that live briefly"},
    {"groupId", "", "numeric id of a group that may use the bus; empty: this user only"},
    {"allowUsers", "", "numeric ids of further users, separated by commas"},
}};
#endif

constexpr std::array<url_option, 7> common_options = {{
    {"replay", "0", "`1`: keep history, so that subscribers can replay"},
    {"keyPrefix", "pubsub:", "in front of every cache key"},
    {"maxEvents", "100000", "events kept per topic"},
    {"maxSize", "1000", "topics and values kept"},
    {"maxBytes", "268435456", "bytes kept in all; 0: no limit"},
    {"ttlMs", "300000", "life of a topic's history after its last event; 0 or less: for ever"},
    {"gapTimeoutMs", "1000", "how long a replay waits for a missing predecessor"},
}};

constexpr auto known_backends = std::to_array<backend_description>({
    {"event_emitter_pubsub", "memory", "one process", "pull and push", memory_options},
#ifdef TRUNKLINE_WITH_UNIX_SOCKET
    {"unix_socket_pubsub", "unix", "processes of one host", "push", unix_options},
#endif
});

[[noreturn]] void refuse(std::string_view url, const std::string& why) {
    throw std::invalid_argument("bus URL \"" + std::string(url.substr(0, 256)) + "\": " + why);
}

// The query of a bus URL: every option is asked for once, and what nobody asked for is unknown.
class query {
public:
    query(std::string_view url, boost::urls::params_view params) : url_(url) {
        for (const auto& param : params) {
            if (!values_.emplace(param.key, param.value).second)
                refuse(url_, "option \"" + param.key + "\" is there twice");
        }
    }

    std::string text(std::string_view name) {
        const auto found = values_.find(name);
        if (found == values_.end()) return std::string(fallback(name));
        auto value = std::move(found->second);
        values_.erase(found);
        return value;
    }
    std::int64_t number(std::string_view name, std::int64_t least, std::int64_t most) {
        const auto value = text(name);
        std::int64_t parsed = 0;
        const auto* end = value.data() + value.size();
        const auto got = std::from_chars(value.data(), end, parsed);
        if (got.ec != std::errc{} || got.ptr != end || parsed < least || parsed > most)
            refuse(
                url_,
                "option \"" + std::string(name) + "\" is \"" + value + "\": want a number from " +
                    std::to_string(least) + " to " + std::to_string(most)
            );
        return parsed;
    }
    std::size_t size(std::string_view name, std::int64_t least) {
        return static_cast<std::size_t>(
            number(name, least, std::numeric_limits<std::int64_t>::max())
        );
    }
    std::string choice(std::string_view name, std::initializer_list<std::string_view> allowed) {
        auto value = text(name);
        std::string want;
        for (const auto a : allowed) {
            if (value == a) return value;
            want.append(want.empty() ? "" : " or ").append(a);
        }
        refuse(url_, "option \"" + std::string(name) + "\" is \"" + value + "\": want " + want);
    }
    void expect_nothing_left() const {
        if (!values_.empty()) refuse(url_, "unknown option \"" + values_.begin()->first + "\"");
    }

private:
    static std::string_view fallback(std::string_view name) {
        for (const auto& backend : known_backends) {
            for (const auto& o : backend.options) {
                if (o.name == name) return o.fallback;
            }
        }
        for (const auto& o : common_options) {
            if (o.name == name) return o.fallback;
        }
        return {};
    }

    std::string_view url_;
    std::map<std::string, std::string, std::less<>> values_;
};

std::shared_ptr<pubsub> make_memory(
    std::string_view url, const boost::urls::url_view& parts, query& q, const bus_environment& env
) {
    if (!parts.encoded_path().empty() || parts.has_authority())
        refuse(url, "\"memory:\" has no host and no path");
    event_emitter_options options;
    options
        .dispatch(
            q.choice("dispatch", {"inline", "queued"}) == "queued" ? dispatch_mode::queued
                                                                   : dispatch_mode::inlined
        )
        .max_delivery_attempts(static_cast<std::uint32_t>(
            q.number("maxDeliveryAttempts", 0, std::numeric_limits<std::uint32_t>::max())
        ))
        .pending_limit(q.size("pendingLimit", 1))
        .executor(env.executor)
        .logger(env.logger)
        .clock(env.clock);
    return std::make_shared<event_emitter_pubsub>(std::move(options));
}

#ifdef TRUNKLINE_WITH_UNIX_SOCKET
std::vector<std::uint32_t> ids(std::string_view url, std::string_view name, std::string_view list) {
    std::vector<std::uint32_t> out;
    while (!list.empty()) {
        const auto comma = std::min(list.find(','), list.size());
        std::uint32_t id = 0;
        const auto got = std::from_chars(list.data(), list.data() + comma, id);
        if (got.ec != std::errc{} || got.ptr != list.data() + comma)
            refuse(
                url,
                "option \"" + std::string(name) + "\" is \"" + std::string(list) +
                    "\": want numeric ids separated by commas"
            );
        out.push_back(id);
        list.remove_prefix(std::min(comma + 1, list.size()));
    }
    return out;
}

std::shared_ptr<pubsub> make_unix(
    std::string_view url, const boost::urls::url_view& parts, query& q, const bus_environment& env
) {
    using std::chrono::milliseconds;
    constexpr std::int64_t day = 86'400'000;
    if (parts.has_authority()) refuse(url, "\"unix:\" has no host; write unix:/path/to/bus.sock");
    const auto path = std::string(parts.path());
    if (path.empty()) refuse(url, "\"unix:\" needs the path of a socket");
    unix_socket_options options(path);
    options.membership_ack_timeout(milliseconds{q.number("membershipAckTimeoutMs", 1, day)})
        .max_inbound_frame_bytes(q.size("maxInboundFrameBytes", 1))
        .max_remote_client_queued_bytes(q.size("maxRemoteClientQueuedBytes", 1))
        .broker_path_check_interval(milliseconds{q.number("brokerPathCheckIntervalMs", 1, day)})
        .connect_timeout(milliseconds{q.number("connectTimeoutMs", 1, day)})
        .pending_limit(q.size("pendingPublishes", 1))
        .client_only(q.choice("clientOnly", {"0", "1"}) == "1")
        .allow_users(ids(url, "allowUsers", q.text("allowUsers")))
        .executor(env.executor)
        .logger(env.logger)
        .clock(env.clock);
    const auto groups = ids(url, "groupId", q.text("groupId"));
    if (groups.size() > 1) refuse(url, "option \"groupId\" takes one id");
    if (!groups.empty()) options.group_access(groups.front());
    return std::make_shared<unix_socket_pubsub>(std::move(options));
}
#endif

std::shared_ptr<pubsub> with_replay(
    std::shared_ptr<pubsub> inner, query& q, const bus_environment& env
) {
    using std::chrono::milliseconds;
    constexpr auto lowest = std::numeric_limits<std::int64_t>::min();
    constexpr auto highest = std::numeric_limits<std::int64_t>::max();
    const bool replay = q.choice("replay", {"0", "1"}) == "1";
    memory_cache_options keep;
    keep.max_events(q.size("maxEvents", 1))
        .max_size(q.size("maxSize", 1))
        .max_bytes(q.size("maxBytes", 0))
        .ttl(milliseconds{q.number("ttlMs", lowest, highest)})
        .clock(env.clock);
    caching_options options;
    options.key_prefix(q.text("keyPrefix"))
        .gap_timeout(milliseconds{q.number("gapTimeoutMs", 0, 86'400'000)})
        .logger(env.logger)
        .clock(env.clock);
    if (!replay) return inner;
    auto cache =
        env.cache != nullptr ? env.cache : std::make_shared<memory_server_cache>(std::move(keep));
    return std::make_shared<caching_pubsub>(std::move(inner), std::move(cache), std::move(options));
}

}  // namespace

std::span<const backend_description> backends() noexcept {
    return known_backends;
}

std::span<const url_option> replay_options() noexcept {
    return common_options;
}

std::shared_ptr<pubsub> make_pubsub(std::string_view url, bus_environment environment) {
    const auto parsed = boost::urls::parse_uri(boost::core::string_view(url.data(), url.size()));
    if (parsed.has_error()) refuse(url, "not a URL; try \"memory:\"");
    const auto& parts = *parsed;
    if (parts.has_fragment()) refuse(url, "a fragment has no meaning here");
    const std::string scheme(parts.scheme());
    query q(url, parts.params());
    std::shared_ptr<pubsub> bus;
    if (scheme == "memory") bus = make_memory(url, parts, q, environment);
#ifdef TRUNKLINE_WITH_UNIX_SOCKET
    if (scheme == "unix") bus = make_unix(url, parts, q, environment);
#endif
    if (bus == nullptr) {
        std::string known;
        for (const auto& b : known_backends)
            known.append(known.empty() ? "" : ", ").append(b.scheme);
        refuse(url, "unknown scheme \"" + scheme + "\"; this program has: " + known);
    }
    bus = with_replay(std::move(bus), q, environment);
    q.expect_nothing_left();
    return bus;
}

TRUNKLINE_NAMESPACE_END
