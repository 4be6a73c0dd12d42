#include "answer.hpp"
#include "command.hpp"
#include "console.hpp"
#include "unix_bus.hpp"
#include "watch.hpp"

#include <boost/json/object.hpp>

#include <CLI/CLI.hpp>

#include <chrono>
#include <unistd.h>
#include <utility>

namespace trunkline_cli {

namespace {

// A bus made from a URL tells its role to those who ask only.
constexpr auto look_at_role_every = std::chrono::milliseconds{50};

class broker_command final : public command {
public:
    explicit broker_command(CLI::App& parser) {
        parser.add_flag("--once", once_, "Leave as soon as the bus was joined");
        parser.footer(
            "Joins the bus and stays a member until SIGINT or SIGTERM, so that it is not without "
            "a\n"
            "broker when the programs on it come and go. One is elected: this one, when nobody "
            "was\n"
            "there before, or when the broker leaves.\n"
            "Prints {\"role\":\"broker\"|\"client\"|\"none\",\"path\":…,\"pid\":…} when its role "
            "changes.\n"
            "Examples:\n"
            "  trunkline broker\n"
            "  trunkline broker --bus unix:/run/app/bus.sock"
        );
    }

    exit_code run(const common_options& common) override {
        auto url = bus_url(common);
        path_ = needed_unix_path("broker", url);
        // History belongs to those who publish and replay; a broker passes on.
        url = without_url_option(url, "replay");
        watch w;
        line_writer out(&w);
        const auto bus = open_bus(url, common);
        const auto joined = std::make_shared<answer<void>>();
        join_unix(*bus, trunkline::completion{answer_to(joined, w)});
        const bool good = w.wait([&] { return joined->arrived.load(); }) && !joined->ec;
        if (joined->arrived.load() && joined->ec) {
            say("cannot join " + path_ + ": " + joined->ec.message());
            w.fail();
        }
        bool written = true;
        if (good) {
            do {
                written = tell(out, unix_role(*bus));
            } while (written && !once_ && w.wait_until(watch::now() + look_at_role_every));
        }
        const auto closed = bus->close_blocking();
        if (closed) say("close: " + closed.message());
        written = tell(out, "none") && written;
        return closed || !written ? exit_code::failed : w.result();
    }

private:
    // False when nobody can read it any more.
    bool tell(line_writer& out, std::string_view role) {
        if (role == std::exchange(last_, role)) return true;
        return out.write({{"role", role}, {"path", path_}, {"pid", ::getpid()}});
    }

    bool once_ = false;
    std::string path_;
    std::string_view last_ = "none";
};

}  // namespace

std::unique_ptr<command> make_broker(CLI::App& parser) {
    return std::make_unique<broker_command>(parser);
}

}  // namespace trunkline_cli
