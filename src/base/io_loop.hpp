#pragma once

#include <trunkline/config.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <memory>

TRUNKLINE_NAMESPACE_BEGIN
namespace base {

/// Sockets and handlers on one thread, as long as handlers are quick: what a socket brought is
/// handled without waking another thread. A second thread stands by: it takes the sockets over when
/// a handler has not come back for 10 ms, and while slow handlers follow each other closely they
/// have a thread to themselves. So the sockets wait for a handler that long at most. Threads start
/// at first need.
class TRUNKLINE_EXPORT io_loop {
public:
    io_loop();
    ~io_loop();
    io_loop(const io_loop&) = delete;
    io_loop& operator=(const io_loop&) = delete;

    /// What runs here must not block.
    boost::asio::any_io_executor sockets();
    /// What runs here may: one task at a time, in order, on either thread.
    boost::asio::any_io_executor handlers();
    /// What the destructor does: runs what was given before, then ends the threads; what comes
    /// later is dropped. Called on one of them, it lets that one end by itself. Idempotent.
    void stop() noexcept;

    class state;

private:
    std::shared_ptr<state> state_;
};

}  // namespace base
TRUNKLINE_NAMESPACE_END
