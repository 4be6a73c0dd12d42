#pragma once

#include <trunkline/config.hpp>
#include <trunkline/errc.hpp>

#include <optional>
#include <string>
#include <sys/types.h>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// A file descriptor with an owner.
class unique_fd {
public:
    unique_fd() noexcept = default;
    explicit unique_fd(int fd) noexcept : fd_(fd) {}
    unique_fd(unique_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    unique_fd& operator=(unique_fd other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~unique_fd();

    explicit operator bool() const noexcept { return fd_ >= 0; }
    int get() const noexcept { return fd_; }
    int release() noexcept { return std::exchange(fd_, -1); }

private:
    int fd_ = -1;
};

/// Which file a path names at the moment.
struct file_identity {
    dev_t device = 0;
    ino_t inode = 0;
    friend bool operator==(const file_identity&, const file_identity&) = default;
};
std::optional<file_identity> identity_of(const std::string& path);

/// Who may connect, and which modes the directory (when it is created) and the socket get.
struct access_rules {
    mode_t directory_mode = 0700;
    mode_t socket_mode = 0600;
    std::optional<gid_t> group;  ///< owner of socket and directory, when access is shared with it
};

/// The socket's path and the files beside it. A path longer than the kernel's 108 bytes names the
/// socket by its first 108, as the reference's runtime does; the files beside it use all of it.
class socket_path {
public:
    explicit socket_path(std::string path);

    const std::string& text() const noexcept { return path_; }
    /// Where the socket really is.
    const std::string& effective() const noexcept { return effective_; }
    std::string directory() const;
    std::string election_lock() const { return path_ + ".elect"; }
    std::string guard() const { return path_ + ".lock"; }

    error_code create_directory(const access_rules& access) const;

    struct connection {
        unique_fd fd;  ///< non-blocking
        file_identity file;
        error_code error;
    };
    /// Connects without waiting. Errors are the system's.
    connection connect() const;

    struct listener {
        unique_fd fd;
        file_identity file;
        bool overtaken = false;  ///< another process filled or changed the path
        error_code error;
    };
    /// Listens under a temporary name and moves that into place: without replacing anything where
    /// the path is absent, and where it is there only over the file that just refused (`refused`).
    listener install(const std::optional<file_identity>& refused, const access_rules& access) const;

    /// Readable, without waiting, when something in the directory came, went or was renamed. Empty
    /// where the kernel has no more of these.
    unique_fd watch_directory() const;
    /// Reads what such a descriptor has; true when the socket's own name was among it.
    bool concerns_socket(int watch) const;
    /// Removes the socket if it is still that file.
    void remove(const file_identity& own) const;

private:
    std::string path_;
    std::string effective_;
};

/// Takes the guard without waiting; it is free again when the descriptor is closed.
unique_fd take_guard(const std::string& path, error_code& error);

/// The exclusive file of the reference's election.
class election_lock {
public:
    enum class state { created, exists, stale, failed };
    explicit election_lock(std::string path) : path_(std::move(path)) {}
    ~election_lock() { release(); }
    election_lock(const election_lock&) = delete;
    election_lock& operator=(const election_lock&) = delete;

    /// `stale`: older than `election::lock_stale_after`, or it cannot be examined.
    state create(error_code& error);
    void remove_stale() const;
    /// Removes it if it is still the one created here.
    void release() noexcept;

private:
    std::string path_;
    std::optional<file_identity> own_;
};

struct peer_credentials {
    pid_t pid = 0;
    uid_t user = 0;
    gid_t group = 0;
};
std::optional<peer_credentials> credentials_of(int fd);

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
