#pragma once

#include "watch.hpp"

#include <cstddef>
#include <string>

namespace trunkline_cli {

/// Reads a file descriptor line by line, as the lines arrive.
class line_reader {
public:
    /// A longer line is read to its end and given out as `too_long`.
    static constexpr std::size_t line_bytes_max = std::size_t{64} << 20;

    enum class outcome {
        line,      ///< the next line, without its line feed; a last line needs none
        too_long,  ///< a line of more than `line_bytes_max`; its text is lost
        end,       ///< end of input
        over,      ///< the command is over
        failed,    ///< reading failed; errno is set
    };

    line_reader(int fd, watch& w) noexcept : fd_(fd), watch_(&w) {}

    outcome next(std::string& line);

private:
    int fd_;
    watch* watch_;
    std::string buffer_;
    std::size_t at_ = 0;        // where the next line starts
    std::size_t searched_ = 0;  // no line feed before here
    bool ended_ = false;
    bool skipping_ = false;  // inside a line that is too long
};

}  // namespace trunkline_cli
