#pragma once

#include <trunkline/pubsub.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace trunkline_cli {

#ifdef TRUNKLINE_WITH_UNIX_SOCKET
inline constexpr bool has_unix_buses = true;
#else
inline constexpr bool has_unix_buses = false;
#endif

/// The bus that this user's processes share when nobody names another: its socket is
/// `$XDG_RUNTIME_DIR/trunkline/bus.sock`, or `/tmp/trunkline-UID/bus.sock` where that variable is
/// unset or names no directory.
std::string user_bus_url();

/// The socket's path in a `unix:` URL; nothing for other URLs.
std::optional<std::string> unix_path(std::string_view url);
/// The same for a command that needs one; throws usage_error naming the command otherwise.
std::string needed_unix_path(std::string_view command, std::string_view url);

/// Joins a bus that was made from a `unix:` URL; completes with void(error_code) as
/// `unix_socket_pubsub::async_join` does. `not_supported` on other buses.
void join_unix(trunkline::pubsub& bus, trunkline::completion done);
/// "broker", "client" or "none"; "none" on other buses.
std::string_view unix_role(trunkline::pubsub& bus);

}  // namespace trunkline_cli
