#pragma once

#include <trunkline/config.hpp>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// The other members of this library on the bus, so that a new broker knows whom to wait for. Who
/// has left is kept for a while: during a change of brokers that may mean that it is on its way.
/// Pure.
class roster {
public:
    using time_point = std::chrono::steady_clock::time_point;
    static constexpr std::chrono::milliseconds remembered_for{2000};

    /// These are there now, and nobody else.
    void set(const std::vector<std::string>& members, time_point now) {
        for (auto& [member, left] : members_) {
            if (!left) left = now;
        }
        for (const auto& m : members) members_[m].reset();
        std::erase_if(members_, [now](const auto& entry) {
            return entry.second && now - *entry.second >= remembered_for;
        });
    }
    /// This one will not come.
    void forget(const std::string& member) { members_.erase(member); }
    void clear() { members_.clear(); }
    /// Whom a broker that begins now should wait for.
    std::vector<std::string> expected(time_point now) const {
        std::vector<std::string> names;
        for (const auto& [member, left] : members_) {
            if (!left || now - *left < remembered_for) names.push_back(member);
        }
        return names;
    }

private:
    std::map<std::string, std::optional<time_point>> members_;  ///< since when it is gone
};

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
