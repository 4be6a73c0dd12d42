#include "bench_run.hpp"

#include "bench_text.hpp"

#include <trunkline/clock.hpp>

#include <boost/system/system_error.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <memory>
#include <semaphore>
#include <string_view>
#include <sys/resource.h>
#include <thread>
#include <vector>

namespace trunkline_cli {

namespace {

constexpr std::string_view bench_topic = "bench";
constexpr std::uint64_t warm_up_events = 20'000;

// One subscription's share. Its handler calls never overlap and the numbers are read after a flush,
// so nothing here needs to be atomic; the alignment keeps subscriptions out of each other's way.
struct alignas(64) tally {
    std::uint64_t delivered = 0;
    std::vector<std::uint32_t> latencies_ns;
};

double cpu_seconds(const rusage& u) {
    constexpr double micro = 1e-6;
    return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * micro;
}

rusage usage_now() {
    rusage u{};
    ::getrusage(RUSAGE_SELF, &u);
    return u;
}

std::uint64_t nanoseconds(trunkline::clock::time_point t) {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(t.time_since_epoch()).count()
    );
}

void check(const trunkline::error_code& ec, const char* what) {
    if (ec) throw boost::system::system_error(ec, std::string("bench: ") + what);
}

class bench_runner {
public:
    bench_runner(trunkline::pubsub& bus, const bench_plan& plan)
        : bus_(bus),
          plan_(plan),
          time_(trunkline::system_clock()),
          tallies_(plan.subscribers),
          room_(static_cast<std::ptrdiff_t>(std::max<std::size_t>(plan.in_flight, 1))) {
        trunkline::subscribe_options how;
        if (plan.shape == bench_shape::group) how.group("bench");
        for (auto& t : tallies_) subscriptions_.push_back(subscribe(t, how));
    }

    bench_result run() {
        send(warm_up_events, std::nullopt);
        for (auto& t : tallies_) t.delivered = 0;
        const auto used = usage_now();
        const auto start = time_->now();
        send(plan_.events, plan_.rate);
        const std::chrono::duration<double> elapsed = time_->now() - start;
        const auto used_after = usage_now();

        bench_result result;
        for (const auto& t : tallies_) result.delivered += t.delivered;
        result.seconds = elapsed.count();
        result.cpu_seconds = cpu_seconds(used_after) - cpu_seconds(used);
        add_latencies(result);
        constexpr double kib_per_mib = 1024;
        result.peak_rss_mb = static_cast<double>(used_after.ru_maxrss) / kib_per_mib;
        return result;
    }

private:
    trunkline::subscription subscribe(tally& t, const trunkline::subscribe_options& how) {
        if (!plan_.rate) {
            return bus_.subscribe(
                bench_topic, [&t](const trunkline::event&) { ++t.delivered; }, how
            );
        }
        auto handler = [&t, time = time_.get()](const trunkline::event& e) {
            ++t.delivered;
            const auto stamp = bench_text::stamp_of(e.data().text());
            if (stamp == 0) return;  // warming up
            constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
            const auto taken = nanoseconds(time->now()) - stamp;
            t.latencies_ns.push_back(static_cast<std::uint32_t>(std::min(taken, most)));
        };
        return bus_.subscribe(bench_topic, handler, how);
    }

    // Publishes and waits until everything has been delivered.
    void send(std::uint64_t count, std::optional<double> rate) {
        bench_text text(plan_.payload_bytes);
        if (rate) {
            send_paced(text, count, *rate);
        } else if (plan_.in_flight == 0) {
            for (std::uint64_t seq = 0; seq < count; ++seq) publish(text.next(seq));
        } else {
            for (std::uint64_t seq = 0; seq < count; ++seq) publish_awaited(text.next(seq));
        }
        await_completions();
        check(bus_.flush_blocking(), "flush");
    }

    void send_paced(bench_text& text, std::uint64_t count, double rate) {
        const auto start = time_->now();
        for (std::uint64_t seq = 0; seq < count; ++seq) {
            const std::chrono::duration<double> due(static_cast<double>(seq) / rate);
            std::this_thread::sleep_until(
                start + std::chrono::duration_cast<trunkline::clock::duration>(due)
            );
            const auto data = text.next(seq, nanoseconds(time_->now()));
            if (plan_.in_flight == 0)
                publish(data);
            else
                publish_awaited(data);
        }
    }

    static trunkline::event_draft draft(std::string_view data) {
        return {"bench", "run-1", trunkline::payload::from_json_text(data)};
    }

    void publish(std::string_view data) {
        auto ec = bus_.publish(bench_topic, draft(data));
        // Nothing may be lost: where a queue is full, wait for room instead.
        while (ec == trunkline::errc::queue_full) [[unlikely]]
            ec = bus_.publish_blocking(bench_topic, draft(data));
        if (ec) [[unlikely]]
            check(ec, "publish");
    }

    void publish_awaited(std::string_view data) {
        if (plan_.in_flight == 1) {
            trunkline::error_code ec;
            do {
                ec = bus_.publish_blocking(bench_topic, draft(data));
            } while (ec == trunkline::errc::queue_full);
            check(ec, "publish");
            return;
        }
        room_.acquire();
        bus_.async_publish(bench_topic, draft(data), [this](trunkline::error_code ec) {
            if (ec) refused_.fetch_add(1);
            room_.release();
        });
    }

    // Every completion gives back the place it took.
    void await_completions() {
        const auto places = std::max<std::size_t>(plan_.in_flight, 1);
        for (std::size_t i = 0; i < places; ++i) room_.acquire();
        room_.release(static_cast<std::ptrdiff_t>(places));
        if (refused_.load() > 0) check(trunkline::errc::queue_full, "publish");
    }

    void add_latencies(bench_result& result) {
        std::vector<std::uint32_t> all;
        for (const auto& t : tallies_)
            all.insert(all.end(), t.latencies_ns.begin(), t.latencies_ns.end());
        if (all.empty()) return;
        const auto percentile = [&](std::size_t percent) {
            constexpr double ns_per_us = 1000;
            const auto at = all.begin() + static_cast<std::ptrdiff_t>(all.size() * percent / 100);
            std::nth_element(all.begin(), at, all.end());
            return static_cast<double>(*at) / ns_per_us;
        };
        result.p50_us = percentile(50);
        result.p99_us = percentile(99);
    }

    trunkline::pubsub& bus_;
    const bench_plan& plan_;
    const std::shared_ptr<trunkline::clock> time_;
    std::vector<tally> tallies_;
    std::counting_semaphore<> room_;
    std::atomic<std::uint64_t> refused_{0};
    std::vector<trunkline::subscription> subscriptions_;  // last: ended before what they write to
};

}  // namespace

bench_result run_bench(trunkline::pubsub& bus, const bench_plan& plan) {
    return bench_runner(bus, plan).run();
}

}  // namespace trunkline_cli
