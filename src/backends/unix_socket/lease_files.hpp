#pragma once

#include "backends/unix_socket/lease_locks.hpp"

#include <trunkline/clock.hpp>
#include <trunkline/config.hpp>
#include <trunkline/lease_provider.hpp>
#include <trunkline/logger.hpp>
#include <trunkline/wall_time.hpp>

#include <boost/system/result.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// What a lease file says.
struct lease_record {
    std::string owner;
    double expires_at_ms = 0;  ///< since the epoch
    lease_holder process;
};
/// Nothing when the text is not JSON or a member is missing or of another type: such a lease counts
/// as absent.
std::optional<lease_record> parse_lease_record(std::string_view text);

/// Leases in files, shared by every process whose sockets lie in one directory.
///
/// A lease is held while its time is not over and the process that wrote it runs. Every change
/// happens under the lock of its key. Calls block, for `operation_timeout` at most; what they
/// answer and refuse is what `lease_provider` documents, and the owner's name must be UTF-8 of at
/// most `owner_bytes_max`. Errors: the system's, `timed_out`, `closed`, `invalid_argument`,
/// `protocol_error`. After one the lease is as it was or as it was to become, and the lock is free.
/// Threading: one thread at a time.
class lease_files {
public:
    template <class T>
    using result = boost::system::result<T>;
    using milliseconds = std::chrono::milliseconds;

    /// `directory`: the one that the socket is in; it must be there.
    lease_files(
        const std::string& directory,
        std::shared_ptr<clock> time,
        logger log,
        lease_environment environment = {}
    );

    result<lease_answer> acquire(std::string_view key, std::string_view owner, milliseconds ttl);
    result<std::optional<std::string>> owner(std::string_view key);
    result<void> release(std::string_view key, std::string_view owner);
    result<bool> renew(std::string_view key, std::string_view owner, milliseconds ttl);
    result<bool> transfer(
        std::string_view key, std::string_view from, std::string_view to, milliseconds ttl
    );

    /// Removes what is left of its own work; leases stay. Afterwards everything answers `closed`.
    void close() noexcept;

    static constexpr std::size_t owner_bytes_max = std::size_t{64} << 10;

private:
    template <class T, class Work>
    result<T> run(Work work);
    std::optional<lease_record> read_record(const std::string& lease) const;
    bool is_live(const lease_record& lease) const;
    void write_record(const std::string& lease, std::string_view owner, milliseconds ttl);

    std::shared_ptr<clock> time_;
    lease_locks locks_;
    bool closed_ = false;
};

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
