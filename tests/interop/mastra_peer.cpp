#include "mastra_peer.hpp"

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace interop {
namespace {

using namespace std::chrono_literals;

// Generous: it is waited for in failures only.
constexpr auto answer_time_max = 20s;
constexpr int reference_node_min = 22;
constexpr std::size_t depth_max = 2000;

deadline in(std::chrono::milliseconds time) {
    return std::chrono::steady_clock::now() + time;
}

json::value parse(std::string_view text) {
    json::parse_options options;
    options.max_depth = depth_max;
    return json::parse(text, {}, options);
}

std::vector<std::string> arguments_of(const std::string& path, const mastra_options& options) {
    std::vector<std::string> arguments{path};
    if (options.replay) arguments.emplace_back("--replay");
    const auto add = [&](const char* name, const auto& limit) {
        if (limit) arguments.push_back("--" + std::string(name) + "=" + std::to_string(*limit));
    };
    add("maxRemoteClientQueuedBytes", options.max_remote_client_queued_bytes);
    add("maxInboundFrameBytes", options.max_inbound_frame_bytes);
    add("membershipAckTimeoutMs", options.membership_ack_timeout_ms);
    return arguments;
}

// Text, or the notation of what came in its place.
std::string text_of(const json::value& value) {
    return value.is_string() ? std::string(value.as_string()) : json::serialize(value);
}

mastra_event event_of(const json::object& from) {
    mastra_event event;
    if (const auto* number = from.if_contains("subscription"))
        event.subscription = number->to_number<int>();
    if (const auto* topic = from.if_contains("topic")) event.topic = text_of(*topic);
    if (const auto* group = from.if_contains("group")) event.group = text_of(*group);
    event.type = text_of(from.at("type"));
    event.run_id = text_of(from.at("runId"));
    event.id = text_of(from.at("id"));
    event.created_at = from.at("createdAt");
    if (const auto& attempt = from.at("deliveryAttempt"); attempt.is_number())
        event.delivery_attempt = attempt.to_number<int>();
    if (const auto& index = from.at("index"); index.is_number())
        event.index = index.to_number<std::int64_t>();
    event.data = from.at("data");
    event.extra = from.at("extra").as_object();
    return event;
}

struct reference {
    std::string why_not, version;
};

reference look_for_reference() {
    if (!node().why_not.empty()) return {node().why_not, {}};
    if (node().major < reference_node_min)
        return {"the reference needs Node " + std::to_string(reference_node_min), {}};
    const std::filesystem::path manifest =
        TRUNKLINE_SOURCE_DIR "/tests/interop/node_modules/@mastra/core/package.json";
    std::ifstream file(manifest, std::ios::binary);
    if (!file) return {"the reference is not installed (./dev interop does it)", {}};
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const auto core = text_of(parse(text).at("version"));
    return {{}, "@mastra/core " + core + ", node v" + std::to_string(node().major)};
}

const reference& the_reference() {
    static const reference found = look_for_reference();
    return found;
}

}  // namespace

const std::string& no_reference() {
    return the_reference().why_not;
}

const std::string& reference_version() {
    return the_reference().version;
}

mastra_peer::mastra_peer(std::string path, const mastra_options& options)
    : path_(std::move(path)), process_("mastra_peer.mjs", arguments_of(path_, options)) {
    if (!read_until(in(answer_time_max), [&] { return ready_; })) fail("it did not start");
}

// ---- Commands

int mastra_peer::subscribe(std::string_view topic, const mastra_subscriber& how) {
    json::object command{{"topic", topic}, {"mode", how.mode}, {"quiet", how.quiet}};
    if (how.group) command["group"] = *how.group;
    if (how.times) command["times"] = *how.times;
    if (how.from) command["from"] = *how.from;
    const int number = send("subscribe", std::move(command));
    answer(number);
    return number;
}

void mastra_peer::unsubscribe(int subscription) {
    call("unsubscribe", {{"subscription", subscription}});
}

void mastra_peer::publish(std::string_view topic, std::string_view event) {
    call("publish", {{"topic", topic}, {"event", parse(event)}});
}

void mastra_peer::publish_many(std::string_view topic, std::int64_t count, std::int64_t first) {
    call("publish_many", {{"topic", topic}, {"count", count}, {"first", first}});
}

void mastra_peer::flush() {
    call("flush");
}

void mastra_peer::close() {
    call("close");
}

mastra_role mastra_peer::role() {
    const auto found = call("role");
    return {found.at("broker").as_bool(), found.at("clients").to_number<int>()};
}

mastra_role mastra_peer::wait_for_role(bool broker, std::optional<int> clients) {
    json::object command{{"broker", broker}};
    if (clients) command["clients"] = *clients;
    const auto found = call("await_role", std::move(command));
    return {found.at("broker").as_bool(), found.at("clients").to_number<int>()};
}

mastra_counts mastra_peer::wait_for_count(int subscription, std::int64_t count) {
    const auto found = call("received", {{"subscription", subscription}, {"count", count}});
    const auto number = [&](const char* name) { return found.at(name).to_number<std::int64_t>(); };
    return {number("count"), number("different"), number("inversions")};
}

std::vector<mastra_event> mastra_peer::history(std::string_view topic, std::int64_t from) {
    std::vector<mastra_event> events;
    const auto found = call("history", {{"topic", topic}, {"from", from}});
    for (const auto& event : found.at("events").as_array())
        events.push_back(event_of(event.as_object()));
    return events;
}

int mastra_peer::send(std::string_view name, json::object command) {
    const int number = ++last_number_;
    command["n"] = number;
    command["do"] = name;
    auto line = json::serialize(command);
    process_.write(line + "\n");
    pending_.emplace(number, std::move(line));
    return number;
}

json::object mastra_peer::answer(int number) {
    const auto command = pending_.find(number);
    if (command == pending_.end()) fail("no command " + std::to_string(number) + " is pending");
    if (!read_until(in(answer_time_max), [&] { return answers_.contains(number); }))
        fail("no answer to " + command->second);
    auto found = std::move(answers_.extract(number).mapped());
    const auto line = std::move(pending_.extract(number).mapped());
    if (found.contains("failed")) fail(line + " failed: " + text_of(found.at("error")));
    return found;
}

json::object mastra_peer::call(std::string_view name, json::object command) {
    return answer(send(name, std::move(command)));
}

// ---- Events

const std::vector<mastra_event>& mastra_peer::events() {
    read_until(in(0ms), [] { return false; });
    return events_;
}

const std::vector<mastra_event>& mastra_peer::wait_for_events(std::size_t count) {
    if (!has_events(count, answer_time_max)) {
        fail(std::to_string(events_.size()) + " of " + std::to_string(count) + " events came");
    }
    return events_;
}

bool mastra_peer::has_events(std::size_t count, milliseconds within) {
    return read_until(in(within), [&] { return events_.size() >= count; });
}

// ---- Its life

void mastra_peer::kill_9() {
    process_.signal(SIGKILL);
    if (!process_.wait(in(answer_time_max))) fail("it does not end");
}

void mastra_peer::stop() {
    close();
    process_.end_input();
    if (!process_.wait(in(answer_time_max))) fail("it does not end");
}

void mastra_peer::suspend() {
    process_.signal(SIGSTOP);
}

void mastra_peer::resume() {
    process_.signal(SIGCONT);
}

// ---- Lines of output

template <class Done>
bool mastra_peer::read_until(deadline until, Done done) {
    while (!done()) {
        const auto line = process_.read_line(until);
        if (!line) return false;
        take(*line);
    }
    return true;
}

void mastra_peer::take(std::string_view line) {
    const auto value = parse(line);
    const auto& object = value.as_object();
    if (object.contains("ready")) {
        ready_ = true;
    } else if (const auto* event = object.if_contains("event")) {
        events_.push_back(event_of(event->as_object()));
    } else {
        const auto* number = object.if_contains("done");
        if (number == nullptr) number = &object.at("failed");
        answers_.emplace(number->to_number<int>(), object);
    }
}

void mastra_peer::fail(std::string_view what) const {
    std::string message = "Mastra peer " + std::to_string(pid()) + " at " + path_ + ", which " +
                          process_.state() + ": " + std::string(what);
    if (const auto errors = process_.errors(); !errors.empty())
        message += "\nits standard error:\n" + errors;
    throw std::runtime_error(message);
}

}  // namespace interop
