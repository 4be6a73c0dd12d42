#include "bench_processes.hpp"

#include "bench_ends.hpp"
#include "bench_usage.hpp"
#include "bench_worker.hpp"
#include "child_program.hpp"
#include "watch.hpp"

#include <boost/json/array.hpp>

#include <chrono>
#include <memory>
#include <stdexcept>
#include <utility>

namespace trunkline_cli {

namespace {

// Without a further delivery for so long, what is missing is lost.
constexpr auto patience = std::chrono::seconds{10};
constexpr auto pause_between_counts = std::chrono::milliseconds{2};

class ensemble {
public:
    ensemble(
        const std::vector<std::string>& arguments, const bench_plan& plan, bench_broker broker_in
    )
        : arguments_(arguments), plan_(plan) {
        switch (broker_in) {
            case bench_broker::third:
                start("broker");
                break;
            case bench_broker::publisher:
                publisher_ = start("publisher");
                break;
            case bench_broker::subscriber:
                add_subscriber();
                break;
        }
        if (first_role_ != "broker")
            throw std::runtime_error(
                "the bus has a broker already; a benchmark needs a bus of its own"
            );
        while (subscribers_.size() < plan.subscribers) add_subscriber();
        if (publisher_ == nullptr) publisher_ = start("publisher");
    }

    bench_result run() {
        const auto used = bench_usage::now();
        ask(*publisher_, bench_order::warm_up);
        if (const auto got = count_until(plan_.deliveries_of(bench_warm_up_events));
            got != plan_.deliveries_of(bench_warm_up_events))
            throw std::runtime_error(
                "bench: " + std::to_string(got) + " deliveries while warming up instead of " +
                std::to_string(plan_.deliveries_of(bench_warm_up_events))
            );
        for (auto& p : all_) ask(*p, bench_order::begin);

        bench_result result;
        const auto started =
            ask(*publisher_, bench_order::send).at("started_ns").to_number<std::uint64_t>();
        result.delivered = count_until(plan_.expected());
        constexpr double seconds_per_ns = 1e-9;
        result.seconds =
            static_cast<double>(bench_nanoseconds(watch::now()) - started) * seconds_per_ns;

        std::vector<std::uint32_t> latencies;
        // The broker, which came first, goes last: nobody is to look for another.
        for (auto p = all_.rbegin(); p != all_.rend(); ++p) {
            const auto report = ask(**p, bench_order::end);
            result.cpu_seconds += report.at("cpu_seconds").to_number<double>();
            result.peak_rss_mb += report.at("peak_rss_mb").to_number<double>();
            for (const auto& ns : report.at("latencies_ns").as_array())
                latencies.push_back(ns.to_number<std::uint32_t>());
            (*p)->wait_end();
        }
        add_latencies(result, std::move(latencies));
        const auto used_after = bench_usage::now();
        result.cpu_seconds += used_after.cpu_seconds - used.cpu_seconds;
        result.peak_rss_mb += used_after.peak_rss_mb;
        return result;
    }

private:
    // Returns when the process is on the bus.
    child_program* start(const char* role) {
        auto words = arguments_;
        words.insert(words.end(), {"--role", role});
        all_.push_back(std::make_unique<child_program>(std::move(words), watch_));
        const auto ready = all_.back()->hear();
        if (all_.size() == 1) first_role_ = std::string(ready.at("role").as_string());
        return all_.back().get();
    }
    void add_subscriber() { subscribers_.push_back(start("subscriber")); }

    static boost::json::object ask(child_program& whom, const char* order) {
        whom.tell(order);
        return whom.hear();
    }

    // How many were delivered in all, once that is `wanted` or nothing more comes.
    std::uint64_t count_until(std::uint64_t wanted) {
        std::uint64_t last = 0;
        for (auto since = watch::now();;) {
            std::uint64_t sum = 0;
            for (auto* s : subscribers_) s->tell(bench_order::count);
            for (auto* s : subscribers_)
                sum += s->hear().at("delivered").to_number<std::uint64_t>();
            if (sum >= wanted) return sum;
            const auto now = watch::now();
            if (sum != std::exchange(last, sum)) since = now;
            if (now - since > patience) return sum;
            watch_.wait_until(now + pause_between_counts);
        }
    }

    const std::vector<std::string>& arguments_;
    const bench_plan& plan_;
    watch watch_;
    std::vector<std::unique_ptr<child_program>> all_;  // in the order of joining
    std::vector<child_program*> subscribers_;
    child_program* publisher_ = nullptr;
    std::string first_role_;
};

}  // namespace

std::size_t bench_process_count(const bench_plan& plan, bench_broker broker_in) noexcept {
    return plan.subscribers + (broker_in == bench_broker::third ? 2 : 1);
}

bench_result run_bench_processes(
    const std::vector<std::string>& arguments, const bench_plan& plan, bench_broker broker_in
) {
    return ensemble(arguments, plan, broker_in).run();
}

}  // namespace trunkline_cli
