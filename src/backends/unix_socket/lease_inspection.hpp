#pragma once

#include "backends/unix_socket/lease_locks.hpp"

#include <trunkline/config.hpp>
#include <trunkline/unix_socket_leases.hpp>

#include <string>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// The public functions with their surroundings named. Leases are judged by `now`, which is the
/// calendar time.
std::vector<lease_finding> inspect_leases(
    const std::string& directory, wall_time now, const lease_environment& environment
);
boost::system::result<bool> remove_stale(
    const lease_finding& found, const lease_environment& environment
);

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
