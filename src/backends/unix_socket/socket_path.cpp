#include "backends/unix_socket/socket_path.hpp"

#include "backends/unix_socket/election.hpp"
#include "base/random.hpp"

#include <boost/system/system_category.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

namespace {

constexpr std::size_t address_bytes_max = sizeof(sockaddr_un::sun_path);
constexpr int backlog = 1024;

error_code last_error() noexcept {
    return {errno, boost::system::system_category()};
}

struct address {
    sockaddr_un raw{};
    socklen_t size = 0;

    // A path of exactly the maximum has no terminator, which the kernel accepts.
    explicit address(std::string_view path) noexcept {
        raw.sun_family = AF_UNIX;
        const auto bytes = std::min(path.size(), address_bytes_max);
        std::memcpy(raw.sun_path, path.data(), bytes);
        size = static_cast<socklen_t>(
            offsetof(sockaddr_un, sun_path) + std::min(bytes + 1, address_bytes_max)
        );
    }
    const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&raw); }
};

unique_fd open_socket() {
    return unique_fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

// A name beside the socket that nobody else uses.
std::string temporary_name() {
    std::array<char, 32> name{};
    std::snprintf(
        name.data(),
        name.size(),
        ".%lx.tmp",
        static_cast<unsigned long>(base::fresh_bits().high >> 16)
    );
    return name.data();
}

}  // namespace

unique_fd::~unique_fd() {
    if (fd_ >= 0) ::close(fd_);
}

std::optional<file_identity> identity_of(const std::string& path) {
    struct stat info{};
    if (::lstat(path.c_str(), &info) != 0) return std::nullopt;
    return file_identity{info.st_dev, info.st_ino};
}

socket_path::socket_path(std::string path)
    : path_(std::move(path)), effective_(path_.substr(0, address_bytes_max)) {}

std::string socket_path::directory() const {
    auto folder = std::filesystem::path(effective_).parent_path().string();
    return folder.empty() ? "." : folder;
}

error_code socket_path::create_directory(const access_rules& access) const {
    namespace fs = std::filesystem;
    std::error_code failure;
    const fs::path folder = directory();
    if (fs::is_directory(folder, failure)) return {};
    if (folder.has_parent_path()) {
        fs::create_directories(folder.parent_path(), failure);
        if (failure) return {failure.value(), boost::system::system_category()};
    }
    if (::mkdir(folder.c_str(), 0700) != 0) return errno == EEXIST ? error_code{} : last_error();
    if (access.group && ::chown(folder.c_str(), static_cast<uid_t>(-1), *access.group) != 0)
        return last_error();
    if (::chmod(folder.c_str(), access.directory_mode) != 0) return last_error();
    return {};
}

socket_path::connection socket_path::connect() const {
    connection made;
    const auto before = identity_of(effective_);
    if (before) made.file = *before;
    made.fd = open_socket();
    if (!made.fd) {
        made.error = last_error();
        return made;
    }
    const address to(path_);
    if (::connect(made.fd.get(), to.get(), to.size) != 0) {
        made.error = last_error();
        return made;
    }
    // The file may have been replaced between the two looks: then it is the later one's watch that
    // notices.
    return made;
}

socket_path::listener socket_path::install(
    const std::optional<file_identity>& refused, const access_rules& access
) const {
    listener made;
    const unique_fd folder(::open(directory().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder) {
        made.error = last_error();
        return made;
    }
    const auto name = temporary_name();
    // Through the descriptor the address is short, however long the directory's name is.
    const auto short_path = "/proc/self/fd/" + std::to_string(folder.get()) + "/" + name;
    const auto target = std::filesystem::path(effective_).filename().string();
    made.fd = open_socket();
    if (!made.fd) {
        made.error = last_error();
        return made;
    }
    const auto fail = [&] {
        made.error = last_error();
        ::unlinkat(folder.get(), name.c_str(), 0);
        return std::move(made);
    };
    const address at(short_path);
    if (::bind(made.fd.get(), at.get(), at.size) != 0) return fail();
    if (access.group &&
        ::fchownat(folder.get(), name.c_str(), static_cast<uid_t>(-1), *access.group, 0) != 0)
        return fail();
    if (::fchmodat(folder.get(), name.c_str(), access.socket_mode, 0) != 0) return fail();
    if (::listen(made.fd.get(), backlog) != 0) return fail();
    struct stat info{};
    if (::fstatat(folder.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return fail();
    made.file = {info.st_dev, info.st_ino};

    if (refused) {
        if (identity_of(effective_) != refused) {
            made.overtaken = true;
        } else if (::renameat(folder.get(), name.c_str(), folder.get(), target.c_str()) != 0) {
            return fail();
        }
    } else if (::linkat(folder.get(), name.c_str(), folder.get(), target.c_str(), 0) != 0) {
        if (errno != EEXIST) return fail();
        made.overtaken = true;
    }
    if (made.overtaken || !refused) ::unlinkat(folder.get(), name.c_str(), 0);
    return made;
}

unique_fd socket_path::watch_directory() const {
    unique_fd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    constexpr std::uint32_t events =
        IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR;
    if (!watch || ::inotify_add_watch(watch.get(), directory().c_str(), events) < 0) return {};
    return watch;
}

bool socket_path::concerns_socket(int watch) const {
    const auto target = std::filesystem::path(effective_).filename().string();
    alignas(inotify_event) std::array<char, 4096> room{};
    bool found = false;
    for (;;) {
        const auto got = ::read(watch, room.data(), room.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return found;
        for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
            inotify_event event{};
            std::memcpy(&event, room.data() + at, sizeof event);
            const char* name = room.data() + at + sizeof event;
            // An overflow has lost some: it may have been among them.
            found = found || (event.mask & IN_Q_OVERFLOW) != 0 || (event.len > 0 && target == name);
            at += sizeof event + event.len;
        }
    }
}

void socket_path::remove(const file_identity& own) const {
    if (identity_of(effective_) == own) ::unlink(effective_.c_str());
}

unique_fd take_guard(const std::string& path, error_code& error) {
    error = {};
    unique_fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) {
        error = last_error();
        return {};
    }
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) error = last_error();
        return {};
    }
    return fd;
}

election_lock::state election_lock::create(error_code& error) {
    const unique_fd fd(
        ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644)
    );
    struct stat info{};
    if (fd) {
        if (::fstat(fd.get(), &info) == 0) own_ = file_identity{info.st_dev, info.st_ino};
        return state::created;
    }
    if (errno != EEXIST) {
        error = last_error();
        return state::failed;
    }
    if (::lstat(path_.c_str(), &info) != 0) return state::stale;
    using clock = std::chrono::system_clock;
    const auto changed = clock::time_point{
        std::chrono::seconds{info.st_mtim.tv_sec} +
        std::chrono::duration_cast<clock::duration>(std::chrono::nanoseconds{info.st_mtim.tv_nsec})
    };
    return clock::now() - changed > election::lock_stale_after ? state::stale : state::exists;
}

void election_lock::remove_stale() const {
    ::unlink(path_.c_str());
}

void election_lock::release() noexcept {
    if (own_ && identity_of(path_) == own_) ::unlink(path_.c_str());
    own_.reset();
}

std::optional<peer_credentials> credentials_of(int fd) {
    ucred who{};
    socklen_t size = sizeof who;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return std::nullopt;
    return peer_credentials{who.pid, who.uid, who.gid};
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
