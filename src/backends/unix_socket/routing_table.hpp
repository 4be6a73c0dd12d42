#pragma once

#include "base/string_map.hpp"

#include <trunkline/config.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// Names a process on the bus. Clients are numbered in the order of their connection.
using peer_id = std::uint64_t;
/// The broker's own process.
inline constexpr peer_id own_process = 0;

/// Who wants what, as the broker sees it. Topics and groups are JSON texts. Pure.
///
/// Every client with an ungrouped membership gets each event. Of a group one process gets it: the
/// broker's own first, then clients in the order of their connection, one after the other; the
/// cursor outlives changes of membership and is forgotten with the group's last member. The own
/// process counts once, however many subscriptions it has; its ungrouped ones are not kept here.
class routing_table {
public:
    /// False when it was there already.
    bool join(peer_id who, std::string_view topic, std::optional<std::string_view> group);
    /// False when there was no such membership.
    bool leave(peer_id who, std::string_view topic, std::optional<std::string_view> group);
    /// All memberships of one client.
    void drop(peer_id who);
    void clear() { topics_.clear(); }

    struct group_pick {
        std::string_view group;
        peer_id member;
    };
    struct targets {
        std::vector<peer_id> everyone;   ///< ascending
        std::vector<group_pick> groups;  ///< groups of the own process first
        bool none() const noexcept { return everyone.empty() && groups.empty(); }
    };
    /// Where one event goes; moves the cursors. `out` is cleared first, its views live until the
    /// next change.
    void route(std::string_view topic, targets& out);
    /// Another member of a group for an event that `except` did not finish; moves the cursor.
    std::optional<peer_id> pick(std::string_view topic, std::string_view group, peer_id except);
    bool has(peer_id who, std::string_view topic, std::optional<std::string_view> group) const;

private:
    struct group {
        std::string name;
        std::vector<peer_id> members;  // ascending, so the own process comes first
        std::size_t cursor = 0;
    };
    struct topic {
        std::vector<peer_id> everyone;
        std::vector<group> groups;
    };

    static peer_id next(group& g);
    static void order(topic& t);
    static bool remove(topic& t, peer_id who, std::optional<std::string_view> group);

    base::string_map<topic> topics_;
};

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
