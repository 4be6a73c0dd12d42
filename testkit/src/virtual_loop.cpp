#include <trunkline/testkit/test_loop.hpp>

#include <boost/asio/post.hpp>

#include <chrono>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

namespace {
// More handlers than any test needs at one instant: a loop that feeds itself ends the test.
constexpr std::size_t steps_max = 5'000'000;
// While other threads work the loop may be idle: it looks again that often, for that long.
constexpr std::chrono::milliseconds idle_look{10};
constexpr std::size_t idle_looks_max = 6000;
}  // namespace

virtual_loop::virtual_loop()
    : time_(std::make_shared<manual_clock>()), work_(boost::asio::make_work_guard(context_)) {}

virtual_loop::~virtual_loop() = default;

boost::asio::any_io_executor virtual_loop::executor() {
    return context_.get_executor();
}

std::shared_ptr<clock> virtual_loop::clock() const {
    return time_;
}

bool virtual_loop::run_until(const std::function<bool()>& condition, duration limit) {
    const auto deadline = time_->now() + limit;
    std::size_t idle = 0;
    for (std::size_t step = 0; step < steps_max; ++step) {
        if (condition()) return true;
        if (context_.poll_one() > 0) {
            idle = 0;
            continue;
        }
        if (foreign_threads()) {
            if (context_.run_one_for(idle_look) == 0 && ++idle == idle_looks_max) return false;
            continue;
        }
        // The last of the other threads may have changed the condition after it was looked at.
        if (condition()) return true;
        if (context_.poll_one() == 0 && !time_->fire_next(deadline)) return false;
    }
    return false;
}

void virtual_loop::drain() {
    for (std::size_t step = 0; step < steps_max && context_.poll_one() > 0; ++step) continue;
}

void virtual_loop::advance(duration by) {
    time_->advance(by, [this] { drain(); });
}

void virtual_loop::wake() noexcept {
    // Only when the loop may be asleep in run_until.
    if (foreign_threads()) boost::asio::post(context_, [] {});
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
