#pragma once

#include "parser_fwd.hpp"

#include <trunkline/pubsub.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace trunkline_cli {

/// What every command that uses a bus understands; may stand before or after the command's name.
struct common_options {
    std::optional<std::string> bus;
    std::optional<std::string> log_level;
};

/// Which bus a command uses when neither `--bus` nor TRUNKLINE_BUS names one: the user's own on
/// this host (see `user_bus_url`), or `memory:`.
enum class default_bus { user, memory };

/// `default_help` says which bus that is.
void add_common_options(CLI::App& parser, common_options& options, const char* default_help);
/// The text for a command's own kind of default.
const char* default_help(default_bus kind);

/// `--bus`, else TRUNKLINE_BUS, else the default.
std::string bus_url(const common_options& options, default_bus otherwise = default_bus::user);
/// Throws std::invalid_argument naming what is wrong with the URL.
std::shared_ptr<trunkline::pubsub> open_bus(
    const std::string& url, const common_options& options, std::string_view default_level = "warn"
);
/// Says so on standard error when no other process can be on this bus.
void say_when_alone(const trunkline::pubsub& bus);

/// The value of an option in a URL's query, undecoded.
std::optional<std::string_view> url_option(std::string_view url, std::string_view name);
std::string with_url_option(std::string url, std::string_view name, std::string_view value);
std::string without_url_option(std::string_view url, std::string_view name);

}  // namespace trunkline_cli
