#pragma once

#include <boost/json/value.hpp>

#include <chrono>
#include <functional>
#include <initializer_list>
#include <iosfwd>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

namespace cli_test {

/// How a run of the program ended.
struct outcome {
    int exit_code = -1;  ///< 1000 + signal when a signal ended it
    std::string out;
    std::string err;

    /// Each line of standard output as JSON; a line that is none fails the test.
    std::vector<boost::json::value> lines() const;
    /// Those with a topic: what a subscription printed.
    std::vector<boost::json::value> events() const;
    /// The last line.
    boost::json::value last() const;
};
void PrintTo(const outcome& o, std::ostream* to);

/// The real program in a process of its own. Whatever does not happen within a generous deadline
/// fails the test and kills the process.
class program {
public:
    using arguments = std::vector<std::string>;

    /// `environment`: NAME=value pairs beside the test's own. Without a TRUNKLINE_BUS among them it
    /// is `memory:`, so that no test meets another's bus by accident.
    explicit program(const arguments& args, const arguments& environment = {});
    ~program();
    program(const program&) = delete;
    program& operator=(const program&) = delete;

    void write(std::string_view text);
    void close_input();
    /// Nobody reads standard output any more.
    void close_output();
    /// With false, what the program prints stays where it is until `finish`.
    void read_output(bool on);
    /// Waits until standard output (or error) contains the text; false at the deadline or its end.
    bool wait_for_output(std::string_view text);
    bool wait_for_error(std::string_view text);
    void signal(int number);
    pid_t pid() const noexcept { return process_; }
    /// What was read from standard output and error so far, without waiting.
    const outcome& seen();
    /// Closes standard input, reads everything and waits for the end.
    outcome finish();

private:
    friend bool wait_for(std::initializer_list<program*>, const std::function<bool()>&);

    bool pump_until(const std::string& where, std::string_view text);
    bool pump();
    static bool pump(std::initializer_list<program*> all, std::chrono::milliseconds limit);
    bool open() const noexcept { return out_ >= 0 || err_ >= 0; }

    pid_t process_ = -1;
    int in_ = -1;
    int out_ = -1;
    int err_ = -1;
    std::string input_;  // not written yet
    bool close_input_after_ = false;
    bool reads_output_ = true;
    outcome seen_;
};

/// Moves the input and output of all of them until the condition holds. False, and a failure of the
/// test, when nothing happens for too long; false when all their outputs have ended.
bool wait_for(std::initializer_list<program*> all, const std::function<bool()>& condition);

/// Runs to the end.
outcome run(const program::arguments& args, std::string_view input = {});
outcome run_with(
    const program::arguments& args,
    const program::arguments& environment,
    std::string_view input = {}
);

}  // namespace cli_test
