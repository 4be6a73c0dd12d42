#pragma once

#include "backends/unix_socket/frames.hpp"
#include "backends/unix_socket/outbox.hpp"
#include "backends/unix_socket/routing_table.hpp"
#include "backends/unix_socket/socket_path.hpp"
#include "wire/line_splitter.hpp"

#include <trunkline/config.hpp>

#include <boost/asio/posix/stream_descriptor.hpp>

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// One stream to a peer. The reading half (`fill`, `in`, `scanner`) belongs to the socket thread,
/// everything else to whoever holds the bus's mutex.
class connection : public std::enable_shared_from_this<connection> {
public:
    connection(
        const boost::asio::any_io_executor& io, unique_fd fd, peer_id who, std::size_t frame_max
    );

    /// `own_process` when this leads to the broker.
    peer_id who() const noexcept { return who_; }
    bool open() const noexcept { return open_.load(std::memory_order_relaxed); }
    /// Ends both halves, which also ends waits. The descriptor lives as long as this object: the
    /// socket thread may be reading from it.
    void close() noexcept;

    enum class read_result {
        some,  ///< and there may be more
        all,   ///< what was there
        nothing_yet,
        ended
    };
    /// Reads what is there, up to a fair share.
    read_result fill();
    wire::line_splitter in;
    frame_scanner scanner;

    outbox out;
    enum class write_result { done, blocked, failed };
    /// Gives the kernel as much as it takes.
    write_result write();

    /// `f(ok)` runs on the socket thread.
    template <class F>
    void wait_readable(F&& f) {
        stream_.async_wait(stream::wait_read, [f = std::forward<F>(f)](error_code ec) mutable {
            f(!ec);
        });
    }
    template <class F>
    void wait_writable(F&& f) {
        stream_.async_wait(stream::wait_write, [f = std::forward<F>(f)](error_code ec) mutable {
            f(!ec);
        });
    }

    bool write_waits = false;  ///< the kernel's buffer is full; a wait is under way
    bool dirty = false;        ///< has something to write and is on the list for that
    /// What it brings has to wait for room; set on the socket thread, asked on any.
    std::atomic<bool> paused{false};
    bool stopped = false;            ///< not even read any more
    unsigned looks = 1;              ///< before it is waited for
    std::uint64_t pauses = 0;        ///< tells the end of one pause from that of an earlier one
    std::deque<std::string> parked;  ///< lines that wait
    std::size_t parked_bytes = 0;

private:
    using stream = boost::asio::posix::stream_descriptor;
    stream stream_;
    const int fd_;
    const peer_id who_;
    std::atomic<bool> open_{true};
};

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
