#pragma once

#include <trunkline/config.hpp>
#include <trunkline/errc.hpp>

#include <boost/system/result.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// What file leases need of the operating system; tests bring one that fails. Errors are the
/// system's own. Threading: any.
class lease_file_system {
public:
    template <class T>
    using result = boost::system::result<T>;
    /// Since the epoch, by the file system's clock.
    using file_time = std::chrono::nanoseconds;

    virtual ~lease_file_system() = default;

    /// A new file with mode 0600; `file_exists` when the name is taken. A text that cannot be
    /// written whole leaves no file behind.
    virtual error_code create(const std::string& path, std::string_view text) = 0;
    /// The text, cut off at `file_bytes_max`.
    virtual result<std::string> read(const std::string& path) = 0;
    virtual error_code rename(const std::string& from, const std::string& to) = 0;
    /// A second name for the file; `file_exists` when that is taken.
    virtual error_code link(const std::string& file, const std::string& name) = 0;
    virtual error_code unlink(const std::string& path) = 0;
    /// Mode 0700; its parent must be there.
    virtual error_code make_directory(const std::string& path) = 0;
    virtual error_code remove_directory(const std::string& path) = 0;
    /// Names without folder, sorted.
    virtual result<std::vector<std::string>> list(const std::string& path) = 0;
    /// When the file was made; when its entry last changed, where the system does not keep that.
    virtual result<file_time> birth(const std::string& path) = 0;
    /// Signal 0: no error when the process is there, `no_such_process` when not.
    virtual error_code probe(pid_t pid) = 0;

    static constexpr std::size_t file_bytes_max = std::size_t{1} << 20;
};

std::shared_ptr<lease_file_system> system_lease_files();

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
