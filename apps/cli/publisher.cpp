#include "publisher.hpp"

#include "answer.hpp"

#include <boost/json/object.hpp>

#include <chrono>
#include <cmath>
#include <mutex>
#include <utility>
#include <vector>

namespace trunkline_cli {

namespace {
// Enough to keep a remote backend busy, and far below what a backend accepts before it refuses.
constexpr std::size_t under_way_max = 64;
// For publishes that only their completion is missing from when a signal comes.
constexpr auto grace_at_the_end = std::chrono::milliseconds{200};
constexpr auto pause_after_refusal = std::chrono::milliseconds{1};
}  // namespace

// Shared with the completions, which may arrive when the command is over.
struct publisher::progress {
    struct refused_event {
        trunkline::event_draft draft;
        trunkline::publish_options how;
    };

    explicit progress(const watch& w) : waiter(w) {}

    const watch& waiter;
    std::mutex mutex;
    std::size_t under_way = 0;
    std::uint64_t published = 0;
    std::uint64_t failed = 0;
    std::vector<refused_event> refused;

    bool idle() {
        const std::lock_guard lock(mutex);
        return under_way == 0;
    }
    bool has_room() {
        const std::lock_guard lock(mutex);
        return under_way < under_way_max;
    }
};

publisher::publisher(trunkline::pubsub& bus, std::string topic, watch& w)
    : bus_(bus), topic_(std::move(topic)), watch_(w), progress_(std::make_shared<progress>(w)) {}

bool publisher::publish(trunkline::event_draft draft, const trunkline::publish_options& how) {
    if (!start_) start_ = watch::now();
    do {
        if (!watch_.wait_out([&] { return progress_->has_room(); }, grace_at_the_end)) return false;
    } while (send_refused());
    send(std::move(draft), how);
    return true;
}

void publisher::send(trunkline::event_draft draft, const trunkline::publish_options& how) {
    {
        const std::lock_guard lock(progress_->mutex);
        ++progress_->under_way;
    }
    auto copy = draft.clone();
    bus_.async_publish(
        topic_,
        std::move(draft),
        how,
        [p = progress_, copy = std::move(copy), how](trunkline::error_code ec) mutable {
            {
                const std::lock_guard lock(p->mutex);
                --p->under_way;
                if (!ec)
                    ++p->published;
                else if (ec == trunkline::errc::queue_full)
                    p->refused.push_back({std::move(copy), how});
                else
                    ++p->failed;
            }
            if (ec && ec != trunkline::errc::queue_full) say("publish failed: " + ec.message());
            p->waiter.wake();
        }
    );
}

// Sends one event again that had been refused; false when there is none.
bool publisher::send_refused() {
    std::optional<progress::refused_event> again;
    {
        const std::lock_guard lock(progress_->mutex);
        if (progress_->refused.empty()) return false;
        again.emplace(std::move(progress_->refused.front()));
        progress_->refused.erase(progress_->refused.begin());
    }
    if (watch_.wait_until(watch::now() + pause_after_refusal)) {
        send(std::move(again->draft), again->how);
        return true;
    }
    reject("publish failed: queue full, and no time left to try again");
    return false;
}

void publisher::reject(std::string_view why) {
    say(why);
    const std::lock_guard lock(progress_->mutex);
    ++progress_->failed;
}

void publisher::finish() {
    do {
        watch_.wait_out([&] { return progress_->idle(); }, grace_at_the_end);
    } while (send_refused());
    end_ = watch::now();
    const std::lock_guard lock(progress_->mutex);
    const auto unanswered = progress_->under_way + progress_->refused.size();
    if (unanswered == 0) return;
    progress_->failed += unanswered;
    say("ended while " + std::to_string(unanswered) + " publishes were under way");
}

void publisher::flush() {
    const auto flushed = std::make_shared<answer<void>>();
    bus_.async_flush(answer_to(flushed, watch_));
    watch_.wait_out([&] { return flushed->arrived.load(); }, grace_at_the_end);
    if (!flushed->arrived.load())
        reject("ended before everything had left");
    else if (flushed->ec)
        reject("flush: " + flushed->ec.message());
    end_ = watch::now();
}

std::uint64_t publisher::failed() const {
    const std::lock_guard lock(progress_->mutex);
    return progress_->failed;
}

bool publisher::write_summary(line_writer& out) const {
    const std::chrono::duration<double> time = end_ - start_.value_or(end_);
    constexpr double digits = 1e6;
    boost::json::object line;
    {
        const std::lock_guard lock(progress_->mutex);
        line["published"] = progress_->published;
        line["failed"] = progress_->failed;
    }
    line["seconds"] = std::round(time.count() * digits) / digits;
    return out.write(line);
}

}  // namespace trunkline_cli
