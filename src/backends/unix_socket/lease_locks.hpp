#pragma once

#include "backends/unix_socket/lease_file_system.hpp"
#include "backends/unix_socket/lease_process.hpp"

#include <trunkline/clock.hpp>
#include <trunkline/config.hpp>
#include <trunkline/logger.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// What surrounds the leases; every member has a default.
struct lease_environment {
    std::shared_ptr<lease_file_system> files;  ///< null: the operating system's
    /// Whose leases these are; empty: the calling process's.
    std::function<lease_process&()> process;
    /// Waits for that long; false, at once, when the caller is being closed. Empty: always waits.
    std::function<bool(std::chrono::milliseconds)> pause;
    /// Empty: the system's steady clock.
    std::function<clock::time_point()> steady;
    /// After so much time an operation gives up with `timed_out`.
    std::chrono::milliseconds operation_timeout{5000};
};

/// How the names of the files end.
namespace lease_ending {
inline constexpr std::string_view record = ".json";
inline constexpr std::string_view lock = ".lock";
inline constexpr std::string_view recoveries = ".lock.recoveries";
inline constexpr std::string_view marker = ".marker";
inline constexpr std::string_view owner = ".marker.owner";
inline constexpr std::string_view claimants = ".marker.claimants";
inline constexpr std::string_view isolated = ".isolated";
inline constexpr std::string_view temporary = ".tmp";
}  // namespace lease_ending

/// `folder/name`
std::string path_below(std::string folder, std::string_view name);
/// The name without its folder.
std::string_view name_of_path(std::string_view path) noexcept;

/// Lower-case hexadecimal SHA-256.
std::string sha256_hex(std::string_view bytes);

/// The locks under which lease files change, shared with every process that uses the folder.
///
/// A lock is a file that says who holds it. When its holder died in the middle of a change the lock
/// is stale, and exactly one of those who meet it takes it out of the way:
///
///   become owner:   create <marker>.owner; when a dead one left it there, the live claimant with
///                   the earliest file wins
///   mark:           hard-link the lock to <marker>; from now on everybody waits
///   isolate:        rename the lock to <marker>.<instance>.isolated, see that it is the stale one
///   clean up:       remove that, the marker, the owner and the claimants
///
/// Whoever finds a marker whose owner died ends that recovery first.
///
/// Functions throw `boost::system::system_error`: the system's errors, `timed_out`, `closed` (a
/// pause was refused) or `protocol_error` (another process does not keep to this). Threading: one
/// thread at a time.
class lease_locks {
public:
    using milliseconds = std::chrono::milliseconds;

    /// `directory`: the one that the socket is in.
    lease_locks(const std::string& directory, lease_environment environment, logger log);
    ~lease_locks();
    lease_locks(const lease_locks&) = delete;
    lease_locks& operator=(const lease_locks&) = delete;

    /// Runs `change` under the lock of a lease (the SHA-256 of its key) and lets it go again.
    void with_lock(const std::string& lease, const std::function<void()>& change);
    /// Removes what is ours and still there. No member but the looking ones may be used afterwards.
    void close() noexcept;

    std::string record_path(const std::string& lease) const;
    std::string lock_path(const std::string& lease) const;
    const std::string& leases_folder() const noexcept { return leases_; }
    const std::string& processes_folder() const noexcept { return processes_; }
    const std::string& mutations_folder() const noexcept { return mutations_; }
    lease_process& process() const;
    lease_file_system& files() const noexcept { return *environment_.files; }

    /// Looks whether that run of a process is still going on. Changes nothing.
    bool is_alive(std::int64_t pid, std::string_view nonce) const;
    /// The same, and if it is this process, whether that provider is open.
    bool is_alive(const lease_holder& who) const;
    /// The whole text, or nothing when there is no such file.
    std::optional<std::string> read(const std::string& path) const;
    /// Under a temporary name first, so that nobody ever reads half of it.
    void write(const std::string& target, std::string_view text);
    /// False when it was not there.
    bool remove(const std::string& path);

    struct lock_view {
        std::string generation;  ///< which lock it is
        std::optional<lease_holder> holder;
    };
    std::optional<lock_view> look_at(const std::string& lock) const;

    /// Ends the recoveries of this lock that have begun.
    void finish_recoveries(const std::string& lease);
    /// Takes a lock that nobody can read out of the way; false when it is not that one any more.
    bool remove_unreadable(const std::string& lease, const std::string& generation);
    /// Whether this object, and not an earlier user in its process, made the process known.
    bool introduced() const noexcept { return introduced_; }

    static constexpr milliseconds look_pause{10};
    /// A file of the protocol that is unreadable for longer was left so by a crash.
    static constexpr std::chrono::seconds half_written_max{2};

private:
    struct own_file {
        std::string path;
        std::string text;
    };
    enum class unreadable { is_held, is_stale };
    // From its first look to the removal of what it made.
    struct operation {
        explicit operation(lease_locks& locks);
        ~operation();
        operation(const operation&) = delete;
        operation& operator=(const operation&) = delete;
        lease_locks& self;
    };

    void spend();
    void pause();
    void introduce();
    void make_folders();
    void take(const std::string& lock, const own_file& own);
    bool place(const own_file& own);
    error_code create_linked(const own_file& file);
    void discard(const own_file& file) noexcept;
    bool try_discard(const own_file& file) noexcept;
    void discard_leftovers() noexcept;

    void finish_all(const std::string& lock);
    bool recover(const std::string& lock, const std::string& generation, unreadable how);
    bool become_owner(const std::string& marker);
    bool claim(const std::string& marker);
    bool is_half_written(const std::string& path);
    bool is_stale(
        const std::optional<lock_view>& lock, const std::string& generation, unreadable how
    ) const;
    void isolate(
        const std::string& lock,
        const std::string& generation,
        const std::string& marker,
        unreadable how
    );
    void sweep_isolated(
        const std::string& lock, const std::string& generation, const std::string& marker
    );
    void give_back(const std::string& isolated, const std::string& lock);
    void clean_up(const std::string& marker);

    std::string temporary_name(const std::string& target) const;
    std::string identity_text(const std::string& token) const;

    lease_environment environment_;
    logger log_;
    std::string leases_;
    std::string processes_;
    std::string mutations_;
    std::string instance_;
    // Owner and claimant files of the operation that runs, and what could not be removed so far.
    std::vector<own_file> claims_;
    std::vector<own_file> leftovers_;
    clock::time_point deadline_{};
    unsigned looks_left_ = 0;
    bool introduced_ = false;
};

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
