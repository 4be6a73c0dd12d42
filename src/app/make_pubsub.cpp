#include <trunkline/caching_pubsub.hpp>
#include <trunkline/event_emitter_pubsub.hpp>
#include <trunkline/make_pubsub.hpp>

#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include <array>
#include <charconv>
#include <limits>
#include <map>
#include <stdexcept>

TRUNKLINE_NAMESPACE_BEGIN

namespace {

constexpr std::array<url_option, 3> memory_options = {{
    {"dispatch", "inline", "`inline`: handlers run in the publisher; `queued`: on the executor"},
    {"maxDeliveryAttempts",
     "5",
     "deliveries of an event to a group before it is given up; 0: no limit"},
    {"pendingLimit", "65536", "operations that may wait for a busy topic"},
}};

constexpr std::array<url_option, 7> common_options = {{
    {"replay", "0", "`1`: keep history, so that subscribers can replay"},
    {"keyPrefix", "pubsub:", "in front of every cache key"},
    {"maxEvents", "100000", "events kept per topic"},
    {"maxSize", "1000", "topics and values kept"},
    {"maxBytes", "268435456", "bytes kept in all; 0: no limit"},
    {"ttlMs", "300000", "life of a topic's history after its last event; 0 or less: for ever"},
    {"gapTimeoutMs", "1000", "how long a replay waits for a missing predecessor"},
}};

constexpr std::array<backend_description, 1> known_backends = {{
    {"event_emitter_pubsub", "memory", "one process", "pull and push", memory_options},
}};

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
    if (std::string_view(parts.scheme().data(), parts.scheme().size()) != "memory")
        refuse(
            url, "unknown scheme \"" + std::string(parts.scheme()) + "\"; this program has: memory"
        );
    query q(url, parts.params());
    auto bus = make_memory(url, parts, q, environment);
    bus = with_replay(std::move(bus), q, environment);
    q.expect_nothing_left();
    return bus;
}

TRUNKLINE_NAMESPACE_END
