#pragma once

#include <trunkline/config.hpp>

#include <boost/json/object.hpp>

#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// One run of one process: its pid, a nonce that tells it from a later process with that pid, and
/// which providers are open in it. Threading: any.
class lease_process {
public:
    /// The calling process. A child of fork() is another one.
    static lease_process& current();

    lease_process(pid_t pid, std::string nonce) : pid_(pid), nonce_(std::move(nonce)) {}

    pid_t pid() const noexcept { return pid_; }
    const std::string& nonce() const noexcept { return nonce_; }

    void open(const std::string& instance);
    void close(const std::string& instance);
    bool is_open(const std::string& instance) const;
    std::size_t open_count() const;

private:
    const pid_t pid_;
    const std::string nonce_;
    mutable std::mutex mutex_;
    std::set<std::string> instances_;
};

/// What process markers, locks, owners and claimants have in common.
struct lease_holder {
    std::int64_t pid = 0;
    std::string nonce;
    std::string token;  ///< empty when there is none
};
/// Nothing when pid or nonce is missing or of another type.
std::optional<lease_holder> lease_holder_of(const boost::json::object& from);
std::optional<lease_holder> parse_lease_holder(std::string_view text);

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
