#include "common_options.hpp"

#include "console.hpp"
#include "unix_bus.hpp"

#include <trunkline/logger.hpp>
#include <trunkline/make_pubsub.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdlib>

namespace trunkline_cli {

const char* default_help(default_bus kind) {
    if (kind == default_bus::memory || !has_unix_buses) return "memory:";
    return "unix: at $XDG_RUNTIME_DIR/trunkline/bus.sock or, where there is no such directory, at "
           "/tmp/trunkline-UID/bus.sock";
}

void add_common_options(CLI::App& parser, common_options& options, const char* default_help) {
    parser
        .add_option(
            "--bus",
            options.bus,
            std::string("Where the events go, with options in the query, e.g. memory:?replay=1 or "
                        "unix:/path/to/bus.sock [default: the environment's TRUNKLINE_BUS, else ") +
                default_help + ']'
        )
        ->type_name("URL")
        ->group("Common options");
    parser
        .add_option(
            "--log-level",
            options.log_level,
            "What is logged on standard error: debug, info, warn, error or off [default: warn]"
        )
        ->type_name("LEVEL")
        ->check([](const std::string& name) {
            try {
                trunkline::log_level_from(name);
                return std::string();
            } catch (const std::invalid_argument& problem) {
                return std::string(problem.what());
            }
        })
        ->group("Common options");
}

std::string bus_url(const common_options& options, default_bus otherwise) {
    if (options.bus) return *options.bus;
    const char* from_environment = std::getenv("TRUNKLINE_BUS");
    if (from_environment != nullptr && *from_environment != '\0') return from_environment;
    return otherwise == default_bus::memory || !has_unix_buses ? "memory:" : user_bus_url();
}

std::shared_ptr<trunkline::pubsub> open_bus(
    const std::string& url, const common_options& options, std::string_view default_level
) {
    trunkline::bus_environment environment;
    const auto level = trunkline::log_level_from(
        options.log_level ? std::string_view(*options.log_level) : default_level
    );
    environment.logger = environment.logger.with_level(level);
    return trunkline::make_pubsub(url, std::move(environment));
}

void say_when_alone(const trunkline::pubsub& bus) {
    if (bus.traits().cross_process) return;
    say("note: this bus is in this process only, no other process can hear it; "
        "`trunkline pipe` publishes and subscribes in one");
}

std::optional<std::string_view> url_option(std::string_view url, std::string_view name) {
    const auto query = url.find('?');
    if (query == std::string_view::npos) return std::nullopt;
    url.remove_prefix(query + 1);
    while (!url.empty()) {
        const auto end = url.find('&');
        const auto pair = url.substr(0, end);
        const auto equals = pair.find('=');
        if (pair.substr(0, equals) == name)
            return equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
        url.remove_prefix(end == std::string_view::npos ? url.size() : end + 1);
    }
    return std::nullopt;
}

std::string with_url_option(std::string url, std::string_view name, std::string_view value) {
    url.push_back(url.find('?') == std::string::npos ? '?' : '&');
    return url.append(name).append("=").append(value);
}

std::string without_url_option(std::string_view url, std::string_view name) {
    const auto query = url.find('?');
    std::string rest(url.substr(0, query));
    if (query == std::string_view::npos) return rest;
    char before = '?';
    for (url.remove_prefix(query + 1); !url.empty();) {
        const auto end = std::min(url.find('&'), url.size());
        const auto pair = url.substr(0, end);
        if (pair.substr(0, pair.find('=')) != name) {
            rest.push_back(before);
            rest.append(pair);
            before = '&';
        }
        url.remove_prefix(std::min(end + 1, url.size()));
    }
    return rest;
}

}  // namespace trunkline_cli
