#include "unix_bus.hpp"

#include "exit_code.hpp"

#ifdef TRUNKLINE_WITH_UNIX_SOCKET
#include <trunkline/unix_socket_pubsub.hpp>
#endif

#include <boost/url/parse.hpp>
#include <boost/url/url.hpp>
#include <boost/url/url_view.hpp>

#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace trunkline_cli {

namespace {

constexpr boost::core::string_view scheme = "unix";

std::string user_bus_path() {
    const char* runtime = std::getenv("XDG_RUNTIME_DIR");
    std::error_code unknown;
    if (runtime != nullptr && *runtime == '/' && std::filesystem::is_directory(runtime, unknown)) {
        // Two slashes in front would make the path a host's name in a URL.
        std::string_view folder = runtime;
        while (folder.starts_with("//")) folder.remove_prefix(1);
        while (folder.ends_with('/')) folder.remove_suffix(1);
        return std::string(folder) + "/trunkline/bus.sock";
    }
    return "/tmp/trunkline-" + std::to_string(::getuid()) + "/bus.sock";
}

}  // namespace

std::string user_bus_url() {
    boost::urls::url url;
    url.set_scheme(scheme).set_path(user_bus_path());
    return std::string(url.buffer());
}

std::optional<std::string> unix_path(std::string_view url) {
    const auto parsed = boost::urls::parse_uri({url.data(), url.size()});
    if (!has_unix_buses || !parsed || parsed->scheme() != scheme) return std::nullopt;
    return parsed->path();
}

std::string needed_unix_path(std::string_view command, std::string_view url) {
    auto path = unix_path(url);
    if (path) return std::move(*path);
    throw usage_error(
        std::string(command) + ": needs a bus across processes, unix:/path/to/bus.sock; this is " +
        std::string(url)
    );
}

#ifdef TRUNKLINE_WITH_UNIX_SOCKET

void join_unix(trunkline::pubsub& bus, trunkline::completion done) {
    if (auto* known = dynamic_cast<trunkline::unix_socket_pubsub*>(&bus))
        known->async_join(std::move(done));
    else
        done(trunkline::errc::not_supported);
}

std::string_view unix_role(trunkline::pubsub& bus) {
    const auto* known = dynamic_cast<trunkline::unix_socket_pubsub*>(&bus);
    const auto role = known != nullptr ? known->role() : trunkline::bus_role::none;
    if (role == trunkline::bus_role::broker) return "broker";
    return role == trunkline::bus_role::client ? "client" : "none";
}

#else

void join_unix(trunkline::pubsub&, trunkline::completion done) {
    done(trunkline::errc::not_supported);
}

std::string_view unix_role(trunkline::pubsub&) {
    return "none";
}

#endif

}  // namespace trunkline_cli
