#include "watch.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>

namespace trunkline_cli {

namespace {

// A signal handler has no other way to its surroundings than globals.
std::atomic<bool> signalled{false};
std::atomic<int> signal_fd{-1};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

void add_one(int fd) noexcept {
    const std::uint64_t one = 1;
    // It fails only when the counter is full, and then the waiter is awake anyway.
    [[maybe_unused]] const auto written = ::write(fd, &one, sizeof(one));
}

extern "C" void trunkline_cli_on_signal(int) {
    const int saved = errno;
    signalled.store(true);
    if (const int fd = signal_fd.load(); fd >= 0) add_one(fd);
    errno = saved;
}

void handle_ending_signals() {
    struct sigaction action{};
    action.sa_handler = trunkline_cli_on_signal;
    // The second signal meets the default action: a way out should the clean end take too long.
    action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

watch::watch(std::optional<double> seconds) : wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (wake_fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    if (seconds) {
        // Far beyond any run, and still within what the clock can count.
        constexpr double seconds_max = 1e9;
        limit_ = now() + std::chrono::duration_cast<trunkline::clock::duration>(
                             std::chrono::duration<double>(std::min(*seconds, seconds_max))
                         );
    }
    signal_fd.store(wake_fd_);
    handle_ending_signals();
}

watch::~watch() {
    signal_fd.store(-1);
    ::close(wake_fd_);
}

watch::time_point watch::now() {
    return trunkline::system_clock()->now();
}

void watch::fail() noexcept {
    failed_.store(true);
    wake();
}

void watch::wake() const noexcept {
    add_one(wake_fd_);
}

bool watch::past_limit() const noexcept {
    return limit_ && now() >= *limit_;
}

bool watch::over() const noexcept {
    return failed_.load() || signalled.load() || past_limit();
}

exit_code watch::result() const noexcept {
    if (failed_.load()) return exit_code::failed;
    if (signalled.load()) return exit_code::done;
    return past_limit() ? exit_code::timed_out : exit_code::done;
}

bool watch::wait_until(time_point when) {
    while (!over()) {
        if (now() >= when) return true;
        pause(when, -1);
    }
    return false;
}

bool watch::wait_readable(int fd) {
    while (!over()) {
        if (pause(std::nullopt, fd)) return true;
    }
    return false;
}

// Sleeps until something may have changed; true when `fd` became readable.
bool watch::pause(std::optional<time_point> until, int fd) {
    // A limit that has passed is nothing to wake up for.
    if (limit_ && now() < *limit_ && (!until || *limit_ < *until)) until = limit_;
    timespec timeout{};
    if (until) {
        const auto left = std::max(*until - now(), trunkline::clock::duration::zero());
        const auto whole = std::chrono::duration_cast<std::chrono::seconds>(left);
        timeout.tv_sec = whole.count();
        timeout.tv_nsec = std::chrono::nanoseconds(left - whole).count();
    }
    pollfd sources[] = {{wake_fd_, POLLIN, 0}, {fd, POLLIN, 0}};
    if (::ppoll(sources, 2, until ? &timeout : nullptr, nullptr) <= 0) return false;
    if ((sources[0].revents & POLLIN) != 0) {
        std::uint64_t count = 0;
        [[maybe_unused]] const auto size = ::read(wake_fd_, &count, sizeof(count));
    }
    return sources[1].revents != 0;
}

}  // namespace trunkline_cli
