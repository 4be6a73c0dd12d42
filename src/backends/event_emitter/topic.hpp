#pragma once

#include "base/string_map.hpp"
#include "contract/subscriber.hpp"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <variant>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace event_emitter {

class member;

/// Members of one group in subscription order; the cursor counts deliveries and never goes back.
struct group {
    explicit group(std::string n) : name(std::move(n)) {}
    std::string name;
    std::vector<std::shared_ptr<member>> members;
    std::uint64_t cursor = 0;
};

/// One place in a topic's registration order: an ungrouped member, or a group at the place of its
/// first member.
struct place {
    std::shared_ptr<member> single;
    std::shared_ptr<group> shared;
};

struct publish_operation {
    event e;
    completion done;     ///< empty: the publisher was told "accepted"
    const void* origin;  ///< the subscriber whose handler awaits it, or null
};
struct join_operation {
    std::shared_ptr<member> who;
};
struct leave_operation {
    std::shared_ptr<member> who;
};
/// Events for the group of `from`, counted as given before: redeliveries, or what a member that
/// left did not start.
struct regroup_operation {
    std::shared_ptr<member> from;
    std::vector<queued_event> events;
    std::shared_ptr<void> counted;  ///< released once they have been handed on
};
struct mark_operation {
    std::shared_ptr<void> barrier;
};
using operation = std::
    variant<publish_operation, join_operation, leave_operation, regroup_operation, mark_operation>;

struct shard;

/// A topic with its turn. Whoever finds it idle takes the turn and is the only one to touch
/// `places`; everybody else appends to `pending`. No lock is held while handlers run.
struct topic {
    topic(std::string_view n, shard& s) : name(n), home(s) {}

    const std::string name;
    shard& home;

    // With the shard's mutex held.
    bool busy = false;
    std::vector<operation> pending;
    std::size_t pending_publishes = 0;

    std::atomic<bool> full{false};  ///< some queue refused or delayed a publisher lately

    // Of the turn's holder.
    std::vector<operation> running;
    std::size_t running_at = 0;
    std::vector<place> places;
};

/// A part of the topic table.
struct shard {
    std::mutex mutex;
    std::condition_variable taken;  ///< a turn took what was pending; for `crowd`
    std::size_t crowd = 0;          ///< threads that pause because a topic's backlog is long
    base::string_map<std::unique_ptr<topic>> topics;
    unsigned long long published = 0;
    unsigned long long unheard = 0;
    topic* recent = nullptr;  ///< the last one found; publishers mostly stay with a topic

    // With the mutex held.
    topic* find(const base::hashed_text& name) {
        if (recent != nullptr && recent->name == name.text) return recent;
        const auto found = topics.find(name);
        if (found == topics.end()) return nullptr;
        return recent = found->second.get();
    }
    void erase(topic& t) {
        if (recent == &t) recent = nullptr;
        topics.erase(topics.find(t.name));
    }
};

}  // namespace event_emitter
TRUNKLINE_NAMESPACE_END
