#pragma once

#include "backends/unix_socket/lease_files.hpp"

#include <trunkline/clock.hpp>
#include <trunkline/completion.hpp>
#include <trunkline/config.hpp>
#include <trunkline/lease_provider.hpp>
#include <trunkline/logger.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

/// Leases in files beside a socket, for all processes that use sockets in that directory.
///
/// Operations run one after another on a thread of its own, which starts with the first; a caller
/// never waits for a file. When `operations_max` are waiting the next completes with `queue_full`.
/// Completes also with the errors of `lease_files`. Leases are not released by `close`, and end
/// with the process. An object does not live on in a child of fork(). Threading: any.
class file_lease_provider final : public lease_provider {
public:
    /// `time` null: the system's clock; its calendar decides when a lease ends. Of the environment
    /// `pause` is the provider's own.
    file_lease_provider(
        std::string directory,
        boost::asio::any_io_executor executor,
        std::shared_ptr<clock> time = nullptr,
        logger log = {},
        lease_environment environment = {}
    );
    /// As `close`; waits for the operations that were accepted, which no longer wait for others.
    ~file_lease_provider() override;

    boost::asio::any_io_executor executor() override;

    /// Runs what was accepted; what would have to wait for another process completes with `closed`
    /// instead. Then removes its files, except for leases and the process marker. `done` is posted
    /// to the executor. Idempotent.
    void close(completion done);

    static constexpr std::size_t operations_max = 1024;

protected:
    void do_acquire(
        std::string_view key, std::string_view owner, milliseconds ttl, answer<lease_answer> done
    ) override;
    void do_owner(std::string_view key, answer<std::optional<std::string>> done) override;
    void do_release(std::string_view key, std::string_view owner, completion done) override;
    void do_renew(std::string_view key, std::string_view owner, milliseconds ttl, answer<bool> done)
        override;
    void do_transfer(
        std::string_view key,
        std::string_view from,
        std::string_view to,
        milliseconds ttl,
        answer<bool> done
    ) override;

private:
    struct state;
    template <class Value, class Work>
    void enqueue(answer<Value> done, Work work);

    std::unique_ptr<state> state_;
};

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
