#include "command.hpp"
#include "console.hpp"
#include "event_source.hpp"
#include "publisher.hpp"
#include "receiver.hpp"
#include "watch.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <optional>

namespace trunkline_cli {

namespace {

class pipe_command final : public command {
public:
    explicit pipe_command(CLI::App& parser) {
        parser.add_option("TOPIC", send_.topic, "Where to publish and what to listen to")
            ->required();
        add_publish_flags(
            parser,
            send_,
            "How many events to publish (with --lines: at most so many), and how many must have "
            "been received at the end, those before --offset not counted"
        );
        add_subscribe_flags(parser, receive_);
        parser.add_flag(
            "--publish-first",
            publish_first_,
            "Subscribe only when everything was published, for --replay and --offset"
        );
        parser.footer(
            "Subscribes, says {\"ready\":true} on standard error, publishes, prints the events as\n"
            "`subscribe` does and {\"published\":N,\"failed\":M,\"seconds\":S} as the last line. "
            "Ends\n"
            "when everything was published, delivered and settled, redeliveries included.\n"
            "Without --bus and TRUNKLINE_BUS the bus is in this process only (memory:).\n"
            "Examples:\n"
            "  trunkline pipe t --data '{\"n\":1}' --count 3\n"
            "  trunkline pipe t --data 1 --group g --nack-first 1\n"
            "  seq 5 | trunkline pipe t --lines --bus 'memory:?replay=1' --publish-first --offset 2"
        );
    }

    exit_code run(const common_options& common) override {
        receive_.topic = send_.topic;
        event_source source(send_);
        watch w(receive_.timeout);
        line_writer out(&w);
        const auto bus = open_bus(bus_url(common, default_bus::memory), common);
        std::uint64_t failed = 0;
        bool sent = false;
        bool finished = false;
        bool written = false;
        {
            publisher to(*bus, send_.topic, w);
            std::optional<receiver> from;
            if (publish_first_) sent = send_all(source, to, w);
            from.emplace(*bus, receive_, out, w);
            if (from->wait_ready()) {
                if (!publish_first_) sent = send_all(source, to, w);
                finished = sent && from->wait_until_drained() && from->wait_for(wanted(*bus));
            }
            from.reset();  // so that no event comes after the last line
            failed = to.failed();
            written = to.write_summary(out);
        }
        const auto closed = bus->close_blocking();
        if (closed) say("close: " + closed.message());
        if (failed > 0 || closed || !written) return exit_code::failed;
        return finished ? exit_code::done : w.result();
    }

private:
    // False when the command was over first.
    static bool send_all(event_source& source, publisher& to, watch& w) {
        const bool complete = source.run(to, w);
        to.finish();
        return complete;
    }

    // Deliveries that must have been printed before the end.
    std::uint64_t wanted(const trunkline::pubsub& bus) const {
        const auto count = send_.count.value_or(0);
        const auto skipped = bus.traits().offsets ? receive_.offset.value_or(0) : 0;
        return count - std::min(count, skipped);
    }

    publish_flags send_;
    subscribe_flags receive_;
    bool publish_first_ = false;
};

}  // namespace

std::unique_ptr<command> make_pipe(CLI::App& parser) {
    return std::make_unique<pipe_command>(parser);
}

}  // namespace trunkline_cli
