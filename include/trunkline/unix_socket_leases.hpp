#pragma once

#include <trunkline/config.hpp>
#include <trunkline/wall_time.hpp>

#include <boost/system/result.hpp>

#include <string>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// Something that nobody needs any more, left among the files of the leases beside a socket.
struct lease_finding {
    enum class kind {
        lease,      ///< expired, of a process that is gone, or unreadable
        process,    ///< the marker of a process that is gone
        lock,       ///< held by a process that is gone, or unreadable
        recovery,   ///< begun and not ended, or its remains
        temporary,  ///< never moved into place by a process that is gone
    };
    kind what;
    std::string directory;  ///< of the socket
    std::string path;
    std::string why;
    wall_time seen_at;
};

/// Looks, and changes nothing. What is in use at the moment is not listed. Throws
/// `boost::system::system_error` when something cannot be read; a directory without leases has no
/// findings.
TRUNKLINE_EXPORT std::vector<lease_finding> inspect_leases(const std::string& directory);

/// Removes it if it still is what was found, and answers whether it did. Safe while the directory
/// is in use: leases are looked at again under their lock, locks and recoveries end as the protocol
/// has it. Blocks, for a few seconds at most.
TRUNKLINE_EXPORT boost::system::result<bool> remove_stale(const lease_finding& found);

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
