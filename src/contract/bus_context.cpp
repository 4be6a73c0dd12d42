#include "contract/bus_context.hpp"

#include "contract/stamp.hpp"
#include "contract/subscriber.hpp"

#include <string>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN

bus_context::bus_context(
    std::string_view component,
    boost::asio::any_io_executor executor,
    std::shared_ptr<clock> time,
    trunkline::logger log,
    std::function<event_id()> id_source
)
    : component_(component),
      executor_(std::move(executor)),
      time_(time != nullptr ? std::move(time) : system_clock()),
      system_time_(time_ == system_clock()),
      log_(std::move(log)),
      id_source_(std::move(id_source)) {
    if (!executor_) thread_ = std::make_unique<base::own_thread>();
}

void bus_context::run_on(std::shared_ptr<base::io_loop> loop) {
    thread_.reset();
    executor_ = loop->handlers();
    loop_ = std::move(loop);
}

boost::asio::any_io_executor bus_context::executor() {
    return thread_ != nullptr ? thread_->executor() : executor_;
}

void bus_context::shut_down() noexcept {
    if (thread_ != nullptr) thread_->stop();
    if (loop_ != nullptr) loop_->stop();
}

void bus_context::stamp(event_draft& draft, const publish_options& options) const {
    stamp_draft(draft, options, system_time_ ? nullptr : time_.get(), id_source_);
}

void bus_context::note_refused(std::string_view topic, std::string_view problem) noexcept {
    refused.fetch_add(1, std::memory_order_relaxed);
    log(log_level::warn, problem, {{"topic", std::string(topic.substr(0, 64))}});
}

void bus_context::note_unsupported_offset(std::string_view topic, std::uint64_t offset) noexcept {
    log(log_level::warn,
        "this bus keeps no history, the offset is ignored",
        {{"topic", std::string(topic)}, {"offset", std::to_string(offset)}});
}

void bus_context::add(subscriber& s) {
    const std::lock_guard lock(mutex_);
    s.set_registry_position(subscribers_.size());
    subscribers_.push_back(&s);
}

void bus_context::remove(subscriber& s) noexcept {
    const std::lock_guard lock(mutex_);
    auto* last = subscribers_.back();
    subscribers_[s.registry_position()] = last;
    last->set_registry_position(s.registry_position());
    subscribers_.pop_back();
    delivered_before_ += s.delivered();
}

std::vector<std::shared_ptr<subscriber>> bus_context::subscribers() const {
    std::vector<std::shared_ptr<subscriber>> alive;
    const std::lock_guard lock(mutex_);
    alive.reserve(subscribers_.size());
    for (auto* s : subscribers_) {
        // One whose last owner is just letting go waits for the mutex in its destructor.
        if (auto held = s->weak_from_this().lock()) alive.push_back(std::move(held));
    }
    return alive;
}

bus_counters bus_context::counters() const {
    bus_counters sum;
    sum.refused = refused.load(std::memory_order_relaxed);
    sum.handler_failures = handler_failures.load(std::memory_order_relaxed);
    sum.redelivered = redelivered.load(std::memory_order_relaxed);
    sum.exhausted = exhausted.load(std::memory_order_relaxed);
    sum.dropped = dropped.load(std::memory_order_relaxed);
    const std::lock_guard lock(mutex_);
    sum.delivered = delivered_before_;
    for (const auto* s : subscribers_) sum.delivered += s->delivered();
    return sum;
}

std::shared_ptr<void> when_released(detail::unique_function<void(), 64> f) {
    struct guard {
        detail::unique_function<void(), 64> run;
        explicit guard(detail::unique_function<void(), 64> r) : run(std::move(r)) {}
        guard(const guard&) = delete;
        guard& operator=(const guard&) = delete;
        ~guard() { run(); }
    };
    return std::make_shared<guard>(std::move(f));
}

TRUNKLINE_NAMESPACE_END
