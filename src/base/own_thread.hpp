#pragma once

#include <trunkline/config.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/io_context.hpp>

#include <memory>
#include <mutex>
#include <thread>

TRUNKLINE_NAMESPACE_BEGIN
namespace base {

/// An executor with a thread of its own that starts at the first need and is joined by the
/// destructor. Destroyed on that very thread, it lets the thread end by itself.
class TRUNKLINE_EXPORT own_thread {
public:
    own_thread();
    ~own_thread();
    own_thread(const own_thread&) = delete;
    own_thread& operator=(const own_thread&) = delete;

    /// Starts the thread when it is not running yet.
    boost::asio::any_io_executor executor();
    /// What the destructor does: runs what was posted before, then ends the thread; work given to
    /// the executor later never runs. Idempotent.
    void stop() noexcept;

private:
    std::shared_ptr<boost::asio::io_context> context_;
    std::once_flag started_;
    std::thread thread_;
};

/// True on a thread that the library runs: blocking there would stop the bus it serves.
TRUNKLINE_EXPORT bool on_own_thread() noexcept;
/// Makes the calling thread one of them.
void mark_own_thread() noexcept;

}  // namespace base
TRUNKLINE_NAMESPACE_END
