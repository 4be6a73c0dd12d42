// What does JSON cost: writing numbers and texts, and the faces of a payload?

#include "support/bench.hpp"

#include <trunkline/event_emitter_pubsub.hpp>
#include <trunkline/event_json.hpp>
#include <trunkline/json_text.hpp>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <array>
#include <string>
#include <string_view>

namespace {

// Writes the values over and over; one of them an iteration. The output is compared with what it
// must be before anything is measured.
template <class Write, std::size_t Count, class Value>
void write_values(
    benchmark::State& state,
    Write write,
    const std::array<Value, Count>& values,
    std::string_view expected
) {
    std::string out;
    for (const auto& value : values) write(out, value);
    if (out != expected) return bench::fail(state, "wrote " + out);
    std::size_t i = 0;
    std::uint64_t bytes = 0;
    for ([[maybe_unused]] auto _ : state) {
        out.clear();
        write(out, values[i]);
        bytes += out.size();
        i = i + 1 == Count ? 0 : i + 1;
    }
    state.SetItemsProcessed(state.iterations());
    state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}

void write_number(std::string& out, double number) {
    trunkline::append_json(out, number);
}
void write_text(std::string& out, std::string_view text) {
    trunkline::append_json_string(out, text);
}

void integers(benchmark::State& state) {
    constexpr std::array values{0.0, 7.0, 42.0, -1.0, 1700000000000.0, 9007199254740991.0};
    write_values(state, write_number, values, "0742-117000000000009007199254740991");
}
BENCHMARK(integers);

void decimals(benchmark::State& state) {
    constexpr std::array values{0.5, 3.14159, -273.15, 1e21, 1e-7, 0.1 + 0.2};
    write_values(state, write_number, values, "0.53.14159-273.151e+211e-70.30000000000000004");
}
BENCHMARK(decimals);

void plain_text(benchmark::State& state) {
    const std::string text(100, 'x');
    write_values(state, write_text, std::array{std::string_view(text)}, "\"" + text + "\"");
}
BENCHMARK(plain_text);

void escaped_text(benchmark::State& state) {
    constexpr std::array values{
        std::string_view("line\nand \"quotes\""), std::string_view("Łódź → 🚂")
    };
    write_values(state, write_text, values, R"("line\nand \"quotes\"""Łódź → 🚂")");
}
BENCHMARK(escaped_text);

// Text in, tree out: what the first reader of a payload pays.
void payload_tree_from_text(benchmark::State& state) {
    bench::payload_text text;
    std::uint64_t number = 0, sum = 0;
    for ([[maybe_unused]] auto _ : state) {
        const auto payload = trunkline::payload::from_json_text(text.write(number++));
        sum += payload.tree().as_object().at("seq").to_number<std::uint64_t>();
    }
    if (sum != number * (number - 1) / 2) bench::fail(state, "not what was written");
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(payload_tree_from_text);

// Tree in, text out: what a transport pays for a payload that was built as a tree.
void payload_text_from_tree(benchmark::State& state) {
    const std::string padding(110, 'x');
    std::uint64_t number = 0, sum = 0;
    for ([[maybe_unused]] auto _ : state) {
        const trunkline::payload payload(boost::json::value{{"seq", number++}, {"text", padding}});
        sum += bench::payload_text::read(payload.text());
    }
    if (sum != number * (number - 1) / 2) bench::fail(state, "not what was written");
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(payload_text_from_tree);

// A whole event as a line of JSON, id and time rendered.
void event_line(benchmark::State& state) {
    trunkline::event published;
    trunkline::event_emitter_pubsub bus;
    const auto subscription =
        bus.subscribe(bench::topic, [&](const trunkline::event& e) { published = e; });
    bench::payload_text text;
    bench::must(bus.publish(bench::topic, bench::draft(text, 7)));
    bench::must(bus.flush_blocking());
    if (!published) return bench::fail(state, "nothing arrived");
    std::string out;
    for ([[maybe_unused]] auto _ : state) {
        out.clear();
        trunkline::append_event_json(out, published);
        benchmark::DoNotOptimize(out.data());
    }
    if (out.find(published.id().text()) == out.npos || out.find("\"seq\":7") == out.npos)
        bench::fail(state, "not the event: " + out);
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK(event_line);

}  // namespace
