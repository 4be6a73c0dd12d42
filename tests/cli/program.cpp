#include "program.hpp"

#include <boost/json/parse.hpp>

#include <gtest/gtest.h>

#include <algorithm>
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
constexpr auto patience = std::chrono::milliseconds{60'000};

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

std::string_view name_in(std::string_view variable) {
    return variable.substr(0, variable.find('='));
}

std::vector<std::string> environment_with(std::vector<std::string> own) {
    const auto has = [&](std::string_view name) {
        return std::any_of(own.begin(), own.end(), [&](const auto& variable) {
            return name_in(variable) == name;
        });
    };
    if (!has("TRUNKLINE_BUS")) own.emplace_back("TRUNKLINE_BUS=memory:");
    std::vector<std::string> result;
    for (char** at = environ; *at != nullptr; ++at) {
        if (!has(name_in(*at))) result.emplace_back(*at);
    }
    result.insert(result.end(), own.begin(), own.end());
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
    if (!open()) return false;
    if (pump({this}, patience)) return true;
    ADD_FAILURE() << "nothing happened for too long\n" << testing::PrintToString(seen_);
    ::kill(process_, SIGKILL);
    return false;
}

// False when nothing happened in that time.
bool program::pump(std::initializer_list<program*> all, std::chrono::milliseconds limit) {
    constexpr std::size_t streams_each = 3;
    std::vector<pollfd> streams;
    for (auto* p : all) {
        if (p->input_.empty() && p->close_input_after_) close_one(p->in_);
        // poll() passes over negative descriptors.
        streams.push_back({p->reads_output_ ? p->out_ : -1, POLLIN, 0});
        streams.push_back({p->err_, POLLIN, 0});
        streams.push_back({p->input_.empty() ? -1 : p->in_, POLLOUT, 0});
    }
    if (::poll(streams.data(), streams.size(), static_cast<int>(limit.count())) == 0) return false;
    const auto* at = streams.data();
    for (auto* p : all) {
        if (at[0].revents != 0) take(p->out_, p->seen_.out);
        if (at[1].revents != 0) take(p->err_, p->seen_.err);
        if (at[2].revents != 0) {
            const auto size = ::write(p->in_, p->input_.data(), p->input_.size());
            if (size > 0)
                p->input_.erase(0, static_cast<std::size_t>(size));
            else if (errno != EAGAIN && errno != EINTR)
                p->input_.clear();  // nobody reads it
        }
        at += streams_each;
    }
    return true;
}

const outcome& program::seen() {
    while (open() && pump({this}, std::chrono::milliseconds{0})) {
    }
    return seen_;
}

bool wait_for(std::initializer_list<program*> all, const std::function<bool()>& condition) {
    while (!condition()) {
        if (std::none_of(all.begin(), all.end(), [](auto* p) { return p->open(); })) return false;
        if (program::pump(all, patience)) continue;
        for (auto* p : all)
            ADD_FAILURE() << "nothing happened for too long\n" << testing::PrintToString(p->seen_);
        return false;
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
