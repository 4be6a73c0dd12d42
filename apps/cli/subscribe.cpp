#include "command.hpp"
#include "receiver.hpp"

#include <CLI/CLI.hpp>

#include <limits>

namespace trunkline_cli {

namespace {

class subscribe_command final : public command {
public:
    explicit subscribe_command(CLI::App& parser) {
        parser.add_option("TOPIC", flags_.topic, "What to listen to")->required();
        parser.add_option("--count", flags_.count, "End after this many events [default: never]")
            ->type_name("N")
            ->check(CLI::PositiveNumber);
        add_subscribe_flags(parser, flags_);
        parser.footer(
            "Prints "
            "{\"topic\",\"type\",\"data\",\"runId\",\"id\",\"createdAt\",\"deliveryAttempt\",...}\n"
            "per event, and {\"ready\":true} on standard error once no later event can be missed.\n"
            "SIGINT and SIGTERM end it with exit code 0.\n"
            "Examples:\n"
            "  trunkline subscribe orders\n"
            "  trunkline subscribe orders --group billing --count 1 --timeout 30\n"
            "  trunkline subscribe orders --bus 'memory:?replay=1' --offset 100"
        );
    }

    exit_code run(const common_options& common) override {
        watch w(flags_.timeout);
        bool finished = false;
        line_writer out(&w);
        const auto bus = open_bus(bus_url(common), common);
        {
            receiver from(*bus, flags_, out, w);
            say_when_alone(*bus);
            const auto wanted = flags_.count.value_or(std::numeric_limits<std::uint64_t>::max());
            finished = from.wait_ready() && from.wait_for(wanted);
            // What comes from here on belongs to somebody else.
            from.stop();
        }
        if (const auto closed = bus->close_blocking()) {
            say("close: " + closed.message());
            return exit_code::failed;
        }
        return finished ? exit_code::done : w.result();
    }

private:
    subscribe_flags flags_;
};

}  // namespace

std::unique_ptr<command> make_subscribe(CLI::App& parser) {
    return std::make_unique<subscribe_command>(parser);
}

}  // namespace trunkline_cli
