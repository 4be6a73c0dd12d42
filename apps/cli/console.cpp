#include "console.hpp"

#include "watch.hpp"

#include <trunkline/json_text.hpp>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <string>
#include <unistd.h>

namespace trunkline_cli {

namespace {

// A pipe that poll() calls writable takes this much without blocking.
constexpr std::size_t write_bytes_max = 4096;
constexpr int look_up_ms = 50;

std::string line_of(const boost::json::object& fields) {
    std::string line;
    trunkline::append_json(line, boost::json::value(fields));
    return line;
}

// 0, or the errno that ended it.
int write_all(int fd, std::string_view text, const watch* w) {
    while (!text.empty()) {
        pollfd writable{fd, POLLOUT, 0};
        const int ready = ::poll(&writable, 1, w != nullptr ? look_up_ms : -1);
        if (ready == 0) {
            if (w != nullptr && w->over()) return ETIMEDOUT;
            continue;
        }
        if (ready < 0 && errno != EINTR) return errno;
        const auto written = ::write(fd, text.data(), std::min(text.size(), write_bytes_max));
        if (written < 0) {
            if (errno == EINTR || errno == EAGAIN) continue;
            return errno;
        }
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return 0;
}

}  // namespace

bool line_writer::write(std::string_view json) {
    std::string line(json);
    line.push_back('\n');
    const std::lock_guard lock(mutex_);
    if (broken_) return false;
    if (const int error = write_all(STDOUT_FILENO, line, watch_); error != 0) {
        broken_ = true;
        say("cannot write to standard output: " + std::string(std::strerror(error)));
        return false;
    }
    return true;
}

bool line_writer::write(const boost::json::object& fields) {
    return write(line_of(fields));
}

void say(std::string_view text) {
    // Nothing can be done about a closed standard error.
    write_all(STDERR_FILENO, "trunkline: " + std::string(text) + '\n', nullptr);
}

void signal_line(const boost::json::object& fields) {
    write_all(STDERR_FILENO, line_of(fields) + '\n', nullptr);
}

}  // namespace trunkline_cli
