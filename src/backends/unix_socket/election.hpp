#pragma once

#include <trunkline/config.hpp>

#include <chrono>
#include <cstdint>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// How a process finds its place on a bus: client of the broker that answers at the path, or
/// broker. Pure: says what to do next, and is told how that went.
///
/// Connecting comes first. Only a path that does not answer is contended for, with two locks: a
/// guard (`flock`, which dies with its holder) among processes of this library, and the exclusive
/// file that the reference uses. Whoever has both looks once more whether somebody answers, then
/// installs its own socket; a path that another process filled meanwhile is not touched.
class election {
public:
    enum class step : std::uint8_t {
        connect,      ///< answer with one of the `connect_…` functions
        pause,        ///< for `pause()`, then `paused`
        take_guard,   ///< then `guarded`
        create_lock,  ///< then one of the `lock_…` functions
        remove_lock,  ///< one that is stale; then `lock_removed`
        install,      ///< bind, listen and move into place; then one of the `install_…` functions
        client,       ///< over: connected
        broker,       ///< over: listening
        failed,       ///< over: an error that trying again does not mend
    };
    using milliseconds = std::chrono::milliseconds;

    /// `lost`: the broker of this process has just ended its connection, so a refusal needs no
    /// second look; being quick here keeps processes of the reference, which look only once, from
    /// contending among themselves.
    step begin(bool lost = false);

    step connect_succeeded();
    /// Nobody listens at the path, which is there.
    step connect_refused();
    /// There is nothing at the path.
    step connect_absent();
    /// Somebody listens and has no room at the moment.
    step connect_busy();

    step guarded(bool taken);

    step lock_created();
    /// Somebody else holds it; `stale` when it is older than `lock_stale_after` or unreadable.
    step lock_exists(bool stale);
    step lock_removed();

    step install_succeeded();
    /// The path was filled, or changed, by another process.
    step install_overtaken();

    step paused();
    /// Whatever was asked for failed in a way that is nobody's turn to mend.
    step error() noexcept { return step::failed; }

    milliseconds pause() const noexcept { return pause_; }
    /// What the caller holds at the moment, and lets go when the next step does not need it.
    bool holds_guard() const noexcept { return guard_; }
    bool holds_lock() const noexcept { return lock_; }

    static constexpr milliseconds lock_stale_after{2000};

private:
    step stand_back(milliseconds time);

    milliseconds pause_{0};
    unsigned refusals_ = 0;
    bool lost_ = false;
    unsigned rounds_ = 0;
    bool guard_ = false;
    bool lock_ = false;
};

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
