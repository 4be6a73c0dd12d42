#include "common_options.hpp"

#include "console.hpp"

#include <trunkline/logger.hpp>
#include <trunkline/make_pubsub.hpp>

#include <CLI/CLI.hpp>

#include <cstdlib>

namespace trunkline_cli {

void add_common_options(CLI::App& parser, common_options& options) {
    parser
        .add_option(
            "--bus",
            options.bus,
            "Where the events go, with options in the query, e.g. memory:?replay=1 "
            "[default: the environment's TRUNKLINE_BUS, else memory:]"
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

std::string bus_url(const common_options& options) {
    if (options.bus) return *options.bus;
    const char* from_environment = std::getenv("TRUNKLINE_BUS");
    if (from_environment != nullptr && *from_environment != '\0') return from_environment;
    return "memory:";
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

}  // namespace trunkline_cli
