#pragma once

#include <trunkline/config.hpp>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace tests {

/// A process with its standard input and output at our end. Killed when the object goes.
class child_process {
public:
    child_process(
        const std::vector<std::string>& command,
        const std::vector<std::pair<std::string, std::string>>& environment = {}
    ) {
        int in[2];
        int out[2];
        if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0)
            throw std::runtime_error("pipe failed");
        // Everything is prepared before the fork: the child may only call what is
        // async-signal-safe.
        std::vector<std::string> variables;
        for (char** v = ::environ; *v != nullptr; ++v) variables.emplace_back(*v);
        for (const auto& [name, value] : environment) variables.push_back(name + "=" + value);
        std::vector<char*> envp;
        for (auto& v : variables) envp.push_back(v.data());
        envp.push_back(nullptr);
        auto words = command;
        std::vector<char*> argv;
        for (auto& w : words) argv.push_back(w.data());
        argv.push_back(nullptr);
        pid_ = ::fork();
        if (pid_ < 0) throw std::runtime_error("fork failed");
        if (pid_ == 0) {
            ::dup2(in[0], 0);
            ::dup2(out[1], 1);
            ::execve(argv[0], argv.data(), envp.data());
            ::_exit(127);
        }
        ::close(in[0]);
        ::close(out[1]);
        to_ = in[1];
        from_ = out[0];
    }
    ~child_process() {
        kill_9();
        ::close(to_);
        ::close(from_);
    }
    child_process(const child_process&) = delete;
    child_process& operator=(const child_process&) = delete;

    pid_t pid() const noexcept { return pid_; }

    void write(const std::string& text) {
        if (::write(to_, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
            throw std::runtime_error("the child does not read");
    }
    bool wait_for_line(const std::string& line, std::chrono::milliseconds within) {
        return next_of({line}, within) == line;
    }
    /// The next line that is one of these; empty when none comes in time.
    std::string next_of(const std::vector<std::string>& lines, std::chrono::milliseconds within) {
        const auto until = std::chrono::steady_clock::now() + within;
        for (;;) {
            while (!read_.empty()) {
                const auto end = read_.find('\n');
                if (end == std::string::npos) break;
                auto line = read_.substr(0, end);
                read_.erase(0, end + 1);
                if (std::find(lines.begin(), lines.end(), line) != lines.end()) return line;
            }
            const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
                until - std::chrono::steady_clock::now()
            );
            pollfd p{from_, POLLIN, 0};
            if (left.count() <= 0 || ::poll(&p, 1, static_cast<int>(left.count())) != 1) return {};
            char bytes[4096];
            const auto n = ::read(from_, bytes, sizeof bytes);
            if (n <= 0) return {};
            read_.append(bytes, static_cast<std::size_t>(n));
        }
    }
    /// Ends it as a crash would, and waits for that.
    void kill_9() noexcept {
        if (pid_ <= 0) return;
        ::kill(pid_, SIGKILL);
        wait();
    }
    /// Waits for its end; the status as waitpid gives it.
    int wait() noexcept {
        int status = 0;
        if (pid_ > 0) ::waitpid(std::exchange(pid_, -1), &status, 0);
        return status;
    }

private:
    pid_t pid_ = -1;
    int to_ = -1;
    int from_ = -1;
    std::string read_;
};

}  // namespace tests
TRUNKLINE_NAMESPACE_END
