#include "program.hpp"

#include <boost/json/parse.hpp>

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <ostream>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sstream>
#include <stdexcept>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace cli_test {

namespace {

// A hang must fail the test; a slow machine must not.
constexpr auto patience = std::chrono::seconds{60};

std::string path_of_program() {
    const char* from_environment = std::getenv("TRUNKLINE_CLI");
    return from_environment != nullptr ? from_environment : TRUNKLINE_CLI;
}

void close_one(int& fd) {
    if (fd >= 0) ::close(fd);
    fd = -1;
}

struct pipe_ends {
    int read = -1;
    int write = -1;

    pipe_ends() {
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
        read = ends[0];
        write = ends[1];
    }
};

std::vector<char*> pointers(const std::vector<std::string>& texts) {
    std::vector<char*> result;
    result.reserve(texts.size() + 1);
    for (const auto& t : texts) result.push_back(const_cast<char*>(t.c_str()));
    result.push_back(nullptr);
    return result;
}

std::vector<std::string> environment_with(const std::vector<std::string>& extra) {
    std::vector<std::string> result;
    for (char** at = environ; *at != nullptr; ++at) {
        if (!std::string_view(*at).starts_with("TRUNKLINE_BUS=")) result.emplace_back(*at);
    }
    result.insert(result.end(), extra.begin(), extra.end());
    return result;
}

// False at the end of the stream.
bool take(int& fd, std::string& into) {
    char chunk[65536];
    const auto size = ::read(fd, chunk, sizeof(chunk));
    if (size > 0) {
        into.append(chunk, static_cast<std::size_t>(size));
        return true;
    }
    if (size < 0 && errno == EINTR) return true;
    close_one(fd);
    return false;
}

}  // namespace

std::vector<boost::json::value> outcome::lines() const {
    std::vector<boost::json::value> result;
    std::istringstream text(out);
    boost::json::parse_options deep;
    deep.max_depth = 2000;
    for (std::string line; std::getline(text, line);) {
        boost::system::error_code ec;
        auto value = boost::json::parse(line, ec, {}, deep);
        if (ec)
            ADD_FAILURE() << "not JSON: " << line.substr(0, 200);
        else
            result.push_back(std::move(value));
    }
    return result;
}

std::vector<boost::json::value> outcome::events() const {
    auto all = lines();
    std::erase_if(all, [](const auto& line) {
        return !line.is_object() || !line.get_object().contains("topic");
    });
    return all;
}

boost::json::value outcome::last() const {
    auto all = lines();
    if (!all.empty()) return std::move(all.back());
    ADD_FAILURE() << "no output; standard error: " << err;
    return boost::json::object();
}

void PrintTo(const outcome& o, std::ostream* to) {
    *to << "exit code " << o.exit_code << "\nout: " << o.out << "\nerr: " << o.err;
}

program::program(const arguments& args, const arguments& environment) {
    // A child that ends before it has read its input is no reason for this process to die.
    ::signal(SIGPIPE, SIG_IGN);
    pipe_ends input, output, error;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input.read, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output.write, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, error.write, STDERR_FILENO);

    auto words = args;
    words.insert(words.begin(), path_of_program());
    const auto variables = environment_with(environment);
    const int failed = ::posix_spawn(
        &process_,
        words.front().c_str(),
        &actions,
        nullptr,
        pointers(words).data(),
        pointers(variables).data()
    );
    posix_spawn_file_actions_destroy(&actions);
    close_one(input.read);
    close_one(output.write);
    close_one(error.write);
    in_ = input.write;
    out_ = output.read;
    err_ = error.read;
    ::fcntl(in_, F_SETFL, O_NONBLOCK);
    if (failed != 0) {
        process_ = -1;
        throw std::runtime_error("cannot start " + words.front());
    }
}

program::~program() {
    close_one(in_);
    close_one(out_);
    close_one(err_);
    if (process_ < 0) return;
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
}

void program::write(std::string_view text) {
    input_.append(text);
}

void program::close_input() {
    close_input_after_ = true;
}

void program::close_output() {
    close_one(out_);
}

void program::read_output(bool on) {
    reads_output_ = on;
}

bool program::wait_for_output(std::string_view text) {
    return pump_until(seen_.out, text);
}

bool program::wait_for_error(std::string_view text) {
    return pump_until(seen_.err, text);
}

bool program::pump_until(const std::string& where, std::string_view text) {
    while (where.find(text) == std::string::npos) {
        if (!pump()) return false;
    }
    return true;
}

void program::signal(int number) {
    ::kill(process_, number);
}

// Moves what can be moved; false when both outputs have ended, or nothing happened for too long.
bool program::pump() {
    if (out_ < 0 && err_ < 0) return false;
    if (input_.empty() && close_input_after_) close_one(in_);
    // poll() passes over negative descriptors.
    pollfd streams[] = {
        {reads_output_ ? out_ : -1, POLLIN, 0},
        {err_, POLLIN, 0},
        {input_.empty() ? -1 : in_, POLLOUT, 0}
    };
    const auto limit = std::chrono::milliseconds(patience);
    const int ready = ::poll(streams, 3, static_cast<int>(limit.count()));
    if (ready == 0) {
        ADD_FAILURE() << "nothing happened for too long\n" << testing::PrintToString(seen_);
        ::kill(process_, SIGKILL);
        return false;
    }
    if (streams[0].revents != 0) take(out_, seen_.out);
    if (streams[1].revents != 0) take(err_, seen_.err);
    if (streams[2].revents != 0) {
        const auto size = ::write(in_, input_.data(), input_.size());
        if (size > 0)
            input_.erase(0, static_cast<std::size_t>(size));
        else if (errno != EAGAIN && errno != EINTR)
            input_.clear();  // nobody reads it
    }
    return true;
}

outcome program::finish() {
    close_input();
    read_output(true);
    while (pump()) {
    }
    int status = 0;
    ::waitpid(process_, &status, 0);
    process_ = -1;
    constexpr int by_signal = 1000;
    seen_.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : by_signal + WTERMSIG(status);
    return seen_;
}

outcome run(const program::arguments& args, std::string_view input) {
    return run_with(args, {}, input);
}

outcome run_with(
    const program::arguments& args, const program::arguments& environment, std::string_view input
) {
    program p(args, environment);
    p.write(input);
    return p.finish();
}

}  // namespace cli_test
