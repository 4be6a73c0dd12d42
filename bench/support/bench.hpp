#pragma once

#include <trunkline/event.hpp>
#include <trunkline/handler.hpp>
#include <trunkline/pubsub.hpp>

#include <boost/system/system_error.hpp>

#include <benchmark/benchmark.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

/// Shared by the benchmarks. All of them publish the same event and count what arrives; a benchmark
/// that loses, repeats or changes anything ends with an error, and its program with exit code 1.
namespace bench {

inline constexpr std::string_view topic = "bench";
inline constexpr std::string_view group = "workers";

/// True in the test run, which only wants to know whether everything still works.
bool smoke();
/// A number of events: the given one, or a small one in the test run.
std::uint64_t events(std::uint64_t full);

/// Ends the benchmark with an error, now and in the exit code.
void fail(benchmark::State& state, std::string_view why);

/// For what cannot fail unless the benchmark itself is wrong: throws boost::system::system_error.
inline void must(const trunkline::error_code& ec) {
    if (ec) [[unlikely]]
        throw boost::system::system_error(ec);
}

/// `{"seq":N,"text":"xxx…"}` in exactly 135 bytes, whatever N is.
class payload_text {
public:
    payload_text();
    /// Valid until the next call.
    std::string_view write(std::uint64_t number);
    static constexpr std::size_t bytes = 135;
    /// The number in such a text.
    static std::uint64_t read(std::string_view text);

private:
    std::array<char, bytes> text_;
};

/// The event that most benchmarks publish: its payload is text built for it.
inline trunkline::event_draft draft(payload_text& text, std::uint64_t number) {
    return {"bench", "run-1", trunkline::payload::from_json_text(text.write(number))};
}

/// What one subscriber got. On its own cache line: subscribers may run on several threads.
struct alignas(64) arrivals {
    std::atomic<std::uint64_t> events{0};
    std::atomic<std::uint64_t> sum{0};  ///< of the numbers in them

    /// From one thread at a time, as a handler is called.
    void add(std::uint64_t number) noexcept {
        events.store(events.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        sum.store(sum.load(std::memory_order_relaxed) + number, std::memory_order_relaxed);
    }
};

/// Notes the number of each event; with `acknowledge` it settles by hand.
trunkline::handler counting(arrivals& to);
trunkline::handler counting_and_acknowledging(arrivals& to);

/// Compares with what the numbers 0…events-1, each published once, must have brought to each
/// subscriber, or with `shared` to all of them together.
void check(benchmark::State& state, std::span<const arrivals> got, std::uint64_t events);
void check_shared(benchmark::State& state, std::span<const arrivals> got, std::uint64_t events);

/// Adds p50, p99 and p999 in microseconds as counters.
void report_latencies(benchmark::State& state, std::vector<std::int64_t> nanoseconds);

/// Nanoseconds of the steady clock.
std::int64_t now_ns();

}  // namespace bench
