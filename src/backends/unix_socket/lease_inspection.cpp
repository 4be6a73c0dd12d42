#include "backends/unix_socket/lease_inspection.hpp"

#include "backends/unix_socket/lease_files.hpp"

#include <trunkline/clock.hpp>

#include <boost/system/system_error.hpp>

#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

namespace {

namespace sys = boost::system;
using kind = lease_finding::kind;

std::string_view without(std::string_view text, std::string_view ending) {
    return text.substr(0, text.size() - ending.size());
}

std::string parent_of(const std::string& path) {
    return path.substr(0, path.rfind('/'));
}

// Up to and including the marker's own ending: what all files of one recovery begin with.
std::string marker_of(const std::string& path) {
    const auto folder = path.rfind('/') + 1;
    const auto at = path.find(lease_ending::marker, folder);
    return at == path.npos ? path : path.substr(0, at + lease_ending::marker.size());
}

std::string text_of_pid(std::int64_t pid) {
    return "process " + std::to_string(pid);
}

class inspector {
public:
    inspector(const lease_locks& locks, std::string directory, wall_time now)
        : locks_(locks), directory_(std::move(directory)), now_(now) {}

    std::vector<lease_finding> run() {
        each_name(locks_.leases_folder(), [this](const std::string& path) { look_at_lease(path); });
        each_name(locks_.processes_folder(), [this](const std::string& path) {
            look_at_process(path);
        });
        each_name(locks_.mutations_folder(), [this](const std::string& path) {
            if (path.ends_with(lease_ending::recoveries))
                look_at_recoveries(path);
            else
                look_at_lock(path);
        });
        return std::move(found_);
    }

    /// Why it is stale; nothing when it is in use or not there.
    std::optional<std::string> stale_lease(const std::string& path) const {
        const auto text = locks_.read(path);
        if (!text) return std::nullopt;
        const auto lease = parse_lease_record(*text);
        if (!lease) return "it is no lease";
        if (lease->expires_at_ms <= static_cast<double>(now_.time_since_epoch().count()))
            return "it has expired";
        if (!locks_.is_alive(lease->process.pid, lease->process.nonce))
            return text_of_pid(lease->process.pid) + " is gone";
        return std::nullopt;
    }
    std::optional<std::string> stale_process(const std::string& path) const {
        const auto name = name_of_path(path);
        return gone(without(name, lease_ending::record));
    }
    std::optional<std::string> stale_temporary(const std::string& path) const {
        // <target>.<pid>.<uuid>.tmp
        auto name = without(name_of_path(path), lease_ending::temporary);
        name = name.substr(0, name.rfind('.'));
        return gone(name.substr(name.rfind('.') + 1));
    }
    std::optional<std::string> stale_lock(const std::string& path) const {
        const auto lock = locks_.look_at(path);
        if (!lock) return std::nullopt;
        if (!lock->holder) return "it cannot be read";
        if (locks_.is_alive(lock->holder->pid, lock->holder->nonce)) return std::nullopt;
        return "its holder, " + text_of_pid(lock->holder->pid) + ", is gone";
    }
    /// Whether nobody works on the recovery that this file belongs to.
    bool is_abandoned(const std::string& path) const {
        const auto marker = marker_of(path);
        if (is_held(marker + ".owner")) return false;
        const auto folder = marker + ".claimants";
        const auto claimants = locks_.files().list(folder);
        if (claimants.has_value()) {
            for (const auto& name : *claimants) {
                if (is_held(path_below(folder, name))) return false;
            }
        }
        return true;
    }

private:
    template <class F>
    void each_name(const std::string& folder, F f) {
        const auto names = locks_.files().list(folder);
        if (!names.has_value()) {
            if (names.error() == sys::errc::no_such_file_or_directory) return;
            throw sys::system_error(names.error(), folder);
        }
        for (const auto& name : *names) {
            const auto path = path_below(folder, name);
            if (name.ends_with(lease_ending::temporary))
                add(kind::temporary, path, stale_temporary(path));
            else
                f(path);
        }
    }
    void add(kind what, const std::string& path, std::optional<std::string> why) {
        if (why) found_.push_back({what, directory_, path, std::move(*why), now_});
    }

    void look_at_lease(const std::string& path) {
        if (path.ends_with(lease_ending::record)) add(kind::lease, path, stale_lease(path));
    }
    void look_at_process(const std::string& path) {
        if (path.ends_with(lease_ending::record)) add(kind::process, path, stale_process(path));
    }
    void look_at_lock(const std::string& path) {
        if (path.ends_with(lease_ending::lock)) add(kind::lock, path, stale_lock(path));
    }
    void look_at_recoveries(const std::string& folder) {
        each_name(folder, [this](const std::string& path) {
            const auto is = [&](std::string_view ending) { return path.ends_with(ending); };
            if (!is(lease_ending::marker) && !is(lease_ending::owner) &&
                !is(lease_ending::claimants) && !is(lease_ending::isolated))
                return;
            if (is_abandoned(path)) add(kind::recovery, path, "nobody goes on with it");
        });
    }

    std::optional<std::string> gone(std::string_view pid_text) const {
        pid_t pid = 0;
        const auto* end = pid_text.data() + pid_text.size();
        const auto [at, failure] = std::from_chars(pid_text.data(), end, pid);
        if (failure != std::errc{} || at != end || pid <= 0) return std::nullopt;
        if (locks_.files().probe(pid) != sys::errc::no_such_process) return std::nullopt;
        return text_of_pid(pid) + " is gone";
    }
    bool is_held(const std::string& path) const {
        const auto text = locks_.read(path);
        const auto holder = text ? parse_lease_holder(*text) : std::nullopt;
        return holder && locks_.is_alive(*holder);
    }

    const lease_locks& locks_;
    std::string directory_;
    wall_time now_;
    std::vector<lease_finding> found_;
};

// A process that starts with this number meanwhile writes its marker over the old one: that one
// must stay.
bool remove_process(lease_locks& locks, const inspector& look, const std::string& path) {
    const auto before = locks.read(path);
    if (!before || !look.stale_process(path)) return false;
    const auto aside = path + "." + std::to_string(locks.process().pid()) + ".stale.tmp";
    if (locks.files().rename(path, aside)) return false;
    const bool same = locks.read(aside) == before;
    if (!same) locks.files().link(aside, path);  // it may have written it again by itself
    locks.remove(aside);
    return same;
}

bool remove_recovery(lease_locks& locks, const inspector& look, const std::string& path) {
    const auto folder = parent_of(path);
    const auto lease = std::string(without(name_of_path(folder), lease_ending::recoveries));
    locks.finish_recoveries(lease);
    // Its marker is gone. A generation that the lock is not of any more never comes again.
    const auto marker = marker_of(path);
    const auto generation = without(name_of_path(marker), lease_ending::marker);
    const auto lock = locks.look_at(locks.lock_path(lease));
    if ((lock && lock->generation == generation) || !look.is_abandoned(path)) return false;
    if (!path.ends_with(lease_ending::claimants)) {
        locks.remove(path);
        return true;
    }
    const auto names = locks.files().list(path);
    if (names.has_value()) {
        for (const auto& name : *names) locks.remove(path_below(path, name));
        locks.files().remove_directory(path);  // stays when one came meanwhile
    }
    return true;
}

bool remove(lease_locks& locks, const lease_finding& found) {
    const inspector look(locks, found.directory, found.seen_at);
    const auto& path = found.path;
    switch (found.what) {
        case kind::lease: {
            bool removed = false;
            const auto lease = std::string(without(name_of_path(path), lease_ending::record));
            locks.with_lock(lease, [&] {
                if (look.stale_lease(path)) removed = locks.remove(path);
            });
            return removed;
        }
        case kind::process:
            return remove_process(locks, look, path);
        case kind::temporary:
            return look.stale_temporary(path) && locks.remove(path);
        case kind::lock: {
            if (!look.stale_lock(path)) return false;
            const auto lease = std::string(without(name_of_path(path), lease_ending::lock));
            const auto lock = locks.look_at(path);
            if (!lock) return false;
            if (!lock->holder) return locks.remove_unreadable(lease, lock->generation);
            locks.with_lock(lease, [] {});  // takes it out of the way
            return true;
        }
        case kind::recovery:
            return remove_recovery(locks, look, path);
    }
    return false;
}

}  // namespace

std::vector<lease_finding> inspect_leases(
    const std::string& directory, wall_time now, const lease_environment& environment
) {
    const lease_locks locks(directory, environment, logger::none());
    return inspector(locks, directory, now).run();
}

std::vector<lease_finding> inspect_leases(const std::string& directory) {
    return inspect_leases(directory, system_clock()->wall(), {});
}

boost::system::result<bool> remove_stale(const lease_finding& found) {
    return remove_stale(found, lease_environment{});
}

boost::system::result<bool> remove_stale(
    const lease_finding& found, const lease_environment& environment
) {
    lease_locks locks(found.directory, environment, logger::none());
    try {
        const bool removed = remove(locks, found);
        // Somebody who only came to tidy up leaves no marker.
        if (locks.introduced() && locks.process().open_count() == 1)
            locks.remove(
                locks.processes_folder() + "/" + std::to_string(locks.process().pid()) + ".json"
            );
        return {sys::in_place_value, removed};
    } catch (const sys::system_error& failure) {
        return {sys::in_place_error, failure.code()};
    }
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
