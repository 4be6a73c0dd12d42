#include "command.hpp"
#include "console.hpp"
#include "event_source.hpp"
#include "publisher.hpp"
#include "watch.hpp"

#include <CLI/CLI.hpp>

namespace trunkline_cli {

namespace {

class publish_command final : public command {
public:
    explicit publish_command(CLI::App& parser) {
        parser.add_option("TOPIC", flags_.topic, "Where to publish")->required();
        add_publish_flags(
            parser,
            flags_,
            "How many events; with --lines: read at most so many lines [default: 1; with --lines: "
            "all]"
        );
        parser.footer(
            "Prints {\"published\":N,\"failed\":M,\"seconds\":S} at the end, when everything has "
            "left this\n"
            "process; 1 is the exit code when M is not 0.\n"
            "Examples:\n"
            "  trunkline publish orders --type order.created --data '{\"id\":7}'\n"
            "  trunkline publish load --data '{}' --count 10000 --rate 500\n"
            "  tail -f app.log | trunkline publish logs --lines"
        );
    }

    exit_code run(const common_options& common) override {
        event_source source(flags_);
        watch w;
        line_writer out(&w);
        const auto bus = open_bus(bus_url(common), common);
        say_when_alone(*bus);
        publisher to(*bus, flags_.topic, w);
        source.run(to, w);
        to.finish();
        to.flush();
        if (const auto closed = bus->close_blocking()) to.reject("close: " + closed.message());
        const bool written = to.write_summary(out);
        if (to.failed() > 0 || !written) return exit_code::failed;
        return w.result();
    }

private:
    publish_flags flags_;
};

}  // namespace

std::unique_ptr<command> make_publish(CLI::App& parser) {
    return std::make_unique<publish_command>(parser);
}

}  // namespace trunkline_cli
