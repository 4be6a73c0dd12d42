#include "bench_worker.hpp"

#include "answer.hpp"
#include "bench_ends.hpp"
#include "bench_usage.hpp"
#include "console.hpp"
#include "line_reader.hpp"
#include "unix_bus.hpp"
#include "watch.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <optional>
#include <unistd.h>

namespace trunkline_cli {

namespace {

class worker {
public:
    worker(trunkline::pubsub& bus, const bench_plan& plan, bench_role role)
        : bus_(bus), plan_(plan), role_(role), out_(&watch_), time_(trunkline::system_clock()) {}

    exit_code run() {
        const auto joined = std::make_shared<answer<void>>();
        join_unix(bus_, trunkline::completion{answer_to(joined, watch_)});
        if (!watch_.wait([&] { return joined->arrived.load(); })) return exit_code::failed;
        bench_check(joined->ec, "join");
        if (role_ == bench_role::publisher) sender_.emplace(bus_, plan_);
        if (role_ == bench_role::subscriber) receiver_.emplace(bus_, plan_);
        if (!out_.write({{"role", unix_role(bus_)}, {"pid", ::getpid()}})) return exit_code::failed;
        line_reader input(STDIN_FILENO, watch_);
        for (std::string order; input.next(order) == line_reader::outcome::line;) {
            if (!out_.write(answer_of(order))) return exit_code::failed;
            if (order == bench_order::end) return exit_code::done;
        }
        return exit_code::failed;
    }

private:
    boost::json::object answer_of(std::string_view order) {
        boost::json::object fields;
        if (order == bench_order::begin) {
            if (receiver_) receiver_->reset();
            used_ = bench_usage::now();
        } else if (order == bench_order::count) {
            if (receiver_) bench_check(bus_.flush_blocking(), "flush");
            fields["delivered"] = receiver_ ? receiver_->delivered() : 0;
        } else if (order == bench_order::end) {
            const auto now = bench_usage::now();
            fields["cpu_seconds"] = now.cpu_seconds - used_.cpu_seconds;
            fields["peak_rss_mb"] = now.peak_rss_mb;
            boost::json::array latencies;
            if (receiver_) {
                const auto& all = receiver_->latencies_ns();
                latencies = boost::json::array(all.begin(), all.end());
            }
            fields["latencies_ns"] = std::move(latencies);
        } else if (sender_ && order == bench_order::warm_up) {
            sender_->send(bench_warm_up_events, std::nullopt);
        } else if (sender_ && order == bench_order::send) {
            fields["started_ns"] = bench_nanoseconds(time_->now());
            sender_->send(plan_.events, plan_.rate);
        } else {
            throw usage_error("bench: this role cannot do \"" + std::string(order) + '"');
        }
        return fields;
    }

    trunkline::pubsub& bus_;
    const bench_plan& plan_;
    const bench_role role_;
    watch watch_;
    line_writer out_;
    const std::shared_ptr<trunkline::clock> time_;
    bench_usage used_;
    std::optional<bench_sender> sender_;
    std::optional<bench_receiver> receiver_;
};

}  // namespace

exit_code run_bench_worker(trunkline::pubsub& bus, const bench_plan& plan, bench_role role) {
    return worker(bus, plan, role).run();
}

}  // namespace trunkline_cli
