#include "command.hpp"
#include "console.hpp"
#include "unix_bus.hpp"
#include "unix_health.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>

namespace trunkline_cli {

namespace {

class doctor_command final : public command {
public:
    explicit doctor_command(CLI::App& parser) {
        parser.add_flag("--json", json_, "One JSON object instead of text for people");
        parser.add_flag(
            "--fix", fix_, "Do the repairs that can do no harm: remove files that nobody uses"
        );
        parser.footer(
            "Looks at a unix: bus from outside: who is its broker, what was left behind, who may\n"
            "use it. The members notice nothing. Exit code 0: healthy; 1: something is to be "
            "done,\n"
            "and it was not done by --fix. Findings of severity info never count.\n"
            "With --json prints {\"healthy\":…,\"path\":…,\"findings\":[{\"kind\",\"severity\","
            "\"what\",\"fix\"}]};\n"
            "with --fix each has \"fixed\" too.\n"
            "Examples:\n"
            "  trunkline doctor\n"
            "  trunkline doctor --bus unix:/run/app/bus.sock --json --fix"
        );
    }

    exit_code run(const common_options& common) override {
        const auto url = bus_url(common);
        const auto path = needed_unix_path("doctor", url);
        open_bus(url, common);  // names what is wrong with the URL; joins nothing
        const auto group = url_option(url, "groupId");
        const auto findings = examine_unix_bus(path, group && !group->empty());
        bool healthy = true;
        boost::json::array list;
        std::string text;
        for (const auto& f : findings) {
            const bool fixed = fix_ && f.repair && f.repair();
            if (!fixed && f.how_bad != severity::info) healthy = false;
            boost::json::object entry{
                {"kind", f.kind}, {"severity", name_of(f.how_bad)}, {"what", f.what}
            };
            entry["fix"] = f.fix.empty() ? boost::json::value() : boost::json::value(f.fix);
            if (fix_) entry["fixed"] = fixed;
            list.push_back(std::move(entry));
            text.append(name_of(f.how_bad)).append(": ").append(f.what).push_back('\n');
            if (fixed)
                text.append("  fixed\n");
            else if (!f.fix.empty())
                text.append("  to do: ").append(f.fix).push_back('\n');
        }
        bool written = false;
        if (json_) {
            line_writer out;
            written =
                out.write({{"healthy", healthy}, {"path", path}, {"findings", std::move(list)}});
        } else {
            text.append(path).append(healthy ? ": healthy\n" : ": something is to be done\n");
            written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() &&
                      std::fflush(stdout) == 0;
        }
        return healthy && written ? exit_code::done : exit_code::failed;
    }

private:
    bool json_ = false;
    bool fix_ = false;
};

}  // namespace

std::unique_ptr<command> make_doctor(CLI::App& parser) {
    return std::make_unique<doctor_command>(parser);
}

}  // namespace trunkline_cli
