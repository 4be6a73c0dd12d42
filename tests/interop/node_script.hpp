#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <thread>
#include <vector>

namespace interop {

/// Which Node the tests use: `TRUNKLINE_NODE`, else the one that scripts/node.sh installed, else
/// the one in PATH.
struct node_choice {
    std::string path;     ///< empty: none
    std::string why_not;  ///< the reason then
    int major = 0;        ///< the 22 of v22.23.3
};

/// Looks once for a Node of at least `major_min`.
const node_choice& node();
constexpr int major_min = 18;

using deadline = std::chrono::steady_clock::time_point;

/// A running script of this folder. Its output is read all the time, so it never waits for us. The
/// process is killed when the object goes. Threading: one thread at a time.
class node_process {
public:
    /// Throws std::system_error when it cannot be started.
    explicit node_process(std::string_view script, const std::vector<std::string>& arguments = {});
    ~node_process();
    node_process(const node_process&) = delete;
    node_process& operator=(const node_process&) = delete;

    pid_t pid() const { return pid_; }

    /// Puts bytes into its standard input. What a process that has ended does not read is lost.
    void write(std::string_view bytes);
    void end_input();

    /// The next line of its output, without the line feed; none when there is no more, or not yet.
    std::optional<std::string> read_line(deadline until);

    /// Signals it; nothing happens when it has ended.
    void signal(int number);
    /// Waits for its end and for all it has written: what waitpid says; none if it still runs.
    std::optional<int> wait(deadline until);
    /// Its end, in words: "runs", "ended with 1", "was ended by signal 9".
    std::string state() const;
    /// What it has written on standard error so far.
    std::string errors() const;

private:
    void read_all(int out, int err);

    pid_t pid_ = -1;
    int input_ = -1;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<std::string> lines_;
    std::string errors_;
    std::optional<int> status_;
    std::thread reader_;
};

/// Runs a script with `input` as its standard input and returns the lines of its output. Throws
/// std::runtime_error, with what the script wrote on standard error, when it fails.
std::vector<std::string> run_script(std::string_view script, std::string_view input);

}  // namespace interop
