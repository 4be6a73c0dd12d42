#include "backends/unix_socket/lease_file_system.hpp"

#include "backends/unix_socket/socket_path.hpp"

#include <boost/system/system_category.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

namespace {

error_code failure_of_call() noexcept {
    return {errno, boost::system::system_category()};
}

error_code outcome(int answer) noexcept {
    return answer == 0 ? error_code{} : failure_of_call();
}

error_code write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const auto written = ::write(fd, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return failure_of_call();
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

struct closes_directory {
    void operator()(DIR* d) const noexcept { ::closedir(d); }
};

class system_files final : public lease_file_system {
public:
    error_code create(const std::string& path, std::string_view text) override {
        unique_fd fd(
            ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)
        );
        if (!fd) return failure_of_call();
        auto failure = write_all(fd.get(), text);
        // Some file systems say only now that there was no room.
        if (::close(fd.release()) != 0 && !failure && errno != EINTR) failure = failure_of_call();
        if (failure) ::unlink(path.c_str());
        return failure;
    }

    result<std::string> read(const std::string& path) override {
        // Not blocking: whatever lies there instead of a file must not hold us up.
        const unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
        if (!fd) return failure_of_call();
        std::string text;
        std::array<char, 4096> chunk{};
        while (text.size() < file_bytes_max) {
            const auto size = ::read(fd.get(), chunk.data(), chunk.size());
            if (size < 0 && errno == EINTR) continue;
            if (size < 0) return failure_of_call();
            if (size == 0) break;
            text.append(chunk.data(), static_cast<std::size_t>(size));
        }
        return text;
    }

    error_code rename(const std::string& from, const std::string& to) override {
        return outcome(::rename(from.c_str(), to.c_str()));
    }
    error_code link(const std::string& file, const std::string& name) override {
        return outcome(::link(file.c_str(), name.c_str()));
    }
    error_code unlink(const std::string& path) override { return outcome(::unlink(path.c_str())); }
    error_code make_directory(const std::string& path) override {
        return outcome(::mkdir(path.c_str(), 0700));
    }
    error_code remove_directory(const std::string& path) override {
        return outcome(::rmdir(path.c_str()));
    }

    result<std::vector<std::string>> list(const std::string& path) override {
        const std::unique_ptr<DIR, closes_directory> folder(::opendir(path.c_str()));
        if (folder == nullptr) return failure_of_call();
        std::vector<std::string> names;
        for (;;) {
            errno = 0;
            const auto* entry = ::readdir(folder.get());
            if (entry == nullptr) break;
            std::string name = entry->d_name;
            if (name != "." && name != "..") names.push_back(std::move(name));
        }
        if (errno != 0) return failure_of_call();
        std::sort(names.begin(), names.end());
        return names;
    }

    result<file_time> birth(const std::string& path) override {
        struct statx info{};
        if (::statx(
                AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BTIME | STATX_CTIME, &info
            ) != 0)
            return failure_of_call();
        const auto& time = (info.stx_mask & STATX_BTIME) != 0 ? info.stx_btime : info.stx_ctime;
        return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
    }

    error_code probe(pid_t pid) override { return outcome(::kill(pid, 0)); }
};

}  // namespace

std::shared_ptr<lease_file_system> system_lease_files() {
    return std::make_shared<system_files>();
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
