#include "event_source.hpp"

#include "exit_code.hpp"
#include "json_input.hpp"
#include "line_reader.hpp"

#include <trunkline/event_json.hpp>

#include <boost/json/object.hpp>

#include <CLI/CLI.hpp>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iterator>
#include <unistd.h>

namespace trunkline_cli {

namespace {

std::string text_of_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(file), {}};
    if (!file.is_open() || file.bad()) throw usage_error("--data-file: cannot read " + path);
    return text;
}

trunkline::payload payload_of(std::string_view flag, std::string_view text) {
    auto parsed = parse_json(text, trunkline::payload::depth_max);
    if (!parsed.value) throw usage_error(std::string(flag) + ": " + parsed.problem);
    return std::move(*parsed.value);
}

}  // namespace

void add_publish_flags(CLI::App& parser, publish_flags& flags, const char* count_help) {
    parser.add_option("--type", flags.type, "Type of the events")->capture_default_str();
    parser.add_option("--run-id", flags.run_id, "Run id of the events")->capture_default_str();
    auto* data =
        parser.add_option("--data", flags.data, "Their data [default: none]")->type_name("JSON");
    auto* file = parser.add_option("--data-file", flags.data_file, "A file with their data")
                     ->type_name("FILE")
                     ->excludes(data);
    parser
        .add_flag(
            "--lines",
            flags.lines,
            "Publish each line of standard input as it arrives. A JSON object with a string "
            "\"type\" is a whole event (type, data, runId, id, createdAt and further fields; "
            "`topic` is left out), other JSON becomes data, and so does any other text, as a string"
        )
        ->excludes(data)
        ->excludes(file);
    parser.add_flag(
        "--confirmed",
        flags.confirmed,
        "An event counts as published only when every Trunkline process that it went to has it; it "
        "is sent again when the broker is lost before that"
    );
    parser.add_option("--count", flags.count, count_help)
        ->type_name("N")
        ->check(CLI::PositiveNumber);
    parser.add_option("--rate", flags.rate, "Events per second, at most [default: no limit]")
        ->type_name("N")
        ->check(CLI::PositiveNumber);
}

event_source::event_source(const publish_flags& flags) : flags_(flags), start_(watch::now()) {
    check_topic(flags.topic);
    check_name("--type", flags.type);
    check_name("--run-id", flags.run_id);
    how_.confirmed(flags.confirmed);
    if (flags.data) data_ = payload_of("--data", *flags.data);
    if (flags.data_file) data_ = payload_of("--data-file", text_of_file(*flags.data_file));
}

bool event_source::run(publisher& to, watch& w) {
    start_ = watch::now();
    if (flags_.lines) return run_lines(to, w);
    const auto count = flags_.count.value_or(1);
    while (sent_ < count) {
        if (!keep_pace(w) || !to.publish({flags_.type, flags_.run_id, data_}, how_)) return false;
    }
    return true;
}

bool event_source::run_lines(publisher& to, watch& w) {
    line_reader input(STDIN_FILENO, w);
    std::string line;
    for (std::uint64_t number = 1; !flags_.count || sent_ < *flags_.count; ++number) {
        if (w.over()) return false;
        const auto place = "line " + std::to_string(number) + ": ";
        switch (input.next(line)) {
            case line_reader::outcome::line:
                keep_pace(w);
                publish_line(to, line, place);
                break;
            case line_reader::outcome::too_long:
                to.reject(place + "longer than 64 MiB");
                break;
            case line_reader::outcome::failed:
                to.reject("cannot read standard input: " + std::string(std::strerror(errno)));
                return true;
            case line_reader::outcome::end:
                return true;
            case line_reader::outcome::over:
                return false;
        }
    }
    return true;
}

void event_source::publish_line(publisher& to, std::string_view line, const std::string& place) {
    const auto publish = [&](trunkline::event_draft draft, trunkline::publish_options how = {}) {
        how.confirmed(flags_.confirmed);
        if (!to.publish(std::move(draft), how)) to.reject(place + "not published, no time left");
    };
    try {
        // One level more than data may have, for the event around it.
        auto parsed = parse_json(line, trunkline::payload::depth_max + 1);
        if (parsed.too_deep) return to.reject(place + parsed.problem);
        if (!parsed.value) return publish({flags_.type, flags_.run_id, boost::json::value(line)});
        if (auto* fields = parsed.value->if_object()) {
            const auto* type = fields->if_contains("type");
            if (type != nullptr && type->is_string()) {
                fields->erase("topic");  // so that lines of `subscribe` can be published again
                return publish(
                    trunkline::draft_from_json(*fields, flags_.run_id),
                    trunkline::publish_options().keep_identity()
                );
            }
        }
        publish({flags_.type, flags_.run_id, std::move(*parsed.value)});
    } catch (const std::exception& problem) {
        to.reject(place + problem.what());
    }
}

// Counts one more event and waits until it is due; false when the command is over first.
bool event_source::keep_pace(watch& w) {
    const auto before = sent_++;
    if (w.over()) return false;
    if (!flags_.rate) return true;
    const std::chrono::duration<double> due(static_cast<double>(before) / *flags_.rate);
    return w.wait_until(start_ + std::chrono::duration_cast<trunkline::clock::duration>(due));
}

}  // namespace trunkline_cli
