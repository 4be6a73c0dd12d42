#include "bench_plan.hpp"
#include "bench_processes.hpp"
#include "bench_run.hpp"
#include "bench_worker.hpp"
#include "command.hpp"
#include "console.hpp"
#include "unix_bus.hpp"

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
        parser.add_flag(
            "--confirmed", plan_.confirmed, "Publish so that every process must say that it has it"
        );
        auto* processes = parser.add_flag(
            "--processes",
            processes_,
            "A process for the publisher, for each subscriber and for the broker, on a unix: bus "
            "that nobody else uses"
        );
        parser
            .add_option(
                "--broker-in",
                broker_in_,
                "Which of these processes is the broker: the publisher, a subscriber, or a third"
            )
            ->capture_default_str()
            ->type_name("publisher|subscriber|third")
            ->check(CLI::IsMember({"publisher", "subscriber", "third"}))
            ->needs(processes);
        parser
            .add_option(
                "--role",
                role_,
                "Which part this process plays; all starts the others itself, and leads them over "
                "their standard input and output"
            )
            ->capture_default_str()
            ->type_name("all|publisher|subscriber|broker")
            ->check(CLI::IsMember({"all", "publisher", "subscriber", "broker"}));
        parser.footer(
            "Prints one line with events_per_second, cpu_us_per_event, p50_us and p99_us (publish\n"
            "to handler, with --rate only), delivered and expected; exit code 1 when these "
            "differ.\n"
            "CPU time and memory are those of all processes together.\n"
            "Without --bus and TRUNKLINE_BUS the bus is in this process only (memory:).\n"
            "Examples:\n"
            "  trunkline bench --shape fanout --subscribers 4\n"
            "  trunkline bench --dispatch queued --rate 1000 --events 5000\n"
            "  trunkline bench --bus unix:/tmp/bench/bus.sock --processes --shape group"
        );
    }

    exit_code run(const common_options& common) override {
        const auto url = complete_plan(bus_url(common, default_bus::memory));
        // Full queues are part of the plan, so what is logged about them says nothing.
        auto bus = open_bus(url, common, "error");
        const auto traits = bus->traits();
        if (processes_ || role_ != "all") check_processes(url, traits);
        if (role_ != "all") {
            const auto result = run_bench_worker(*bus, plan_, role_named(role_));
            const auto closed = bus->close_blocking();
            if (closed) say("close: " + closed.message());
            return closed ? exit_code::failed : result;
        }
        bench_result result;
        trunkline::error_code closed;
        if (processes_) {
            bus = nullptr;  // it has not joined
            result = run_bench_processes(child_arguments(url, common), plan_, broker_named());
        } else {
            result = run_bench(*bus, plan_);
            closed = bus->close_blocking();
            if (closed) say("close: " + closed.message());
        }
        const bool written = write_result(result, traits);
        if (result.delivered != plan_.expected())
            say("delivered " + std::to_string(result.delivered) + " events instead of " +
                std::to_string(plan_.expected()));
        const bool good = written && !closed && result.delivered == plan_.expected();
        return good ? exit_code::done : exit_code::failed;
    }

private:
    bool write_result(const bench_result& result, const trunkline::backend_traits& traits) const {
        const auto events = static_cast<double>(plan_.events);
        constexpr double us_per_second = 1e6;
        // Across processes there is a queue in any case.
        const char* dispatch = traits.cross_process ? "queued" : "inline";
        boost::json::object line{
            {"shape", shape_},
            {"subscribers", plan_.subscribers},
            {"processes", processes_ ? bench_process_count(plan_, broker_named()) : 1},
            {"broker_in", processes_ ? boost::json::value(broker_in_) : boost::json::value()},
            {"events", plan_.events},
            {"payload_bytes", plan_.payload_bytes},
            {"in_flight", plan_.in_flight},
            {"confirmed", plan_.confirmed},
            {"dispatch", dispatch_.value_or(dispatch)},
            {"replay", traits.offsets},
            {"events_per_second", std::round(events / result.seconds)},
            {"cpu_us_per_event", rounded(result.cpu_seconds * us_per_second / events, 1e4)},
            {"p50_us", microseconds(result.p50_us)},
            {"p99_us", microseconds(result.p99_us)},
            {"delivered", result.delivered},
            {"expected", plan_.expected()},
            {"peak_rss_mb", rounded(result.peak_rss_mb, 10)}
        };
        line_writer out;
        return out.write(line);
    }

    void check_processes(const std::string& url, const trunkline::backend_traits& traits) const {
        const auto flag = processes_ ? std::string("--processes") : "--role " + role_;
        if (!traits.cross_process || !unix_path(url))
            throw usage_error(
                flag + ": needs a bus across processes, and " + url + " is in this process only"
            );
        if (traits.offsets)
            throw usage_error(flag + ": each process would keep a history of its own for replay");
    }

    bench_broker broker_named() const {
        if (broker_in_ == "publisher") return bench_broker::publisher;
        return broker_in_ == "subscriber" ? bench_broker::subscriber : bench_broker::third;
    }
    static bench_role role_named(const std::string& name) {
        if (name == "publisher") return bench_role::publisher;
        return name == "subscriber" ? bench_role::subscriber : bench_role::broker;
    }

    std::vector<std::string> child_arguments(const std::string& url, const common_options& common)
        const {
        std::vector<std::string> words = {
            "bench",
            "--bus",
            url,
            "--log-level",
            common.log_level.value_or("error"),
            "--shape",
            shape_,
            "--subscribers",
            std::to_string(plan_.subscribers),
            "--events",
            std::to_string(plan_.events),
            "--payload",
            std::to_string(plan_.payload_bytes),
            "--in-flight",
            std::to_string(plan_.in_flight)
        };
        if (plan_.rate) words.insert(words.end(), {"--rate", std::to_string(*plan_.rate)});
        if (plan_.confirmed) words.emplace_back("--confirmed");
        return words;
    }

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
    std::string broker_in_ = "third";
};

}  // namespace

std::unique_ptr<command> make_bench(CLI::App& parser) {
    return std::make_unique<bench_command>(parser);
}

}  // namespace trunkline_cli
