#pragma once

#include "line_reader.hpp"
#include "watch.hpp"

#include <boost/json/object.hpp>

#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

namespace trunkline_cli {

/// This program once more, in a process of its own: one line in, one JSON object out. Its standard
/// error is ours. Killed when the object goes before `wait_end`.
class child_program {
public:
    /// Throws std::system_error when it cannot be started.
    child_program(std::vector<std::string> arguments, watch& w);
    ~child_program();
    child_program(const child_program&) = delete;
    child_program& operator=(const child_program&) = delete;

    /// Each throws std::runtime_error when the child ended, said nonsense, or the command is over.
    void tell(std::string_view line);
    boost::json::object hear();
    /// Closes its input and waits for its end.
    void wait_end();

private:
    watch& watch_;
    pid_t process_ = -1;
    int in_ = -1;
    int out_ = -1;
    line_reader lines_;
};

}  // namespace trunkline_cli
