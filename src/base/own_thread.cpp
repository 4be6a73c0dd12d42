#include "base/own_thread.hpp"

#include <boost/asio/executor_work_guard.hpp>

TRUNKLINE_NAMESPACE_BEGIN
namespace base {

namespace {
thread_local bool this_thread_is_owned = false;
constexpr unsigned last_tasks_max = 100'000;
}  // namespace

own_thread::own_thread() : context_(std::make_shared<boost::asio::io_context>(1)) {}

own_thread::~own_thread() {
    stop();
}

void own_thread::stop() noexcept {
    context_->stop();
    if (!thread_.joinable()) return;
    if (thread_.get_id() == std::this_thread::get_id())
        thread_.detach();  // tidy: allow — it holds its context and ends when its stack unwinds
    else
        thread_.join();
}

boost::asio::any_io_executor own_thread::executor() {
    std::call_once(started_, [this] {
        thread_ = std::thread([context = context_] {
            mark_own_thread();
            const auto work = boost::asio::make_work_guard(*context);
            context->run();
            // Stopped: finish what was posted before, so that nothing waits for ever in a queue
            // that keeps its own owner alive.
            context->restart();
            for (unsigned left = last_tasks_max; left > 0 && context->poll_one() != 0; --left) {
            }
        });
    });
    return context_->get_executor();
}

void mark_own_thread() noexcept {
    this_thread_is_owned = true;
}

bool on_own_thread() noexcept {
    return this_thread_is_owned;
}

}  // namespace base
TRUNKLINE_NAMESPACE_END
