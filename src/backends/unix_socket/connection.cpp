#include "backends/unix_socket/connection.hpp"

#include <array>
#include <cerrno>
#include <sys/socket.h>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

namespace {
constexpr std::size_t read_bytes = std::size_t{256} << 10;
constexpr std::size_t write_entries = 64;
}  // namespace

connection::connection(
    const boost::asio::any_io_executor& io, unique_fd fd, peer_id who, std::size_t frame_max
)
    : in(frame_max), stream_(io, fd.get()), fd_(fd.release()), who_(who) {}

void connection::close() noexcept {
    if (open_.exchange(false)) ::shutdown(fd_, SHUT_RDWR);
}

connection::read_result connection::fill() {
    const auto space = in.prepare(read_bytes);
    for (;;) {
        const auto got = ::recv(fd_, space.data(), space.size(), MSG_DONTWAIT);
        if (got > 0) {
            in.commit(static_cast<std::size_t>(got));
            // Less than there was room for is all there was: no need to ask again.
            return static_cast<std::size_t>(got) < space.size() ? read_result::all
                                                                : read_result::some;
        }
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return read_result::nothing_yet;
        return read_result::ended;
    }
}

connection::write_result connection::write() {
    std::array<iovec, write_entries> pieces{};
    while (!out.empty()) {
        msghdr message{};
        message.msg_iov = pieces.data();
        message.msg_iovlen = out.gather(pieces);
        constexpr int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
        // One piece is the rule, and cheaper as such.
        const auto sent = message.msg_iovlen == 1
                              ? ::send(fd_, pieces[0].iov_base, pieces[0].iov_len, flags)
                              : ::sendmsg(fd_, &message, flags);
        if (sent >= 0) {
            out.consume(static_cast<std::size_t>(sent));
            continue;
        }
        if (errno == EINTR) continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) return write_result::blocked;
        return write_result::failed;
    }
    return write_result::done;
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
