#include <trunkline/testkit/test_loop.hpp>

#include <algorithm>
#include <chrono>
#include <stdexcept>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

namespace {
// Conditions that nobody announces are looked at that often.
constexpr std::chrono::milliseconds look_interval{5};
}  // namespace

wall_loop::wall_loop(std::size_t threads)
    : time_(system_clock()), work_(boost::asio::make_work_guard(context_)) {
    if (threads == 0) throw std::invalid_argument("wall_loop: threads is 0");
    for (std::size_t i = 0; i < threads; ++i) {
        threads_.emplace_back([this] { context_.run(); });
    }
}

wall_loop::~wall_loop() {
    work_.reset();
    context_.stop();
    for (auto& t : threads_) t.join();
}

boost::asio::any_io_executor wall_loop::executor() {
    return context_.get_executor();
}

std::shared_ptr<clock> wall_loop::clock() const {
    return time_;
}

bool wall_loop::run_until(const std::function<bool()>& condition, duration limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    std::unique_lock lock(mutex_);
    for (;;) {
        const auto seen = changes_;
        lock.unlock();
        if (condition()) return true;
        const auto now = std::chrono::steady_clock::now();
        if (now >= deadline) return false;
        lock.lock();
        changed_.wait_until(lock, std::min(deadline, now + duration{look_interval}), [&] {
            return changes_ != seen;
        });
    }
}

void wall_loop::advance(duration by) {
    const auto deadline = std::chrono::steady_clock::now() + by;
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, deadline, [] { return false; });
}

void wall_loop::wake() noexcept {
    {
        const std::lock_guard lock(mutex_);
        ++changes_;
    }
    changed_.notify_all();
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
