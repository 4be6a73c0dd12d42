#include "bench_plan.hpp"
#include "bench_run.hpp"
#include "command.hpp"
#include "console.hpp"

#include <boost/json/object.hpp>

#include <CLI/CLI.hpp>

#include <cmath>

namespace trunkline_cli {

namespace {

constexpr std::size_t subscribers_max = 1024;
constexpr std::size_t default_crowd = 4;
// A backend takes many more before it refuses one.
constexpr std::size_t in_flight_max = 1024;
constexpr std::size_t payload_bytes_max = std::size_t{16} << 20;

double rounded(double number, double digits) {
    return std::round(number * digits) / digits;
}

boost::json::value microseconds(const std::optional<double>& number) {
    if (!number) return nullptr;
    return rounded(*number, 1e3);
}

class bench_command final : public command {
public:
    explicit bench_command(CLI::App& parser) {
        parser
            .add_option(
                "--shape", shape_, "one subscriber, fanout to several, or a group that shares"
            )
            ->capture_default_str()
            ->type_name("one|fanout|group")
            ->check(CLI::IsMember({"one", "fanout", "group"}));
        parser.add_option("--subscribers", subscribers_, "How many [default: 1; fanout, group: 4]")
            ->type_name("N")
            ->check(CLI::Range(std::size_t{1}, subscribers_max));
        parser.add_option("--events", plan_.events, "Events measured, after 20,000 to warm up")
            ->capture_default_str()
            ->type_name("N")
            ->check(CLI::PositiveNumber);
        parser
            .add_option("--payload", plan_.payload_bytes, "Length of an event's data as JSON text")
            ->capture_default_str()
            ->type_name("BYTES");
        parser
            .add_option(
                "--in-flight",
                plan_.in_flight,
                "Completions awaited at once; 0: plain publish, 1: one by one"
            )
            ->capture_default_str()
            ->type_name("K")
            ->check(CLI::Range(std::size_t{0}, in_flight_max));
        parser
            .add_option(
                "--rate",
                plan_.rate,
                "Events per second, to measure latency [default: as many as possible, no latency]"
            )
            ->type_name("N")
            ->check(CLI::PositiveNumber);
        parser
            .add_option(
                "--dispatch",
                dispatch_,
                "Where handlers run: inline on the publisher's thread, or queued for another "
                "[default: the bus URL's, else inline]"
            )
            ->type_name("inline|queued")
            ->check(CLI::IsMember({"inline", "queued"}));
        parser.add_flag("--replay", replay_, "Keep every event for replay, the last 100,000");
        parser.add_flag("--processes", processes_, "A process for each role, where the bus can");
        parser.add_option("--role", role_, "Which part this process plays")
            ->capture_default_str()
            ->type_name("all|publisher|subscriber|broker")
            ->check(CLI::IsMember({"all", "publisher", "subscriber", "broker"}));
        parser.footer(
            "Prints one line with events_per_second, cpu_us_per_event, p50_us and p99_us (publish\n"
            "to handler, with --rate only), delivered and expected; exit code 1 when these "
            "differ.\n"
            "Examples:\n"
            "  trunkline bench --shape fanout --subscribers 4\n"
            "  trunkline bench --dispatch queued --rate 1000 --events 5000"
        );
    }

    exit_code run(const common_options& common) override {
        const auto url = complete_plan(bus_url(common));
        // Full queues are part of the plan, so what is logged about them says nothing.
        const auto bus = open_bus(url, common, "error");
        if (!bus->traits().cross_process && (processes_ || role_ != "all"))
            throw usage_error(
                std::string(processes_ ? "--processes" : "--role " + role_) +
                ": needs a bus across processes, and " + url + " is in this process only"
            );
        const auto result = run_bench(*bus, plan_);
        const bool replay = bus->traits().offsets;
        const auto closed = bus->close_blocking();
        if (closed) say("close: " + closed.message());

        const auto events = static_cast<double>(plan_.events);
        constexpr double us_per_second = 1e6;
        line_writer out;
        const bool written = out.write(
            {{"shape", shape_},
             {"subscribers", plan_.subscribers},
             {"events", plan_.events},
             {"payload_bytes", plan_.payload_bytes},
             {"in_flight", plan_.in_flight},
             {"dispatch", dispatch_.value_or("inline")},
             {"replay", replay},
             {"events_per_second", std::round(events / result.seconds)},
             {"cpu_us_per_event", rounded(result.cpu_seconds * us_per_second / events, 1e4)},
             {"p50_us", microseconds(result.p50_us)},
             {"p99_us", microseconds(result.p99_us)},
             {"delivered", result.delivered},
             {"expected", plan_.expected()},
             {"peak_rss_mb", rounded(result.peak_rss_mb, 10)}}
        );
        if (result.delivered != plan_.expected())
            say("delivered " + std::to_string(result.delivered) + " events instead of " +
                std::to_string(plan_.expected()));
        const bool good = written && !closed && result.delivered == plan_.expected();
        return good ? exit_code::done : exit_code::failed;
    }

private:
    // Fills in what was left to default, and answers with the URL of the bus to measure.
    std::string complete_plan(std::string url) {
        plan_.shape = shape_ == "fanout"  ? bench_shape::fanout
                      : shape_ == "group" ? bench_shape::group
                                          : bench_shape::one;
        const bool one = plan_.shape == bench_shape::one;
        plan_.subscribers = subscribers_.value_or(one ? 1 : default_crowd);
        if (one && plan_.subscribers != 1)
            throw usage_error("--subscribers: --shape one has one; fanout and group have several");
        const auto bytes_min = payload_bytes_min(plan_);
        if (plan_.payload_bytes < bytes_min || plan_.payload_bytes > payload_bytes_max)
            throw usage_error(
                "--payload: want " + std::to_string(bytes_min) + " to " +
                std::to_string(payload_bytes_max) + " bytes for this run"
            );
        const auto in_url = url_option(url, "dispatch");
        if (dispatch_ && in_url)
            throw usage_error("--dispatch: the bus URL says it too; say it once");
        if (dispatch_)
            url = with_url_option(std::move(url), "dispatch", *dispatch_);
        else if (in_url)
            dispatch_ = std::string(*in_url);
        if (replay_ && !url_option(url, "replay"))
            url = with_url_option(std::move(url), "replay", "1");
        return url;
    }

    bench_plan plan_;
    std::string shape_ = "one";
    std::optional<std::size_t> subscribers_;
    std::optional<std::string> dispatch_;
    bool replay_ = false;
    bool processes_ = false;
    std::string role_ = "all";
};

}  // namespace

std::unique_ptr<command> make_bench(CLI::App& parser) {
    return std::make_unique<bench_command>(parser);
}

}  // namespace trunkline_cli
