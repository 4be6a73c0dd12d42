#include "command.hpp"
#include "console.hpp"

#include <boost/system/system_error.hpp>

#include <CLI/CLI.hpp>

#include <memory>
#include <signal.h>
#include <vector>

namespace trunkline_cli {

namespace {

struct entry {
    CLI::App* parser;
    common_options common;
    std::unique_ptr<command> chosen;
};

class program {
public:
    program() {
        // At least one is asked for in run(): the parser would not name an unknown one.
        parser_.require_subcommand(0, 1);
        parser_.set_version_flag("--version", version_text(), "Print the version and end");
        parser_.footer(
            "Results are JSON objects on standard output, one a line; diagnostics go to standard\n"
            "error. Exit codes: 0 done, 1 failed, 2 usage, 3 timed out.\n"
            "`trunkline COMMAND --help` shows the flags of a command and examples."
        );
        const auto own_default = std::string(default_help(default_bus::user)) +
                                 "; pipe and bench: " + default_help(default_bus::memory);
        add_common_options(parser_, before_, own_default.c_str());
        add("publish", "Publish events: given ones, or each line of standard input", make_publish);
        add("subscribe", "Print events as they come", make_subscribe);
        add("pipe", "Publish and subscribe in one process", make_pipe, default_bus::memory);
        add("broker", "Be a member of a bus across processes, ready to be its broker", make_broker);
        add("lease", "Take, keep and give back named locks with a time limit", make_lease);
        add("doctor", "Examine a bus across processes from outside", make_doctor);
        add("bench", "Measure throughput or latency of a bus", make_bench, default_bus::memory);
        add("version", "Print version, compiler and the backends built in", make_version);
    }

    exit_code run(int argc, const char* const* argv) {
        try {
            parser_.parse(argc, argv);
        } catch (const CLI::ParseError& problem) {
            // Help is asked for and goes to standard output; everything else is wrong usage.
            return parser_.exit(problem) == 0 ? exit_code::done : exit_code::usage;
        }
        for (auto& e : entries_) {
            if (!e->parser->parsed()) continue;
            if (!e->common.bus) e->common.bus = before_.bus;
            if (!e->common.log_level) e->common.log_level = before_.log_level;
            return e->chosen->run(e->common);
        }
        throw usage_error("which command? `trunkline --help` shows them");
    }

private:
    template <class Make>
    void add(
        const char* name, const char* what, Make make, default_bus otherwise = default_bus::user
    ) {
        auto e = std::make_unique<entry>();
        e->parser = parser_.add_subcommand(name, what);
        e->chosen = make(*e->parser);
        if (std::string_view(name) != "version")
            add_common_options(*e->parser, e->common, default_help(otherwise));
        entries_.push_back(std::move(e));
    }

    CLI::App parser_{"Trunkline, an event bus: the command line", "trunkline"};
    common_options before_;
    std::vector<std::unique_ptr<entry>> entries_;  // flags point into them
};

exit_code guarded_run(int argc, const char* const* argv) {
    try {
        return program().run(argc, argv);
    } catch (const std::invalid_argument& problem) {
        say(problem.what());
        return exit_code::usage;
    } catch (const std::exception& problem) {
        say(problem.what());
        return exit_code::failed;
    }
}

}  // namespace

}  // namespace trunkline_cli

int main(int argc, char** argv) {
    // A reader that went away is an error of write(), not the end of the process.
    ::signal(SIGPIPE, SIG_IGN);
    return static_cast<int>(trunkline_cli::guarded_run(argc, argv));
}
