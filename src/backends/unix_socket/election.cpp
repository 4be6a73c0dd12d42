#include "backends/unix_socket/election.hpp"

#include <algorithm>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

namespace {
using std::chrono::milliseconds;

// A live broker may refuse for a moment: so many tries, 1, 2, 4 and 8 ms apart, come before anyone
// contends for its path.
constexpr unsigned refusals_before_election = 5;
constexpr milliseconds busy_pause{5};
constexpr milliseconds contended_pause{10};
constexpr milliseconds longest_pause{100};
}  // namespace

election::step election::begin(bool lost) {
    *this = {};
    lost_ = lost;
    return step::connect;
}

election::step election::stand_back(milliseconds time) {
    guard_ = false;
    lock_ = false;
    pause_ = time;
    return step::pause;
}

election::step election::connect_succeeded() {
    return step::client;
}

election::step election::connect_refused() {
    if (lock_) return step::install;
    if (++refusals_ < refusals_before_election && !lost_)
        return stand_back(milliseconds{1} * (1U << (refusals_ - 1)));
    return step::take_guard;
}

election::step election::connect_absent() {
    return lock_ ? step::install : step::take_guard;
}

election::step election::connect_busy() {
    return stand_back(std::min(busy_pause * ++rounds_, longest_pause));
}

election::step election::guarded(bool taken) {
    if (!taken) return stand_back(contended_pause);
    guard_ = true;
    return step::create_lock;
}

election::step election::lock_created() {
    lock_ = true;
    return step::connect;
}

election::step election::lock_exists(bool stale) {
    return stale ? step::remove_lock : stand_back(contended_pause);
}

election::step election::lock_removed() {
    return stand_back(contended_pause);
}

election::step election::install_succeeded() {
    return step::broker;
}

election::step election::install_overtaken() {
    refusals_ = 0;
    lost_ = false;
    return stand_back(milliseconds{0});
}

election::step election::paused() {
    return step::connect;
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
