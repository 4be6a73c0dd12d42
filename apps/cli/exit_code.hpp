#pragma once

#include <stdexcept>

namespace trunkline_cli {

/// What the program answers to its caller; the same for every command.
enum class exit_code : int { done = 0, failed = 1, usage = 2, timed_out = 3 };

/// The command line asks for something that cannot be; the text names the argument.
class usage_error : public std::invalid_argument {
public:
    using std::invalid_argument::invalid_argument;
};

}  // namespace trunkline_cli
