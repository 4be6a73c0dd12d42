#include "bench.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <string>
#include <utility>

namespace bench {
namespace {

constexpr std::string_view head = R"({"seq":)";
constexpr std::string_view middle = R"(,"text":")";
constexpr std::string_view tail = R"("})";

std::atomic<bool> something_failed{false};

}  // namespace

bool smoke() {
    static const bool on = std::getenv("TRUNKLINE_BENCH_SMOKE") != nullptr;
    return on;
}

std::uint64_t events(std::uint64_t full) {
    constexpr std::uint64_t small = 2000;
    return smoke() ? std::min(small, full) : full;
}

void fail(benchmark::State& state, std::string_view why) {
    something_failed = true;
    state.SkipWithError(std::string(why).c_str());
}

payload_text::payload_text() {
    text_.fill('x');
    std::copy(head.begin(), head.end(), text_.begin());
    std::copy(tail.begin(), tail.end(), text_.end() - tail.size());
}

std::string_view payload_text::write(std::uint64_t number) {
    constexpr std::size_t longest_number = 20;
    static_assert(head.size() + longest_number + middle.size() + tail.size() < bytes);
    auto* const first = text_.data() + head.size();
    auto* const after_number = std::to_chars(first, first + longest_number, number).ptr;
    auto* const padding = std::copy(middle.begin(), middle.end(), after_number);
    // A shorter number than the last one leaves letters of the old text behind.
    auto* const reach = first + longest_number + middle.size();
    std::fill(padding, std::max(padding, reach), 'x');
    return {text_.data(), text_.size()};
}

std::uint64_t payload_text::read(std::string_view text) {
    std::uint64_t number = 0;
    if (text.size() > head.size())
        std::from_chars(text.data() + head.size(), text.data() + text.size(), number);
    return number;
}

trunkline::handler counting(arrivals& to) {
    return [&to](const trunkline::event& e) { to.add(payload_text::read(e.data().text())); };
}

trunkline::handler counting_and_acknowledging(arrivals& to) {
    return [&to](trunkline::delivery& d) {
        to.add(payload_text::read(d.event().data().text()));
        std::move(d).ack();
    };
}

namespace {

void compare(
    benchmark::State& state, std::uint64_t got_events, std::uint64_t got_sum, std::uint64_t events
) {
    if (got_events != events) {
        fail(
            state,
            "delivered " + std::to_string(got_events) + ", expected " + std::to_string(events)
        );
    } else if (got_sum != events * (events - 1) / 2) {
        fail(state, "the right number of events, but not the right ones");
    }
}

}  // namespace

void check(benchmark::State& state, std::span<const arrivals> got, std::uint64_t events) {
    for (const auto& subscriber : got) compare(state, subscriber.events, subscriber.sum, events);
}

void check_shared(benchmark::State& state, std::span<const arrivals> got, std::uint64_t events) {
    std::uint64_t all = 0, sum = 0;
    for (const auto& subscriber : got) {
        all += subscriber.events;
        sum += subscriber.sum;
    }
    compare(state, all, sum, events);
}

void report_latencies(benchmark::State& state, std::vector<std::int64_t> nanoseconds) {
    if (nanoseconds.empty()) return fail(state, "no latencies");
    std::sort(nanoseconds.begin(), nanoseconds.end());
    const auto percentile = [&](double share) {
        const auto at = static_cast<std::size_t>(share * static_cast<double>(nanoseconds.size()));
        return static_cast<double>(nanoseconds[std::min(at, nanoseconds.size() - 1)]) / 1e3;
    };
    state.counters["p50_us"] = percentile(0.5);
    state.counters["p99_us"] = percentile(0.99);
    state.counters["p999_us"] = percentile(0.999);
}

std::int64_t now_ns() {
    return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace bench

// As the library's own main, but with a default of ten repetitions, and an exit code that tells.
int main(int argc, char** argv) {
    std::string repetitions = "--benchmark_repetitions=10";
    std::string aggregates = "--benchmark_report_aggregates_only=true";
    std::vector<char*> arguments{argv, argv + argc};
    if (!bench::smoke())
        arguments.insert(arguments.begin() + 1, {repetitions.data(), aggregates.data()});
    auto count = static_cast<int>(arguments.size());
    arguments.push_back(nullptr);
    benchmark::Initialize(&count, arguments.data());
    if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return bench::something_failed ? 1 : 0;
}
