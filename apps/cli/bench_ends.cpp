#include "bench_ends.hpp"

#include <boost/system/system_error.hpp>

#include <algorithm>
#include <chrono>
#include <future>
#include <limits>
#include <thread>
#include <utility>

namespace trunkline_cli {

namespace {

constexpr std::string_view bench_topic = "bench";
// Where a bus answers "full" at once instead of making the caller wait.
constexpr auto pause_when_full = std::chrono::milliseconds{1};

trunkline::event_draft draft(std::string_view data) {
    return {"bench", "run-1", trunkline::payload::from_json_text(data)};
}

}  // namespace

void bench_check(const trunkline::error_code& ec, const char* what) {
    if (ec) throw boost::system::system_error(ec, std::string("bench: ") + what);
}

std::uint64_t bench_nanoseconds(trunkline::clock::time_point t) {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count()
    );
}

bench_receiver::bench_receiver(trunkline::pubsub& bus, const bench_plan& plan) {
    trunkline::subscribe_options how;
    if (plan.shape == bench_shape::group) how.group("bench");
    auto& t = tally_;
    if (!plan.rate) {
        subscription_ =
            bus.subscribe(bench_topic, [&t](const trunkline::event&) { ++t.delivered; }, how);
    } else {
        auto handler = [&t, time = trunkline::system_clock()](const trunkline::event& e) {
            ++t.delivered;
            const auto stamp = bench_text::stamp_of(e.data().text());
            if (stamp == 0) return;  // warming up
            constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
            const auto taken = bench_nanoseconds(time->now()) - stamp;
            t.latencies_ns.push_back(static_cast<std::uint32_t>(std::min(taken, most)));
        };
        subscription_ = bus.subscribe(bench_topic, handler, how);
    }
    std::promise<trunkline::error_code> ready;
    subscription_.ready([&ready](trunkline::error_code ec) { ready.set_value(ec); });
    bench_check(ready.get_future().get(), "subscribe");
}

bench_sender::bench_sender(trunkline::pubsub& bus, const bench_plan& plan)
    : bus_(bus),
      plan_(plan),
      time_(trunkline::system_clock()),
      room_(static_cast<std::ptrdiff_t>(std::max<std::size_t>(plan.in_flight, 1))) {
    how_.confirmed(plan.confirmed);
}

void bench_sender::send(std::uint64_t count, std::optional<double> rate) {
    bench_text text(plan_.payload_bytes);
    if (rate) {
        send_paced(text, count, *rate);
    } else if (plan_.in_flight == 0) {
        for (std::uint64_t seq = 0; seq < count; ++seq) publish(text.next(seq));
    } else if (plan_.in_flight == 1) {
        for (std::uint64_t seq = 0; seq < count; ++seq) publish_blocking(text.next(seq));
    } else {
        for (std::uint64_t seq = 0; seq < count; ++seq) publish_awaited(text.next(seq), seq);
    }
    await_completions();
    send_refused();
    bench_check(bus_.flush_blocking(), "flush");
}

void bench_sender::send_paced(bench_text& text, std::uint64_t count, double rate) {
    const auto start = time_->now();
    for (std::uint64_t seq = 0; seq < count; ++seq) {
        const std::chrono::duration<double> due(static_cast<double>(seq) / rate);
        std::this_thread::sleep_until(
            start + std::chrono::duration_cast<trunkline::clock::duration>(due)
        );
        const auto data = text.next(seq, bench_nanoseconds(time_->now()));
        if (plan_.in_flight == 0)
            publish(data);
        else if (plan_.in_flight == 1)
            publish_blocking(data);
        else
            publish_awaited(data, seq);
    }
}

void bench_sender::publish(std::string_view data) {
    const auto ec = bus_.publish(bench_topic, draft(data), how_);
    if (!ec) [[likely]]
        return;
    if (ec != trunkline::errc::queue_full) bench_check(ec, "publish");
    publish_blocking(data);
}

void bench_sender::publish_blocking(std::string_view data) {
    for (;;) {
        const auto ec = bus_.publish_blocking(bench_topic, draft(data), how_);
        if (!ec) return;
        if (ec != trunkline::errc::queue_full) bench_check(ec, "publish");
        std::this_thread::sleep_for(pause_when_full);
    }
}

void bench_sender::publish_awaited(std::string_view data, std::uint64_t seq) {
    room_.acquire();
    bus_.async_publish(bench_topic, draft(data), how_, [this, seq](trunkline::error_code ec) {
        if (ec) {
            const std::lock_guard lock(mutex_);
            if (ec == trunkline::errc::queue_full)
                refused_.push_back(seq);
            else
                failure_ = ec;
        }
        room_.release();
    });
}

// Every completion gives back the place it took.
void bench_sender::await_completions() {
    const auto places = std::max<std::size_t>(plan_.in_flight, 1);
    for (std::size_t i = 0; i < places; ++i) room_.acquire();
    room_.release(static_cast<std::ptrdiff_t>(places));
    const std::lock_guard lock(mutex_);
    bench_check(failure_, "publish");
}

void bench_sender::send_refused() {
    // Nothing is under way any more.
    auto again = std::exchange(refused_, {});
    std::sort(again.begin(), again.end());
    bench_text text(plan_.payload_bytes);
    for (const auto seq : again)
        publish_blocking(
            plan_.rate ? text.next(seq, bench_nanoseconds(time_->now())) : text.next(seq)
        );
}

}  // namespace trunkline_cli
