#include "member_process.hpp"

#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <stdexcept>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

namespace word_count {

member_process::member_process(const std::vector<std::string>& arguments) {
    int in[2];
    int out[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
        throw std::runtime_error(std::string("no pipe: ") + std::strerror(errno));
    auto words = arguments;
    words.insert(words.begin(), "/proc/self/exe");
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ < 0) throw std::runtime_error(std::string("no process: ") + std::strerror(errno));
    if (pid_ == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        execv(argv[0], argv.data());
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    input_ = in[1];
    output_ = fdopen(out[0], "r");
    if (next_line() != "ready") throw std::runtime_error("a member process did not get ready");
}

member_process::~member_process() {
    kill_9();
    if (output_ != nullptr) std::fclose(output_);
}

void member_process::kill_9() {
    if (pid_ > 0) {
        kill(pid_, SIGKILL);
        waitpid(std::exchange(pid_, -1), nullptr, 0);
    }
    if (input_ >= 0) close(std::exchange(input_, -1));
}

std::string member_process::end() {
    close(std::exchange(input_, -1));
    std::string last;
    for (auto line = next_line(); !line.empty(); line = next_line()) last = line;
    waitpid(std::exchange(pid_, -1), nullptr, 0);
    return last;
}

std::string member_process::next_line() {
    std::string line;
    for (int c = std::fgetc(output_); c != EOF && c != '\n'; c = std::fgetc(output_))
        line.push_back(static_cast<char>(c));
    return line;
}

void say_ready_and_wait() {
    std::cout << "ready" << std::endl;
    for (std::string ignored; std::getline(std::cin, ignored);) {
    }
}

}  // namespace word_count
