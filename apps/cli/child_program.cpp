#include "child_program.hpp"

#include "json_input.hpp"

#include <cerrno>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdexcept>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

extern char** environ;

namespace trunkline_cli {

namespace {

// The object around a list of numbers.
constexpr std::size_t answer_levels_max = 8;

// The ends are closed in the child unless they are given to it.
struct pipe_ends {
    int read = -1;
    int write = -1;

    pipe_ends() {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0)
            throw std::system_error(errno, std::generic_category(), "pipe");
        read = ends[0];
        write = ends[1];
    }
    ~pipe_ends() {
        if (read >= 0) ::close(read);
        if (write >= 0) ::close(write);
    }
    pipe_ends(const pipe_ends&) = delete;
    pipe_ends& operator=(const pipe_ends&) = delete;
};

std::vector<char*> pointers(std::vector<std::string>& words) {
    std::vector<char*> result;
    result.reserve(words.size() + 1);
    for (auto& word : words) result.push_back(word.data());
    result.push_back(nullptr);
    return result;
}

struct started {
    pid_t process = -1;
    int in = -1;
    int out = -1;
};

started start(std::vector<std::string> words) {
    pipe_ends input;
    pipe_ends output;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input.read, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output.write, STDOUT_FILENO);
    words.insert(words.begin(), "trunkline");
    started result;
    const int failed = ::posix_spawn(
        &result.process, "/proc/self/exe", &actions, nullptr, pointers(words).data(), environ
    );
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) throw std::system_error(failed, std::generic_category(), "start a process");
    result.in = std::exchange(input.write, -1);
    result.out = std::exchange(output.read, -1);
    return result;
}

}  // namespace

child_program::child_program(std::vector<std::string> arguments, watch& w)
    : watch_(w), lines_(-1, w) {
    const auto child = start(std::move(arguments));
    process_ = child.process;
    in_ = child.in;
    out_ = child.out;
    lines_ = line_reader(out_, w);
}

child_program::~child_program() {
    if (in_ >= 0) ::close(in_);
    if (out_ >= 0) ::close(out_);
    if (process_ < 0) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
}

void child_program::tell(std::string_view line) {
    std::string text(line);
    text.push_back('\n');
    // Far less than a pipe takes, so it is written whole.
    if (::write(in_, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        throw std::runtime_error("a process of the benchmark has ended");
}

boost::json::object child_program::hear() {
    std::string line;
    if (lines_.next(line) != line_reader::outcome::line) {
        throw std::runtime_error(
            watch_.over() ? "the benchmark was interrupted" : "a process of the benchmark has ended"
        );
    }
    auto parsed = parse_json(line, answer_levels_max);
    if (!parsed.value || !parsed.value->is_object())
        throw std::runtime_error("a process of the benchmark answered something else: " + line);
    return std::move(parsed.value->get_object());
}

void child_program::wait_end() {
    ::close(std::exchange(in_, -1));
    std::string rest;
    while (lines_.next(rest) == line_reader::outcome::line) {
    }
    if (watch_.over()) return;
    ::waitpid(std::exchange(process_, -1), nullptr, 0);
}

}  // namespace trunkline_cli
