#include "held_deliveries.hpp"

#include <utility>
#include <vector>

namespace trunkline_cli {

void settle(trunkline::delivery&& d, verdict how) {
    switch (how) {
        case verdict::ack:
            std::move(d).ack();
            break;
        case verdict::nack:
            std::move(d).nack();
            break;
        case verdict::none:
            break;
    }
}

held_deliveries::held_deliveries(
    boost::asio::any_io_executor executor, std::chrono::milliseconds time, const watch& w
)
    : executor_(std::move(executor)), time_(time), watch_(w) {}

void held_deliveries::add(trunkline::delivery d, verdict how) {
    const std::lock_guard lock(mutex_);
    if (abandoned_) return;
    waiting_.push_back({watch::now() + time_, std::move(d), how});
    if (waiting_.size() == 1) arm();
}

// With the lock held.
void held_deliveries::arm() {
    timer_ = trunkline::system_clock()->async_wait_until(
        waiting_.front().due,
        executor_,
        trunkline::completion{[weak = weak_from_this()](trunkline::error_code ec) {
            const auto self = weak.lock();
            if (!ec && self != nullptr) self->release();
        }}
    );
}

void held_deliveries::release() {
    std::vector<held> due;
    {
        const std::lock_guard lock(mutex_);
        const auto now = watch::now();
        while (!waiting_.empty() && waiting_.front().due <= now) {
            due.push_back(std::move(waiting_.front()));
            waiting_.pop_front();
        }
        settling_ += due.size();
        if (!waiting_.empty()) arm();
    }
    const auto count = due.size();
    for (auto& h : due) {
        // Left unsettled means letting go of it, here and now.
        auto d = std::move(h.what);
        settle(std::move(d), h.how);
    }
    {
        const std::lock_guard lock(mutex_);
        settling_ -= count;
        settled_ += count;
    }
    watch_.wake();
}

void held_deliveries::abandon() {
    std::deque<held> left;
    std::unique_ptr<trunkline::clock::wait> timer;
    const std::lock_guard lock(mutex_);
    abandoned_ = true;
    left.swap(waiting_);
    timer.swap(timer_);
}

bool held_deliveries::empty() const {
    const std::lock_guard lock(mutex_);
    return waiting_.empty() && settling_ == 0;
}

std::uint64_t held_deliveries::settled() const {
    const std::lock_guard lock(mutex_);
    return settled_;
}

}  // namespace trunkline_cli
