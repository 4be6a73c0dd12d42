#include "base/own_thread.hpp"
#include "base/utf8.hpp"
#include "contract/handler_frame.hpp"

#include <trunkline/pubsub.hpp>

#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <string>

TRUNKLINE_NAMESPACE_BEGIN

namespace {

// Each answers with what is wrong, or nothing.
std::string_view problem_of_topic(std::string_view topic) noexcept {
    if (topic.empty()) return "topic is empty";
    if (topic.size() > pubsub::topic_bytes_max) return "topic is longer than 65,535 bytes";
    if (!base::is_utf8(topic)) return "topic is not UTF-8";
    return {};
}

std::string_view problem_of_draft(const event_draft& draft) noexcept {
    if (draft.type().empty()) return "event type is empty";
    if (draft.run_id().empty()) return "event run id is empty";
    if (!base::is_utf8(draft.type())) return "event type is not UTF-8";
    if (!base::is_utf8(draft.run_id())) return "event run id is not UTF-8";
    return {};
}

std::string_view problem_of_options(const subscribe_options& options) {
    if (options.group()) {
        if (options.group()->empty()) return "group is empty";
        if (!base::is_utf8(*options.group())) return "group is not UTF-8";
    }
    if (options.in_flight() == 0) return "in_flight is 0";
    if (options.queue_limit() == 0) return "queue_limit is 0";
    if (options.queue_bytes() == 0) return "queue_bytes is 0";
    if (const auto& batch = options.batch()) {
        if (batch->max_size() == 0U) return "batch max_size is 0";
        if (batch->max_buffer_size() == 0) return "batch max_buffer_size is 0";
        if (batch->max_wait() && batch->max_wait()->count() < 0)
            return "batch max_wait is negative";
        if (batch->min_interval().count() < 0) return "batch min_interval is negative";
    }
    return {};
}

// One result handed from the thread that completes to the thread that waits.
class rendezvous {
public:
    completion arrive() {
        return completion{[state = state_](error_code ec) {
            const std::lock_guard lock(state->mutex);
            state->result = ec;
            state->arrived = true;
            state->changed.notify_all();
        }};
    }
    error_code wait() {
        std::unique_lock lock(state_->mutex);
        state_->changed.wait(lock, [this] { return state_->arrived; });
        return state_->result;
    }

private:
    struct shared {
        std::mutex mutex;
        std::condition_variable changed;
        error_code result;
        bool arrived = false;
    };
    std::shared_ptr<shared> state_ = std::make_shared<shared>();
};

bool may_not_block() noexcept {
    return handler_frame::any() || base::on_own_thread();
}

template <class Start>
error_code block_on(Start&& start) {
    if (may_not_block()) return errc::would_deadlock;
    rendezvous meeting;
    start(meeting.arrive());
    return meeting.wait();
}

}  // namespace

bool pubsub::start_publish(
    std::string_view topic,
    event_draft&& draft,
    const publish_options& options,
    completion& done,
    error_code& ec
) {
    auto problem = problem_of_topic(topic);
    if (problem.empty()) problem = problem_of_draft(draft);
    if (!problem.empty()) [[unlikely]] {
        on_refused(topic, problem);
        ec = errc::invalid_argument;
        return true;
    }
    return do_publish(topic, std::move(draft), options, done, ec);
}

error_code pubsub::publish(
    std::string_view topic, event_draft draft, const publish_options& options
) {
    error_code ec;
    completion nobody_waits;
    start_publish(topic, std::move(draft), options, nobody_waits, ec);
    return ec;
}

error_code pubsub::publish_blocking(
    std::string_view topic, event_draft draft, const publish_options& options
) {
    if (may_not_block()) return errc::would_deadlock;
    rendezvous meeting;
    auto done = meeting.arrive();
    error_code ec;
    if (start_publish(topic, std::move(draft), options, done, ec)) return ec;
    return meeting.wait();
}

subscription pubsub::subscribe(
    std::string_view topic, handler h, const subscribe_options& options
) {
    auto problem = problem_of_topic(topic);
    if (problem.empty()) problem = problem_of_options(options);
    if (!problem.empty()) throw std::invalid_argument("subscribe: " + std::string(problem));
    return do_subscribe(topic, std::move(h), options);
}

subscription pubsub::subscribe_with_replay(
    std::string_view topic, handler h, const subscribe_options& options
) {
    return subscribe_from_offset(topic, oldest_offset, std::move(h), options);
}

subscription pubsub::subscribe_from_offset(
    std::string_view topic, std::uint64_t offset, handler h, const subscribe_options& options
) {
    auto problem = problem_of_topic(topic);
    if (problem.empty()) problem = problem_of_options(options);
    if (!problem.empty()) throw std::invalid_argument("subscribe: " + std::string(problem));
    return do_subscribe_from(topic, offset, std::move(h), options);
}

void pubsub::start_history(
    std::string_view topic, std::uint64_t offset, std::size_t limit, history_completion done
) {
    if (const auto problem = problem_of_topic(topic); !problem.empty()) {
        on_refused(topic, problem);
        done(errc::invalid_argument, {});
        return;
    }
    do_history(topic, offset, limit, std::move(done));
}

void pubsub::start_clear_topic(std::string_view topic, completion done) {
    if (const auto problem = problem_of_topic(topic); !problem.empty()) {
        on_refused(topic, problem);
        if (done) done(errc::invalid_argument);
        return;
    }
    do_clear_topic(topic, std::move(done));
}

void pubsub::start_trim_topic(
    std::string_view topic, const trim_options& options, completion done
) {
    if (const auto problem = problem_of_topic(topic); !problem.empty()) {
        on_refused(topic, problem);
        if (done) done(errc::invalid_argument);
        return;
    }
    do_trim_topic(topic, options, std::move(done));
}

error_code pubsub::flush_blocking() {
    return block_on([this](completion done) { do_flush(std::move(done)); });
}

error_code pubsub::close_blocking() {
    return block_on([this](completion done) { do_close(std::move(done)); });
}

subscription pubsub::do_subscribe_from(
    std::string_view topic, std::uint64_t offset, handler h, const subscribe_options& options
) {
    if (offset != 0 && offset != oldest_offset) on_unsupported_offset(topic, offset);
    return do_subscribe(topic, std::move(h), options);
}

void pubsub::do_history(std::string_view, std::uint64_t, std::size_t, history_completion done) {
    done({}, {});
}

void pubsub::do_clear_topic(std::string_view, completion done) {
    if (done) done({});
}

void pubsub::do_trim_topic(std::string_view, const trim_options&, completion done) {
    if (done) done({});
}

void pubsub::on_refused(std::string_view, std::string_view) noexcept {}

void pubsub::on_unsupported_offset(std::string_view, std::uint64_t) noexcept {}

TRUNKLINE_NAMESPACE_END
