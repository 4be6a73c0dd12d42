#include "unix_health.hpp"

#include <trunkline/clock.hpp>

#include <boost/system/system_error.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <optional>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

#ifdef TRUNKLINE_WITH_UNIX_SOCKET
#include <trunkline/unix_socket_leases.hpp>
#endif

namespace trunkline_cli {

namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr std::size_t address_bytes_max = sizeof(sockaddr_un::sun_path);
// An election takes milliseconds; its files count as left behind when they are older than this.
constexpr milliseconds fresh_for{2000};
// A live broker may refuse for a moment.
constexpr int refusals_max = 5;
constexpr mode_t everybody_else = 077;
constexpr mode_t strangers = 07;

class descriptor {
public:
    explicit descriptor(int fd) noexcept : fd_(fd) {}
    ~descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    descriptor(const descriptor&) = delete;
    descriptor& operator=(const descriptor&) = delete;
    int get() const noexcept { return fd_; }
    explicit operator bool() const noexcept { return fd_ >= 0; }

private:
    int fd_;
};

using file_status = struct ::stat;

std::optional<file_status> status_of(const std::string& path) {
    file_status info{};
    if (::lstat(path.c_str(), &info) != 0) return std::nullopt;
    return info;
}

bool same_file(const std::string& path, const file_status& known) {
    const auto now = status_of(path);
    return now && now->st_dev == known.st_dev && now->st_ino == known.st_ino;
}

bool is_old(const file_status& file) {
    const auto changed =
        std::chrono::seconds{file.st_mtim.tv_sec} + std::chrono::nanoseconds{file.st_mtim.tv_nsec};
    const auto now = trunkline::system_clock()->wall().time_since_epoch();
    return now - changed > fresh_for;
}

std::string octal(mode_t mode) {
    std::string digits = "0000";
    for (auto at = digits.rbegin(); at != digits.rend(); ++at, mode >>= 3U)
        *at = static_cast<char>('0' + (mode & 7U));
    return digits;
}

struct probe {
    int error = 0;  ///< 0: somebody listens
    ucred who{};
};

// Connects, asks the kernel who listens there, and closes.
probe connect_once(const std::string& path) {
    probe result;
    const descriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return {errno, {}};
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    const auto bytes = std::min(path.size(), address_bytes_max);
    std::memcpy(to.sun_path, path.data(), bytes);
    const auto size = offsetof(sockaddr_un, sun_path) + std::min(bytes + 1, address_bytes_max);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), static_cast<socklen_t>(size)) !=
        0)
        return {errno, {}};
    socklen_t room = sizeof(result.who);
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &result.who, &room) != 0)
        result.error = errno;
    return result;
}

probe connect(const std::string& path) {
    for (int refusals = 0;;) {
        const auto result = connect_once(path);
        if (result.error != ECONNREFUSED || ++refusals == refusals_max) return result;
        ::poll(nullptr, 0, refusals);
    }
}

// The locks of an election, taken by this process for as long as this lives: nobody else puts a
// socket at the path meanwhile.
class election_locks {
public:
    explicit election_locks(const std::string& path)
        : elect_(path + ".elect"),
          guard_(::open(
              (path + ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR
          )) {
        if (!guard_ || ::flock(guard_.get(), LOCK_EX | LOCK_NB) != 0) return;
        const descriptor made(::open(
            elect_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR
        ));
        held_ = made && ::fstat(made.get(), &own_) == 0;
    }
    ~election_locks() {
        if (held_ && same_file(elect_, own_)) ::unlink(elect_.c_str());
    }
    election_locks(const election_locks&) = delete;
    election_locks& operator=(const election_locks&) = delete;
    bool held() const noexcept { return held_; }

private:
    std::string elect_;
    descriptor guard_;
    file_status own_{};
    bool held_ = false;
};

class examination {
public:
    examination(std::string path, bool shared)
        : path_(std::move(path)), socket_(path_.substr(0, address_bytes_max)), shared_(shared) {
        folder_ = fs::path(socket_).parent_path().string();
        if (folder_.empty()) folder_ = ".";
    }

    std::vector<finding> run() {
        check_length();
        check_folder();
        // Before the socket: a repair of the socket needs the election's files out of its way.
        check_election();
        check_socket();
        check_temporary_sockets();
        check_leases();
        return std::move(found_);
    }

private:
    void add(
        const char* kind,
        severity how_bad,
        std::string what,
        std::string fix = {},
        std::function<bool()> repair = nullptr
    ) {
        found_.push_back({kind, how_bad, std::move(what), std::move(fix), std::move(repair)});
    }

    void check_length() {
        if (path_.size() < address_bytes_max) return;
        add("path_length",
            severity::warning,
            "the path has " + std::to_string(path_.size()) + " bytes, more than " +
                std::to_string(address_bytes_max - 1) + ": the socket is " + socket_,
            "use a shorter path");
    }

    void check_folder() {
        file_status info{};
        if (::stat(folder_.c_str(), &info) != 0) return;  // then nobody is on the bus
        if (info.st_uid != ::geteuid() && info.st_uid != 0)
            add("directory_owner",
                severity::warning,
                folder_ + " belongs to user " + std::to_string(info.st_uid),
                "use a directory of your own");
        check_mode("directory_mode", folder_, info.st_mode, shared_ ? "0750" : "0700");
    }

    void check_mode(const char* kind, const std::string& file, mode_t mode, const char* wanted) {
        if ((mode & (shared_ ? strangers : everybody_else)) == 0) return;
        add(kind,
            severity::warning,
            file + " has mode " + octal(mode & 07777U) + ", wider than " + wanted,
            std::string("chmod ") + wanted + " " + file);
    }

    void check_socket() {
        const auto there = status_of(socket_);
        if (!there) {
            if (errno == ENOENT || errno == ENOTDIR)
                add("no_broker", severity::info, "nobody is on this bus: there is no " + socket_);
            else
                add("unreachable",
                    severity::error,
                    "cannot look at " + socket_ + ": " + std::strerror(errno),
                    "check who may enter " + folder_);
            return;
        }
        if (!S_ISSOCK(there->st_mode)) {
            add("not_a_socket",
                severity::error,
                socket_ + " is there and is no socket",
                "move it away, or use another path");
            return;
        }
        const auto result = connect(socket_);
        if (result.error == 0) {
            add("broker",
                severity::info,
                "process " + std::to_string(result.who.pid) + " of user " +
                    std::to_string(result.who.uid) + " is the broker");
        } else if (result.error == EAGAIN) {
            add("broker_busy", severity::info, "there is a broker, with no room at the moment");
        } else if (result.error == ECONNREFUSED) {
            add("stale_socket",
                severity::error,
                "nobody listens at " + socket_ + ", which a broker left behind",
                "remove " + socket_,
                [path = path_, socket = socket_, known = *there] {
                    const election_locks locks(path);
                    if (!locks.held() || !same_file(socket, known)) return false;
                    return connect(socket).error == ECONNREFUSED && same_file(socket, known) &&
                           ::unlink(socket.c_str()) == 0;
                });
        } else if (result.error != ENOENT) {
            add("unreachable",
                severity::error,
                "cannot connect to " + socket_ + ": " + std::strerror(result.error),
                "check who may connect to it");
        }
        check_mode("socket_mode", socket_, there->st_mode, shared_ ? "0660" : "0600");
    }

    void check_election() {
        const auto elect = path_ + ".elect";
        if (const auto there = status_of(elect)) {
            if (is_old(*there))
                add("stale_elect",
                    severity::warning,
                    elect + " was left behind by an election that did not end",
                    "remove " + elect,
                    [elect, known = *there] {
                        return same_file(elect, known) && ::unlink(elect.c_str()) == 0;
                    });
            else
                add("election", severity::info, "an election is running: " + elect + " is new");
        }
        const descriptor guard(::open((path_ + ".lock").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        );
        if (!guard) return;
        // Shared, so that two that look do not see each other; let go of at once.
        if (::flock(guard.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK)
            add("election", severity::info, "an election is running: " + path_ + ".lock is locked");
    }

    // A socket gets its mode under such a name before it is moved to its path.
    static bool is_temporary_name(const std::string& name) {
        constexpr std::string_view before = ".";
        constexpr std::string_view after = ".tmp";
        if (name.size() <= before.size() + after.size() || !name.starts_with(before) ||
            !name.ends_with(after))
            return false;
        return std::all_of(name.begin() + 1, name.end() - after.size(), [](char c) {
            return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        });
    }

    void check_temporary_sockets() {
        std::error_code unreadable;
        for (fs::directory_iterator at(folder_, unreadable), end; !unreadable && at != end;
             at.increment(unreadable)) {
            const auto name = at->path().filename().string();
            if (!is_temporary_name(name)) continue;
            const auto file = at->path().string();
            const auto there = status_of(file);
            if (!there || !S_ISSOCK(there->st_mode) || !is_old(*there)) continue;
            if (refuses(folder_, name))
                add("stale_temporary",
                    severity::warning,
                    file + " was left behind by a process that did not become broker",
                    "remove " + file,
                    [folder = folder_, name, file, known = *there] {
                        return refuses(folder, name) && same_file(file, known) &&
                               ::unlink(file.c_str()) == 0;
                    });
        }
    }

#ifdef TRUNKLINE_WITH_UNIX_SOCKET
    void check_leases() {
        namespace us = trunkline::unix_socket;
        std::vector<us::lease_finding> stale;
        try {
            stale = us::inspect_leases(folder_);
        } catch (const boost::system::system_error& failure) {
            add("leases_unreadable",
                severity::error,
                std::string("cannot read the leases beside ") + socket_ + ": " + failure.what(),
                "check who may read " + folder_);
        }
        for (auto& f : stale) {
            add(kind_of(f.what), severity::warning, f.path + ": " + f.why, "remove " + f.path, [f] {
                const auto removed = us::remove_stale(f);
                return removed.has_value() && *removed;
            });
        }
    }

    static const char* kind_of(trunkline::unix_socket::lease_finding::kind what) {
        using kind = trunkline::unix_socket::lease_finding::kind;
        switch (what) {
            case kind::lease:
                return "stale_lease";
            case kind::process:
                return "stale_lease_process";
            case kind::lock:
                return "stale_lease_lock";
            case kind::recovery:
                return "stale_lease_recovery";
            case kind::temporary:
                return "stale_lease_temporary";
        }
        return "stale_lease";
    }
#else
    void check_leases() {}
#endif

    // Through the descriptor the address is short, however long the directory's name is.
    static bool refuses(const std::string& folder, const std::string& name) {
        const descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!fd) return false;
        const auto file = "/proc/self/fd/" + std::to_string(fd.get()) + "/" + name;
        return connect(file).error == ECONNREFUSED;
    }

    std::string path_;    // as given; the files beside the socket use all of it
    std::string socket_;  // what the kernel takes of it
    std::string folder_;
    bool shared_;
    std::vector<finding> found_;
};

}  // namespace

std::string_view name_of(severity s) {
    if (s == severity::error) return "error";
    return s == severity::warning ? "warning" : "info";
}

std::vector<finding> examine_unix_bus(const std::string& path, bool shared) {
    return examination(path, shared).run();
}

}  // namespace trunkline_cli
