#pragma once

#include <trunkline/clock.hpp>
#include <trunkline/config.hpp>
#include <trunkline/logger.hpp>
#include <trunkline/pubsub.hpp>
#include <trunkline/server_cache.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN

/// What a bus built from a URL shares with the program around it; all optional.
struct bus_environment {
    bus_environment() {}
    boost::asio::any_io_executor executor;  ///< default: a thread of the bus's own
    trunkline::logger logger;
    std::shared_ptr<trunkline::clock> clock;
    std::shared_ptr<server_cache> cache;  ///< for replay=1; default: one in memory
};

/// One option that a URL's query may carry.
struct url_option {
    std::string_view name;      ///< camelCase, as the reference spells it
    std::string_view fallback;  ///< what holds when it is absent
    std::string_view meaning;
};

/// One backend that a URL can name.
struct backend_description {
    std::string_view name;    ///< class name
    std::string_view scheme;  ///< without the colon
    std::string_view scope;
    std::string_view modes;
    std::span<const url_option> options;
};

/// Backends built into this program, in the order of the documentation.
TRUNKLINE_EXPORT std::span<const backend_description> backends() noexcept;
/// Options that every backend's URL takes: `replay` and what belongs to it.
TRUNKLINE_EXPORT std::span<const url_option> replay_options() noexcept;

/// Builds a bus from a URL: `memory:` or `unix:/path/to/bus.sock`, with options in the query, for
/// instance `memory:?dispatch=queued&replay=1`. Throws std::invalid_argument naming an unknown
/// scheme, an unknown option or a value out of range.
TRUNKLINE_EXPORT std::shared_ptr<pubsub> make_pubsub(
    std::string_view url, bus_environment environment = {}
);

TRUNKLINE_NAMESPACE_END
