#pragma once

#include <trunkline/config.hpp>

#include <array>
#include <cerrno>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>
#include <system_error>
#include <unistd.h>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace tests {

/// A Unix socket that speaks in lines, as they are; one that listens accepts others. What does not
/// happen within a generous time throws std::runtime_error.
class raw_peer {
public:
    explicit raw_peer(const std::string& path) : raw_peer(open()) {
        const auto to = address_of(path);
        check(::connect(number_, as_sockaddr(to), sizeof to), "connect");
    }
    static raw_peer listening(const std::string& path) {
        raw_peer made(open());
        const auto at = address_of(path);
        made.check(::bind(made.number_, as_sockaddr(at), sizeof at), "bind");
        made.check(::listen(made.number_, 16), "listen");
        return made;
    }
    /// Leaves a socket file behind at which nobody listens.
    static void listen_and_leave(const std::string& path) { listening(path); }
    raw_peer(raw_peer&& other) noexcept
        : number_(std::exchange(other.number_, -1)), read_(std::move(other.read_)) {}
    raw_peer& operator=(raw_peer&&) = delete;
    ~raw_peer() {
        if (number_ >= 0) ::close(number_);
    }

    raw_peer accept() {
        if (!readable()) throw std::runtime_error("nobody connected in time");
        return raw_peer(::accept4(number_, nullptr, nullptr, SOCK_CLOEXEC));
    }

    void send(std::string_view line) { send_raw(std::string(line) + "\n"); }
    /// A peer that was disconnected loses the rest, as it should.
    void send_raw(std::string_view bytes) {
        while (!bytes.empty()) {
            const auto sent = ::send(number_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) return;
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        }
    }
    /// The next line, without its line feed.
    std::string line() {
        for (;;) {
            if (const auto end = read_.find('\n'); end != std::string::npos) {
                auto out = read_.substr(0, end);
                read_.erase(0, end + 1);
                return out;
            }
            if (!fill()) throw std::runtime_error("the other side closed, left: " + read_);
        }
    }
    /// True when the other side ends the stream without having sent anything more.
    bool ended() { return !fill(); }
    bool ended_after_reading() {
        while (fill()) read_.clear();
        return true;
    }

private:
    explicit raw_peer(int number) : number_(number) { check(number, "socket"); }

    static int open() { return ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); }
    static sockaddr_un address_of(const std::string& path) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(&address.sun_path[0], sizeof address.sun_path - 1);
        return address;
    }
    static const sockaddr* as_sockaddr(const sockaddr_un& address) {
        return reinterpret_cast<const sockaddr*>(&address);
    }
    void check(int result, const char* what) const {
        if (result < 0) throw std::system_error(errno, std::generic_category(), what);
    }
    bool readable() const {
        constexpr int time_max_ms = 20'000;
        pollfd watched{.fd = number_, .events = POLLIN, .revents = 0};
        return ::poll(&watched, 1, time_max_ms) == 1;
    }
    // False at the end of the stream.
    bool fill() {
        if (!readable()) throw std::runtime_error("nothing in time, so far: " + read_);
        std::array<char, 65536> chunk{};
        const auto size = ::recv(number_, chunk.data(), chunk.size(), 0);
        if (size < 0 && errno == ECONNRESET) return false;
        check(static_cast<int>(size), "recv");
        read_.append(chunk.data(), static_cast<std::size_t>(size));
        return size > 0;
    }

    int number_;
    std::string read_;
};

}  // namespace tests
TRUNKLINE_NAMESPACE_END
