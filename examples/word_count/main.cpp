// Counts the words of a text over the bus, and proves that no line was lost or counted twice.
//
//     every line ──► topic "lines" ──┬──► a group of four workers ──► topic "counts" ──┐
//                                    ├──► an auditor, who hears every line ◄───────────┘
//                                    └──► a late subscriber, who replays the history
//
// See README.md beside this file.

#include "ledger.hpp"
#include "member_process.hpp"
#include "messages.hpp"
#include "progress.hpp"
#include "worker.hpp"

#include <trunkline/app.hpp>
#include <trunkline/on_executor.hpp>

#include <boost/asio/strand.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/system/system_error.hpp>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace word_count {
namespace {

using namespace std::chrono_literals;

constexpr auto patience = 10s;

constexpr std::string_view usage =
    R"(usage: word_count [--bus URL] [--once] [FILE...]

Counts the words of the files (default: a text that comes with the example).

  --bus URL    the bus; default memory:?replay=1. On unix:PATH the workers are processes of their
               own, and so is the broker, which is killed half-way
  --workers N  how many share the lines, 1 to 64; default 4
  --once       run once and stop, which is what happens without it, too
  -h, --help   this

Exit code: 0 every line was counted once, 1 it was not, 2 wrong usage or unreadable file.
)";

// Something that the user can put right.
class usage_error : public std::runtime_error {
    using runtime_error::runtime_error;
};

struct arguments {
    std::string bus = "memory:?replay=1";
    std::vector<std::string> files;
    int workers = 4;
    std::string member;  // what this process is when another one started it
    bool help = false;
};

int number_of_workers(const std::string& text) {
    int number = 0;
    const auto got = std::from_chars(text.data(), text.data() + text.size(), number);
    if (got.ec != std::errc{} || got.ptr != text.data() + text.size() || number < 1 || number > 64)
        throw usage_error("--workers is \"" + text + "\": want a number from 1 to 64");
    return number;
}

arguments parse(const std::vector<std::string>& words) {
    arguments result;
    bool only_files = false;
    for (std::size_t i = 0; i < words.size(); ++i) {
        const auto& word = words[i];
        if (only_files || !word.starts_with('-')) {
            result.files.push_back(word);
        } else if (word == "--") {
            only_files = true;
        } else if (word == "-h" || word == "--help") {
            result.help = true;
        } else if (word == "--bus") {
            if (++i == words.size()) throw usage_error("--bus needs a URL");
            result.bus = words[i];
        } else if (word.starts_with("--bus=")) {
            result.bus = word.substr(std::string_view("--bus=").size());
        } else if (word == "--workers" || word == "--member") {
            if (++i == words.size()) throw usage_error(word + " needs a value");
            if (word == "--workers")
                result.workers = number_of_workers(words[i]);
            else
                result.member = words[i];
        } else if (word.starts_with("--workers=")) {
            result.workers = number_of_workers(word.substr(std::string_view("--workers=").size()));
        } else if (word != "--once") {
            throw usage_error("unknown option " + word + " (see --help)");
        }
    }
    if (result.files.empty()) result.files.emplace_back(TRUNKLINE_EXAMPLE_DIR "/text.txt");
    return result;
}

// Appends the lines of a file, without their ends. Any bytes will do.
void read_lines(const std::string& file, std::vector<std::string>& lines) {
    const auto refuse = [&](const std::string& reason) {
        throw usage_error("cannot read " + file + ": " + reason);
    };
    std::error_code ignored;  // whatever is wrong shows when the file is opened
    if (std::filesystem::is_directory(file, ignored)) refuse("it is a directory");
    errno = 0;
    std::ifstream in(file, std::ios::binary);
    if (!in) refuse(std::generic_category().message(errno));
    const auto before = lines.size();
    for (std::string line; std::getline(in, line);) {
        if (line.ends_with('\r')) line.pop_back();
        lines.push_back(std::move(line));
    }
    if (in.bad()) refuse("reading failed");
    if (lines.size() == before) refuse("it is empty");
}

void must(const trunkline::error_code& ec, const char* what) {
    if (ec) throw boost::system::system_error(ec, what);
}

// In process it is ready at once; a broker may need a moment.
void must_be_ready(trunkline::subscription& s) {
    s.ready(boost::asio::use_future).get();
}

// What the bus has to say, except that a handler failed which was meant to.
void print_unless_on_purpose(const trunkline::log_record& record) {
    for (const auto& field : record.fields) {
        if (field.value == worker::excuse) return;
    }
    std::cerr << trunkline::format(record) << '\n';
}

void print_words(const word_counts& counts) {
    constexpr std::size_t width = 24;
    for (auto [word, count] : most_frequent(counts, 10)) {
        if (word.size() > width) {
            auto end = width;
            while (end > 0 && (word[end] & 0xc0) == 0x80) --end;  // not inside a character
            word = word.substr(0, end) + "...";
        }
        std::cout << std::setw(10) << count << "  " << word << '\n';
    }
}

// The strand: coroutines of one worker take turns, those of different workers do not.
trunkline::subscription start_worker(trunkline::app& app, mishaps& noted, bool clumsy) {
    const auto strand = boost::asio::make_strand(app.executor());
    return app.pubsub().subscribe(
        lines_topic,
        trunkline::on_executor(strand, worker(app.pubsub(), noted, clumsy)),
        trunkline::subscribe_options().group("workers").rejection_is_nack(true)
    );
}

trunkline::app_options options_for(const arguments& given) {
    return trunkline::app_options().pubsub(given.bus).logger(
        trunkline::logger(trunkline::log_level::warn, print_unless_on_purpose)
    );
}

// What a process does that the main one has started: nothing but being the broker, or working.
int run_member(const arguments& given) {
    mishaps noted;
    trunkline::app app(options_for(given));
    trunkline::subscription work;
    if (given.member == "broker")
        work = app.pubsub().subscribe("nothing", [](const trunkline::event&) {});
    else
        work = start_worker(app, noted, given.member == "clumsy");
    must_be_ready(work);
    say_ready_and_wait();
    must(app.stop_blocking(), "stop");
    std::cout << noted.failures << ' ' << noted.redeliveries << std::endl;
    return 0;
}

// The workers as processes, and one more that is the broker because it comes first.
class member_processes {
public:
    member_processes(const arguments& given) {
        if (!given.bus.starts_with("unix:")) return;
        const auto start = [&](const char* what) {
            return std::make_unique<member_process>(
                std::vector<std::string>{"--bus", given.bus, "--member", what}
            );
        };
        broker_ = start("broker");
        for (int i = 1; i <= given.workers; ++i)
            workers_.push_back(start(i == given.workers ? "clumsy" : "worker"));
    }
    bool any() const { return !workers_.empty(); }
    void kill_broker() {
        if (broker_ == nullptr) return;
        broker_->kill_9();
        broker_.reset();
        std::cerr << "killed the broker process\n";
    }
    void end(mishaps& noted) {
        for (auto& w : std::exchange(workers_, {})) {
            std::istringstream numbers(w->end());
            std::uint64_t failures = 0;
            std::uint64_t redeliveries = 0;
            if (!(numbers >> failures >> redeliveries))
                throw std::runtime_error("a worker did not end well");
            noted.failures += failures;
            noted.redeliveries += redeliveries;
        }
    }

private:
    std::unique_ptr<member_process> broker_;
    std::vector<std::unique_ptr<member_process>> workers_;
};

int run(const arguments& given) {
    std::vector<std::string> lines;
    for (const auto& file : given.files) read_lines(file, lines);

    ledger heard(lines.size());     // what the auditor hears on "lines"
    ledger counted(lines.size());   // what the workers report on "counts"
    ledger replayed(lines.size());  // what the late subscriber reads afterwards
    mishaps noted;

    // The history has to keep every line for the late subscriber, for as long as this runs.
    auto history = std::make_shared<trunkline::memory_server_cache>(
        trunkline::memory_cache_options().max_events(lines.size()).max_bytes(0).ttl(0ms)
    );
    member_processes members(given);
    // Declared after what the handlers use: its destructor waits for them.
    trunkline::app app(options_for(given).cache(history));
    auto& bus = app.pubsub();

    const auto read_into = [](ledger& book) {
        return
            [&book](const trunkline::event& e) { book.enter(line_of(e), count_words(text_of(e))); };
    };
    std::vector<trunkline::subscription> subscriptions;
    subscriptions.push_back(bus.subscribe(lines_topic, read_into(heard)));
    subscriptions.push_back(bus.subscribe(counts_topic, [&](const trunkline::event& e) {
        counted.enter(line_of(e), words_of(e));
    }));
    for (int i = 1; i <= given.workers && !members.any(); ++i)
        subscriptions.push_back(start_worker(app, noted, i == given.workers));
    for (auto& s : subscriptions) must_be_ready(s);

    const auto time = trunkline::system_clock();
    const auto started = time->now();
    {
        progress bar(lines.size(), time);
        for (std::size_t i = 0; i < lines.size(); ++i) {
            if (i == lines.size() / 2) members.kill_broker();
            // Waits when the workers are behind, so that nothing piles up.
            const auto confirmed = trunkline::publish_options().confirmed();
            must(bus.publish_blocking(lines_topic, line_event(i, lines[i]), confirmed), "publish");
            bar.reached(i + 1);
        }
    }
    counted.wait_for_all(patience);
    must(bus.flush_blocking(), "flush");  // what comes too often would come now
    const std::chrono::duration<double> took = time->now() - started;

    const bool has_history = bus.traits().offsets;
    trunkline::subscription late;
    if (has_history) {
        late = bus.subscribe_with_replay(lines_topic, read_into(replayed));
        late.ready(boost::asio::use_future).get();
        replayed.wait_for_all(patience);
    }
    members.end(noted);
    must(app.stop_blocking(), "stop");

    print_words(counted.words());
    const auto events = lines.size() * 2;  // each line, and its counts
    std::cout << "lines         " << lines.size() << '\n'
              << "events        " << events << " in " << std::fixed << std::setprecision(3)
              << took.count() << " s, " << std::setprecision(0)
              << static_cast<double>(events) / took.count() << " events/s\n"
              << "redeliveries  " << noted.redeliveries << ", after " << noted.failures
              << " failures on purpose\n";
    if (has_history)
        std::cout << "replayed      " << lines.size() - replayed.lost() << '\n';
    else
        std::cout << "replayed      nothing: this bus keeps no history\n";

    bool good = true;
    const auto check = [&](bool holds, std::string_view otherwise) {
        if (!holds) std::cerr << "error: " << otherwise << '\n';
        good = good && holds;
    };
    check(heard.lost() + heard.duplicated() == 0, "the auditor did not hear each line once");
    check(counted.words() == heard.words(), "the counts do not add up to what the auditor heard");
    if (has_history) {
        check(
            replayed.lost() + replayed.duplicated() == 0, "the replay does not hold each line once"
        );
        check(replayed.words() == heard.words(), "the replay differs from what the auditor heard");
    }
    check(counted.lost() + counted.duplicated() == 0, "not every line was counted once");
    std::cout << "lost " << counted.lost() << ", duplicated " << counted.duplicated() << std::endl;
    return good ? 0 : 1;
}

}  // namespace
}  // namespace word_count

int main(int argc, char** argv) {
    try {
        const auto given = word_count::parse({argv + 1, argv + argc});
        if (given.help) {
            std::cout << word_count::usage;
            return 0;
        }
        return given.member.empty() ? word_count::run(given) : word_count::run_member(given);
    } catch (const word_count::usage_error& e) {
        std::cerr << "error: " << e.what() << '\n';
        return 2;
    } catch (const std::invalid_argument& e) {  // the URL
        std::cerr << "error: " << e.what() << '\n';
        return 2;
    } catch (const std::exception& e) {
        std::cerr << "error: " << e.what() << '\n';
        return 1;
    }
}
