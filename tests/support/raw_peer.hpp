#pragma once

#include <trunkline/config.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace tests {

/// A peer on a Unix socket that reads and writes lines as they are.
class raw_peer {
public:
    explicit raw_peer(const std::string& path) : fd_(open()) {
        const auto to = address(path);
        if (::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0)
            throw std::runtime_error("connect " + path + ": " + std::strerror(errno));
    }
    raw_peer(raw_peer&& other) noexcept
        : fd_(std::exchange(other.fd_, -1)), read_(std::move(other.read_)) {}
    raw_peer& operator=(raw_peer&&) = delete;
    ~raw_peer() {
        if (fd_ >= 0) ::close(fd_);
    }

    void send(const std::string& line) { send_raw(line + "\n"); }
    /// A peer that was disconnected loses the rest, as it should.
    void send_raw(const std::string& bytes) {
        std::size_t sent = 0;
        while (sent < bytes.size()) {
            const auto n = ::send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
            if (n <= 0) return;
            sent += static_cast<std::size_t>(n);
        }
    }
    /// The next line; empty, and a failure, when none comes in time or the stream ends.
    std::string line() {
        for (;;) {
            if (const auto at = read_.find('\n'); at != std::string::npos) {
                auto out = read_.substr(0, at);
                read_.erase(0, at + 1);
                return out;
            }
            if (fill() <= 0) {
                ADD_FAILURE() << "no line came";
                return {};
            }
        }
    }
    /// True when the other side ends the stream, with nothing sent before.
    bool ended() { return fill() == 0; }
    bool ended_after_reading() {
        for (;;) {
            const auto n = fill();
            if (n <= 0) return n == 0;
            read_.clear();
        }
    }

    /// Leaves a socket file behind at which nobody listens.
    static void listen_and_leave(const std::string& path) { ::close(listen(path)); }

    /// Accepts one client and reads what it says without ever answering.
    class silent_broker {
    public:
        explicit silent_broker(const std::string& path) : listener_(listen(path)) {
            thread_ = std::thread([this] {
                client_ = ::accept(listener_, nullptr, nullptr);
                char bytes[4096];
                while (::recv(client_, bytes, sizeof bytes, 0) > 0) {
                }
            });
        }
        ~silent_broker() {
            ::shutdown(listener_, SHUT_RDWR);
            ::shutdown(client_, SHUT_RDWR);
            thread_.join();
            ::close(client_);
            ::close(listener_);
        }
        silent_broker(const silent_broker&) = delete;
        silent_broker& operator=(const silent_broker&) = delete;
        void send(const std::string& line) {
            const auto bytes = line + "\n";
            EXPECT_EQ(
                ::send(client_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(bytes.size())
            );
        }

    private:
        int listener_;
        std::atomic<int> client_{-1};
        std::thread thread_;
    };

private:
    static constexpr int patience_ms = 20'000;

    static int open() {
        const auto fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) throw std::runtime_error("no socket");
        return fd;
    }
    static sockaddr_un address(const std::string& path) {
        sockaddr_un to{};
        to.sun_family = AF_UNIX;
        std::strncpy(to.sun_path, path.c_str(), sizeof to.sun_path - 1);
        return to;
    }
    static int listen(const std::string& path) {
        const auto fd = open();
        const auto at = address(path);
        if (::bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
            ::listen(fd, 16) != 0)
            throw std::runtime_error("bind " + path);
        return fd;
    }
    // Bytes read, 0 at the end of the stream, -1 when nothing comes in time.
    ssize_t fill() {
        pollfd p{fd_, POLLIN, 0};
        if (::poll(&p, 1, patience_ms) != 1) return -1;
        char bytes[65536];
        const auto n = ::recv(fd_, bytes, sizeof bytes, 0);
        if (n > 0) read_.append(bytes, static_cast<std::size_t>(n));
        return n < 0 && errno == ECONNRESET ? 0 : n;
    }

    int fd_;
    std::string read_;
};

}  // namespace tests
TRUNKLINE_NAMESPACE_END
