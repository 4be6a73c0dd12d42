#include "answer.hpp"
#include "command.hpp"
#include "console.hpp"
#include "json_input.hpp"
#include "watch.hpp"

#include <trunkline/lease_provider.hpp>

#include <boost/json/object.hpp>
#include <boost/system/system_error.hpp>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <optional>
#include <unistd.h>

namespace trunkline_cli {

namespace {

using std::chrono::milliseconds;

// How long a question to the bus may take.
constexpr auto answer_time_max = std::chrono::seconds{10};
constexpr std::uint64_t ttl_ms_max = 86'400'000;
// A lease that is held is renewed so many times in its life.
constexpr int renewals_per_ttl = 3;

boost::json::value text_or_null(const std::optional<std::string>& text) {
    if (!text) return nullptr;
    return boost::json::value(*text);
}

class lease_command final : public command {
public:
    explicit lease_command(CLI::App& parser) {
        parser.add_option("VERB", verb_, "What to do")
            ->required()
            ->type_name("acquire|renew|release|transfer|owner")
            ->check(CLI::IsMember({"acquire", "renew", "release", "transfer", "owner"}));
        parser.add_option("KEY", key_, "Name of the lease")->required();
        parser.add_option("--owner", owner_, "In whose name [default: cli-PID]")->type_name("NAME");
        parser.add_option("--to", to_, "Who gets it; for transfer")->type_name("NAME");
        parser.add_option("--ttl", ttl_ms_, "How long it lasts unless it is renewed")
            ->capture_default_str()
            ->type_name("MS")
            ->check(CLI::Range(std::uint64_t{1}, ttl_ms_max));
        parser.add_flag(
            "--hold",
            hold_,
            "After acquire: renew it at a third of --ttl until SIGINT or SIGTERM, then release it. "
            "A renewal that is refused prints {\"key\":…,\"lost\":true} and gives exit code 1"
        );
        parser.footer(
            "Prints {\"key\":…,\"acquired\":true|false,\"owner\":…,\"token\":null} for acquire "
            "and\n"
            "{\"key\":…,\"ok\":true|false,\"owner\":…,\"token\":null} for the others; owner is who "
            "holds it\n"
            "afterwards, or null. Exit code 0 for yes, 1 for no. On a unix: bus a lease ends with\n"
            "the process that took it: keep it with --hold.\n"
            "Examples:\n"
            "  trunkline lease acquire nightly --owner host-1 --hold\n"
            "  trunkline lease owner nightly"
        );
    }

    exit_code run(const common_options& common) override {
        check_arguments();
        watch w;
        line_writer out(&w);
        const auto url = bus_url(common);
        const auto bus = open_bus(url, common);
        auto* leases = bus->leases();
        if (leases == nullptr) {
            say("this bus has no leases: " + url);
            return exit_code::failed;
        }
        if (!bus->traits().cross_process)
            say("note: the leases of this bus are in this process only and end with it");
        exit_code result = exit_code::failed;
        try {
            result = session(*leases, key_, owner_, milliseconds(ttl_ms_), out, w).run(*this);
        } catch (const boost::system::system_error& problem) {
            const bool late = problem.code() == trunkline::errc::timed_out;
            say("lease " + verb_ + ": " + problem.code().message());
            if (late) result = exit_code::timed_out;
        }
        if (const auto closed = bus->close_blocking()) {
            say("close: " + closed.message());
            return exit_code::failed;
        }
        return result;
    }

private:
    // One run on one bus.
    class session {
    public:
        session(
            trunkline::lease_provider& leases,
            const std::string& key,
            const std::string& owner,
            milliseconds ttl,
            line_writer& out,
            watch& w
        )
            : leases_(leases), key_(key), owner_(owner), ttl_(ttl), out_(out), watch_(w) {}

        exit_code run(const lease_command& what) {
            if (what.verb_ == "acquire") return acquire(what.hold_);
            if (what.verb_ == "renew") {
                const bool ok = renew();
                return tell(ok, ok ? std::optional(owner_) : current_owner());
            }
            if (what.verb_ == "transfer") {
                const bool ok = ask<bool>([&](auto done) {
                    leases_.async_transfer(key_, owner_, what.to_, ttl_, std::move(done));
                });
                return tell(ok, ok ? std::optional(what.to_) : current_owner());
            }
            if (what.verb_ == "release") {
                const bool ours = current_owner() == owner_;
                release();
                return tell(ours, current_owner());
            }
            const auto now = current_owner();
            return tell(now.has_value(), now);
        }

    private:
        exit_code acquire(bool hold) {
            const auto got = ask<trunkline::lease_answer>([&](auto done) {
                leases_.async_acquire(key_, owner_, ttl_, std::move(done));
            });
            const bool written = out_.write(
                {{"key", key_},
                 {"acquired", got.acquired},
                 {"owner", text_or_null(got.owner)},
                 {"token", nullptr}}
            );
            if (!got.acquired) return exit_code::failed;
            if (!written) {
                release();
                return exit_code::failed;
            }
            return hold ? keep() : exit_code::done;
        }

        // Until a signal, or until it is lost.
        exit_code keep() {
            const auto pause = std::max(ttl_ / renewals_per_ttl, milliseconds{1});
            auto certain_until = watch::now() + ttl_;
            while (watch_.wait_until(watch::now() + pause)) {
                const auto asked_at = watch::now();
                bool lost = false;
                try {
                    lost = !renew();
                    certain_until = asked_at + ttl_;
                } catch (const boost::system::system_error& problem) {
                    if (watch_.over()) break;
                    say("renewal: " + problem.code().message());
                    lost = watch::now() >= certain_until;
                }
                if (!lost) continue;
                out_.write({{"key", key_}, {"lost", true}});
                return exit_code::failed;
            }
            release();
            return watch_.result();
        }

        bool renew() {
            return ask<bool>([&](auto done) {
                leases_.async_renew(key_, owner_, ttl_, std::move(done));
            });
        }
        std::optional<std::string> current_owner() {
            return ask<std::optional<std::string>>([&](auto done) {
                leases_.async_owner(key_, std::move(done));
            });
        }
        // Also when the command is over.
        void release() {
            const auto answered = std::make_shared<answer<void>>();
            leases_.async_release(key_, owner_, answer_to(answered, watch_));
            watch_.wait_out([&] { return answered->arrived.load(); }, answer_time_max);
            if (!answered->arrived.load())
                throw boost::system::system_error(trunkline::errc::timed_out);
            if (answered->ec) throw boost::system::system_error(answered->ec);
        }

        exit_code tell(bool ok, const std::optional<std::string>& owner) {
            const bool written = out_.write(
                {{"key", key_}, {"ok", ok}, {"owner", text_or_null(owner)}, {"token", nullptr}}
            );
            return ok && written ? exit_code::done : exit_code::failed;
        }

        // Throws system_error: what went wrong, `timed_out`, or operation_aborted for a signal.
        template <class Value, class Start>
        Value ask(Start start) {
            const auto answered = std::make_shared<answer<Value>>();
            start(answer_to(answered, watch_));
            if (!watch_.wait_for([&] { return answered->arrived.load(); }, answer_time_max)) {
                const trunkline::error_code stopped = boost::asio::error::operation_aborted;
                throw boost::system::system_error(
                    watch_.over() ? stopped : make_error_code(trunkline::errc::timed_out)
                );
            }
            if (answered->ec) throw boost::system::system_error(answered->ec);
            return std::move(answered->value);
        }

        trunkline::lease_provider& leases_;
        const std::string& key_;
        const std::string& owner_;
        const milliseconds ttl_;
        line_writer& out_;
        watch& watch_;
    };

    void check_arguments() const {
        check_name("KEY", key_);
        check_name("--owner", owner_);
        const bool transfer = verb_ == "transfer";
        if (transfer && !to_given()) throw usage_error("--to: transfer needs to know who gets it");
        if (!transfer && to_given()) throw usage_error("--to: only transfer hands it to another");
        if (transfer) check_name("--to", to_);
        if (hold_ && verb_ != "acquire") throw usage_error("--hold: goes with acquire only");
    }
    bool to_given() const { return !to_.empty(); }

    std::string verb_;
    std::string key_;
    std::string owner_ = "cli-" + std::to_string(::getpid());
    std::string to_;
    std::uint64_t ttl_ms_ = 15'000;
    bool hold_ = false;
};

}  // namespace

std::unique_ptr<command> make_lease(CLI::App& parser) {
    return std::make_unique<lease_command>(parser);
}

}  // namespace trunkline_cli
