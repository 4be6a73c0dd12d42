#pragma once

#include <cstdio>
#include <string>
#include <sys/types.h>
#include <vector>

namespace word_count {

/// Another process of this program: a worker, or the broker. It says `ready` when it is on the bus
/// and ends when its input does.
class member_process {
public:
    /// Starts this very program with these arguments and waits for `ready`; throws
    /// std::runtime_error when that does not come.
    explicit member_process(const std::vector<std::string>& arguments);
    ~member_process();
    member_process(const member_process&) = delete;
    member_process& operator=(const member_process&) = delete;

    /// Ends it as a crash would.
    void kill_9();
    /// Lets it end, and returns its last line.
    std::string end();

private:
    std::string next_line();

    pid_t pid_ = -1;
    int input_ = -1;
    std::FILE* output_ = nullptr;
};

/// In such a process: says `ready`, and returns when the input has ended.
void say_ready_and_wait();

}  // namespace word_count
