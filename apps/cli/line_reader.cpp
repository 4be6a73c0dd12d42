#include "line_reader.hpp"

#include <cerrno>
#include <unistd.h>
#include <utility>

namespace trunkline_cli {

namespace {
constexpr std::size_t read_bytes = std::size_t{64} << 10;
}  // namespace

line_reader::outcome line_reader::next(std::string& line) {
    for (;;) {
        const auto feed = buffer_.find('\n', searched_);
        const bool whole = feed != std::string::npos;
        if (whole || (ended_ && (at_ < buffer_.size() || skipping_))) {
            const auto stop = whole ? feed : buffer_.size();
            line.assign(buffer_, at_, stop - at_);
            at_ = searched_ = whole ? stop + 1 : stop;
            return std::exchange(skipping_, false) || line.size() > line_bytes_max
                       ? outcome::too_long
                       : outcome::line;
        }
        if (ended_) return outcome::end;
        buffer_.erase(0, at_);
        at_ = 0;
        if (buffer_.size() > line_bytes_max) {
            buffer_.clear();
            skipping_ = true;
        }
        searched_ = buffer_.size();

        if (!watch_->wait_readable(fd_)) return outcome::over;
        buffer_.resize(searched_ + read_bytes);
        const auto size = ::read(fd_, buffer_.data() + searched_, read_bytes);
        const int error = errno;
        buffer_.resize(searched_ + static_cast<std::size_t>(size > 0 ? size : 0));
        if (size == 0) ended_ = true;
        if (size < 0 && error != EINTR && error != EAGAIN) {
            errno = error;
            return outcome::failed;
        }
    }
}

}  // namespace trunkline_cli
