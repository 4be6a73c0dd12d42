#pragma once

#include "backends/unix_socket/member.hpp"
#include "base/string_map.hpp"

#include <trunkline/config.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// The subscriptions of this process, by topic; of a group one gets each event, in turn.
class local_registry {
public:
    struct group {
        std::string name;
        std::vector<std::shared_ptr<member>> members;
        std::size_t cursor = 0;

        /// The one whose turn it is; moves the cursor.
        member& next() {
            auto& picked = *members[cursor % members.size()];
            cursor = (cursor + 1) % members.size();
            return picked;
        }
    };
    struct topic {
        std::vector<std::shared_ptr<member>> everyone;
        std::vector<group> groups;

        group* find(std::string_view name) {
            for (auto& g : groups) {
                if (g.name == name) return &g;
            }
            return nullptr;
        }
    };

    using members = std::vector<std::shared_ptr<member>>;

    /// The members of its topic and group, itself the last; good until the registry changes.
    const members& add(const std::shared_ptr<member>& m) {
        auto at = topics_.find(m->topic());
        if (at == topics_.end()) at = topics_.emplace(m->topic(), topic{}).first;
        auto& list = members_of(at->second, *m);
        list.push_back(m);
        return list;
    }
    enum class left { was_unknown, others_remain, was_last };
    left remove(const member& m) {
        const auto at = topics_.find(m.topic());
        if (at == topics_.end()) return left::was_unknown;
        auto& t = at->second;
        if (m.group() && t.find(*m.group()) == nullptr) return left::was_unknown;
        auto& list = members_of(t, m);
        const auto erased =
            std::erase_if(list, [&](const auto& other) { return other.get() == &m; });
        const bool last = list.empty();
        std::erase_if(t.groups, [](const group& g) { return g.members.empty(); });
        if (t.everyone.empty() && t.groups.empty()) topics_.erase(at);
        if (erased == 0) return left::was_unknown;
        return last ? left::was_last : left::others_remain;
    }
    topic* find(std::string_view name) {
        const auto at = topics_.find(name);
        return at != topics_.end() ? &at->second : nullptr;
    }
    /// `f(topic, optional group, members)` for each membership.
    template <class F>
    void each_membership(F&& f) {
        for (auto& [name, t] : topics_) {
            using group_name = std::optional<std::string_view>;
            if (!t.everyone.empty()) f(name, group_name(), t.everyone);
            for (auto& g : t.groups) f(name, group_name(g.name), g.members);
        }
    }
    bool empty() const noexcept { return topics_.empty(); }
    void clear() { topics_.clear(); }

private:
    static members& members_of(topic& t, const member& m) {
        if (!m.group()) return t.everyone;
        if (auto* g = t.find(*m.group())) return g->members;
        t.groups.push_back({*m.group(), {}, 0});
        return t.groups.back().members;
    }

    base::string_map<topic> topics_;
};

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
