#include "receiver.hpp"

#include "answer.hpp"
#include "exit_code.hpp"
#include "json_input.hpp"

#include <trunkline/event_json.hpp>
#include <trunkline/json_text.hpp>

#include <boost/json/object.hpp>

#include <CLI/CLI.hpp>

#include <atomic>
#include <limits>

namespace trunkline_cli {

namespace {

verdict verdict_named(const std::string& name) {
    if (name == "nack") return verdict::nack;
    return name == "none" ? verdict::none : verdict::ack;
}

// The event as a line, with its topic in front.
std::string line_of(std::string_view topic, const trunkline::event& e) {
    std::string line = "{\"topic\":";
    trunkline::append_json_string(line, topic);
    const auto at = line.size();
    trunkline::append_event_json(line, e);
    line[at] = ',';
    return line;
}

}  // namespace

void add_subscribe_flags(CLI::App& parser, subscribe_flags& flags) {
    parser.add_option("--group", flags.group, "Share the topic's events with this group's members")
        ->type_name("NAME");
    parser
        .add_option(
            "--from",
            flags.from,
            "Where a new group begins, on a backend that keeps a backlog [default: the backend's]"
        )
        ->type_name("earliest|latest")
        ->check(CLI::IsMember({"earliest", "latest"}));
    auto* replay = parser.add_flag(
        "--replay", flags.replay, "First everything that is retained, then live events"
    );
    parser
        .add_option(
            "--offset",
            flags.offset,
            "The same from this index on; a gap is reported as "
            "{\"gap\":…} on standard error"
        )
        ->type_name("N")
        ->check(CLI::NonNegativeNumber)
        ->excludes(replay);
    parser.add_option("--timeout", flags.timeout, "Give up after this time, with exit code 3")
        ->type_name("SECONDS")
        ->check(CLI::PositiveNumber);
    parser.add_option("--settle", flags.settle, "How deliveries are settled")
        ->capture_default_str()
        ->type_name("ack|none|nack")
        ->check(CLI::IsMember({"ack", "none", "nack"}));
    parser.add_option("--nack-first", flags.nack_first, "Nack the first K first attempts")
        ->type_name("K")
        ->check(CLI::NonNegativeNumber);
    parser.add_option("--hold", flags.hold_ms, "Time between receiving an event and settling it")
        ->type_name("MS")
        ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{86'400'000}));
}

// Shared with the handler.
struct receiver::state {
    state(const subscribe_flags& flags, line_writer& to, watch& w, boost::asio::any_io_executor ex)
        : topic(flags.topic),
          count_max(flags.count.value_or(std::numeric_limits<std::uint64_t>::max())),
          rest(verdict_named(flags.settle)),
          nacks_left(flags.nack_first),
          holds(flags.hold_ms > 0),
          out(to),
          waiter(w),
          held(std::make_shared<held_deliveries>(
              std::move(ex), std::chrono::milliseconds(flags.hold_ms), w
          )) {}

    void handle(trunkline::delivery& d) {
        if (printed.load(std::memory_order_relaxed) >= count_max || broken) return;
        if (!out.write(line_of(topic, d.event()))) {
            broken = true;
            waiter.fail();
            return;
        }
        auto how = rest;
        if (nacks_left > 0 && d.event().delivery_attempt() == 1) {
            --nacks_left;
            how = verdict::nack;
        }
        if (holds)
            held->add(std::move(d), how);
        else
            settle(std::move(d), how);
        printed.fetch_add(1);
        waiter.wake();
    }

    const std::string topic;
    const std::uint64_t count_max;
    const verdict rest;
    std::uint64_t nacks_left;  // handler calls never overlap
    const bool holds;
    bool broken = false;
    line_writer& out;
    watch& waiter;
    const std::shared_ptr<held_deliveries> held;
    std::atomic<std::uint64_t> printed{0};
};

receiver::receiver(trunkline::pubsub& bus, const subscribe_flags& flags, line_writer& out, watch& w)
    : bus_(bus), watch_(w), state_(std::make_shared<state>(flags, out, w, bus.executor())) {
    check_topic(flags.topic);
    trunkline::subscribe_options how;
    if (flags.group) {
        check_name("--group", *flags.group);
        how.group(*flags.group);
    }
    if (flags.from) {
        using trunkline::start_position;
        how.start_from(*flags.from == "latest" ? start_position::latest : start_position::earliest);
    }
    how.on_gap([](const trunkline::offset_gap& gap) {
        signal_line({{"gap", true}, {"firstMissing", gap.first_missing}, {"oldest", gap.oldest}});
    });
    const auto handler = [s = state_](trunkline::delivery& d) { s->handle(d); };
    if (flags.offset)
        subscription_ = bus.subscribe_from_offset(flags.topic, *flags.offset, handler, how);
    else if (flags.replay)
        subscription_ = bus.subscribe_with_replay(flags.topic, handler, how);
    else
        subscription_ = bus.subscribe(flags.topic, handler, how);
    if ((flags.replay || flags.offset) && !bus.traits().offsets)
        say("note: this bus retains nothing, so there is nothing to replay (?replay=1 in its URL "
            "makes it retain)");
}

receiver::~receiver() {
    stop();
    state_->held->abandon();
}

void receiver::stop() {
    subscription_.stop();
}

bool receiver::wait_for_answer(const answer<void>& answered, const char* what) {
    if (!watch_.wait([&] { return answered.arrived.load(); })) return false;
    if (!answered.ec) return true;
    say(std::string(what) + ": " + answered.ec.message());
    watch_.fail();
    return false;
}

bool receiver::wait_ready() {
    const auto answered = std::make_shared<answer<void>>();
    subscription_.ready(answer_to(answered, watch_));
    if (!wait_for_answer(*answered, "subscribe")) return false;
    signal_line({{"ready", true}});
    return true;
}

bool receiver::wait_for(std::uint64_t count) {
    return watch_.wait([&] { return state_->printed.load() >= count && state_->held->empty(); });
}

bool receiver::wait_until_drained() {
    for (;;) {
        const auto settled = state_->held->settled();
        const auto answered = std::make_shared<answer<void>>();
        bus_.async_flush(answer_to(answered, watch_));
        if (!wait_for_answer(*answered, "flush")) return false;
        if (!watch_.wait([&] { return state_->held->empty(); })) return false;
        // What was settled meanwhile may have come back: only a quiet round is the end.
        if (state_->held->settled() == settled) return true;
    }
}

}  // namespace trunkline_cli
