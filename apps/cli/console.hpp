#pragma once

#include <boost/json/fwd.hpp>

#include <mutex>
#include <string_view>

namespace trunkline_cli {

class watch;

/// Machine output: one JSON object a line on standard output, written at once. Threading: any.
class line_writer {
public:
    /// A writer that waits for a slow reader gives up when `w` says that the command is over.
    explicit line_writer(const watch* w = nullptr) noexcept : watch_(w) {}

    /// False, with a diagnostic the first time, when nobody can read the line any more.
    bool write(std::string_view json);
    bool write(const boost::json::object& fields);

private:
    const watch* watch_;
    std::mutex mutex_;
    bool broken_ = false;
};

/// A diagnostic for people, on standard error.
void say(std::string_view text);
/// A line for machines on standard error: what concerns the run and is not its result.
void signal_line(const boost::json::object& fields);

}  // namespace trunkline_cli
