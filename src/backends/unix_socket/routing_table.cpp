#include "backends/unix_socket/routing_table.hpp"

#include <algorithm>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

namespace {

bool insert_sorted(std::vector<peer_id>& ids, peer_id who) {
    const auto at = std::lower_bound(ids.begin(), ids.end(), who);
    if (at != ids.end() && *at == who) return false;
    ids.insert(at, who);
    return true;
}

}  // namespace

bool routing_table::join(
    peer_id who, std::string_view topic_name, std::optional<std::string_view> group_name
) {
    auto at = topics_.find(topic_name);
    if (at == topics_.end()) at = topics_.emplace(topic_name, topic{}).first;
    auto& t = at->second;
    if (!group_name) return insert_sorted(t.everyone, who);
    auto g = std::find_if(t.groups.begin(), t.groups.end(), [&](const group& candidate) {
        return candidate.name == *group_name;
    });
    if (g == t.groups.end()) g = t.groups.insert(g, group{std::string(*group_name), {}, 0});
    const bool fresh = insert_sorted(g->members, who);
    order(t);
    return fresh;
}

// Groups of the own process come first, and keep the order in which they came.
void routing_table::order(topic& t) {
    auto front = t.groups.begin();
    for (auto at = front; at != t.groups.end(); ++at) {
        if (at->members.front() == own_process) std::rotate(front++, at, at + 1);
    }
}

bool routing_table::remove(topic& t, peer_id who, std::optional<std::string_view> group_name) {
    if (!group_name) return std::erase(t.everyone, who) > 0;
    std::size_t removed = 0;
    for (auto& g : t.groups) {
        if (g.name == *group_name) removed = std::erase(g.members, who);
    }
    std::erase_if(t.groups, [](const group& g) { return g.members.empty(); });
    return removed > 0;
}

bool routing_table::leave(
    peer_id who, std::string_view topic_name, std::optional<std::string_view> group_name
) {
    const auto at = topics_.find(topic_name);
    if (at == topics_.end()) return false;
    const bool removed = remove(at->second, who, group_name);
    order(at->second);
    if (at->second.everyone.empty() && at->second.groups.empty()) topics_.erase(at);
    return removed;
}

void routing_table::drop(peer_id who) {
    for (auto at = topics_.begin(); at != topics_.end();) {
        auto& t = at->second;
        std::erase(t.everyone, who);
        for (auto& g : t.groups) std::erase(g.members, who);
        std::erase_if(t.groups, [](const group& g) { return g.members.empty(); });
        order(t);
        at = t.everyone.empty() && t.groups.empty() ? topics_.erase(at) : std::next(at);
    }
}

peer_id routing_table::next(group& g) {
    const auto picked = g.members[g.cursor % g.members.size()];
    g.cursor = (g.cursor + 1) % g.members.size();
    return picked;
}

void routing_table::route(std::string_view topic_name, targets& out) {
    out.everyone.clear();
    out.groups.clear();
    const auto at = topics_.find(topic_name);
    if (at == topics_.end()) return;
    out.everyone = at->second.everyone;
    for (auto& g : at->second.groups) out.groups.push_back({g.name, next(g)});
}

std::optional<peer_id> routing_table::pick(
    std::string_view topic_name, std::string_view group_name, peer_id except
) {
    const auto at = topics_.find(topic_name);
    if (at == topics_.end()) return std::nullopt;
    for (auto& g : at->second.groups) {
        if (g.name != group_name) continue;
        for (auto tries = g.members.size(); tries > 0; --tries) {
            const auto picked = next(g);
            if (picked != except) return picked;
        }
    }
    return std::nullopt;
}

bool routing_table::has(
    peer_id who, std::string_view topic_name, std::optional<std::string_view> group_name
) const {
    const auto at = topics_.find(topic_name);
    if (at == topics_.end()) return false;
    const auto& t = at->second;
    const auto in = [who](const std::vector<peer_id>& ids) {
        return std::binary_search(ids.begin(), ids.end(), who);
    };
    if (!group_name) return in(t.everyone);
    return std::any_of(t.groups.begin(), t.groups.end(), [&](const group& g) {
        return g.name == *group_name && in(g.members);
    });
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
