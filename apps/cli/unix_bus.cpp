#include "unix_bus.hpp"

#include "exit_code.hpp"

#ifdef TRUNKLINE_WITH_UNIX_SOCKET
#include <trunkline/unix_socket_pubsub.hpp>
#endif

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace trunkline_cli {

namespace {

constexpr std::string_view scheme = "unix:";

// What a URL's path may hold as it is.
bool stays(unsigned char c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    return letter || std::string_view("/-._~").find(static_cast<char>(c)) != std::string_view::npos;
}

std::string encoded(std::string_view path) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string out;
    for (const char c : path) {
        const auto byte = static_cast<unsigned char>(c);
        if (stays(byte))
            out.push_back(c);
        else
            out.append({'%', digits[byte >> 4U], digits[byte & 15U]});
    }
    return out;
}

std::string decoded(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        unsigned value = 0;
        const auto* digits = text.data() + i + 1;
        if (text[i] == '%' && i + 2 < text.size() &&
            std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2) {
            out.push_back(static_cast<char>(value));
            i += 2;
        } else {
            out.push_back(text[i]);
        }
    }
    return out;
}

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
    return std::string(scheme) + encoded(user_bus_path());
}

std::optional<std::string> unix_path(std::string_view url) {
    if (!has_unix_buses || !url.starts_with(scheme)) return std::nullopt;
    url.remove_prefix(scheme.size());
    return decoded(url.substr(0, url.find('?')));
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
