#pragma once

#include "console.hpp"
#include "held_deliveries.hpp"
#include "parser_fwd.hpp"
#include "watch.hpp"

#include <trunkline/pubsub.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace trunkline_cli {

/// What `subscribe` and `pipe` listen to, and how they settle it.
struct subscribe_flags {
    std::string topic;
    std::optional<std::string> group;
    std::optional<std::string> from;
    bool replay = false;
    std::optional<std::uint64_t> offset;
    std::optional<std::uint64_t> count;  ///< print no more than so many
    std::optional<double> timeout;
    std::string settle = "ack";
    std::uint64_t nack_first = 0;
    std::uint64_t hold_ms = 0;
};

template <class Value>
struct answer;

/// Adds the flags, except TOPIC and --count.
void add_subscribe_flags(CLI::App& parser, subscribe_flags& flags);

/// One subscription that prints every delivery as a line and then settles it, at once or after the
/// holding time. Threading: main thread; the handler runs where the bus calls it.
class receiver {
public:
    /// Subscribes. Throws std::invalid_argument naming what is wrong with the flags.
    receiver(trunkline::pubsub& bus, const subscribe_flags& flags, line_writer& out, watch& w);
    /// Lets go of what is not settled; the bus must still be there.
    ~receiver();
    receiver(const receiver&) = delete;
    receiver& operator=(const receiver&) = delete;

    /// Waits until no later event can be missed, and says so on standard error. False when that
    /// failed or the command was over first.
    bool wait_ready();
    /// Waits until `count` deliveries were printed and settled; false when it was over first.
    bool wait_for(std::uint64_t count);
    /// Waits until everything published before has been handled, with the redeliveries that held
    /// deliveries cause when they are settled; false when it was over first.
    bool wait_until_drained();
    /// No handler starts any more.
    void stop();

private:
    struct state;

    bool wait_for_answer(const answer<void>& answered, const char* what);

    trunkline::pubsub& bus_;
    watch& watch_;
    std::shared_ptr<state> state_;
    trunkline::subscription subscription_;
};

}  // namespace trunkline_cli
