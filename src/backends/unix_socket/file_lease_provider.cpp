#include "backends/unix_socket/file_lease_provider.hpp"

#include "base/own_thread.hpp"

#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/system/system_category.hpp>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

struct file_lease_provider::state {
    enum class stage { open, closing, closed };

    // Keeps the executor busy until it is called.
    struct closer {
        boost::asio::any_io_executor work;
        completion done;
        void complete() {
            if (!done) return;
            boost::asio::post(work, [call = std::move(done)]() mutable { call({}); });
        }
    };

    state(
        const std::string& directory,
        boost::asio::any_io_executor ex,
        std::shared_ptr<clock> time,
        logger log,
        lease_environment environment
    )
        : executor(std::move(ex)),
          files(directory, std::move(time), std::move(log), with_pause(std::move(environment))) {}

    lease_environment with_pause(lease_environment environment) {
        environment.pause = [this](milliseconds time) {
            std::unique_lock lock(mutex);
            return !closing.wait_for(lock, time, [this] { return now != stage::open; });
        };
        return environment;
    }

    // Ends on the worker, or where no operation ever ran.
    void finish() {
        files.close();
        std::vector<closer> last;
        {
            const std::lock_guard lock(mutex);
            now = stage::closed;
            last.swap(closers);
        }
        for (auto& c : last) c.complete();
    }

    const boost::asio::any_io_executor executor;
    std::mutex mutex;
    std::condition_variable closing;
    stage now = stage::open;
    bool started = false;
    std::size_t waiting = 0;  // accepted and not begun
    std::vector<closer> closers;
    lease_files files;  // the worker's, once it runs
    base::own_thread worker;
};

file_lease_provider::file_lease_provider(
    std::string directory,
    boost::asio::any_io_executor executor,
    std::shared_ptr<clock> time,
    logger log,
    lease_environment environment
)
    : state_(std::make_unique<state>(
          directory, std::move(executor), std::move(time), std::move(log), std::move(environment)
      )) {}

file_lease_provider::~file_lease_provider() {
    close({});
    state_->worker.stop();
}

boost::asio::any_io_executor file_lease_provider::executor() {
    return state_->executor;
}

void file_lease_provider::close(completion done) {
    auto& s = *state_;
    {
        const std::lock_guard lock(s.mutex);
        state::closer waiting{
            boost::asio::prefer(s.executor, boost::asio::execution::outstanding_work.tracked),
            std::move(done)
        };
        if (s.now == state::stage::closed) return waiting.complete();
        s.closers.push_back(std::move(waiting));
        if (s.now == state::stage::closing) return;
        s.now = state::stage::closing;
        s.closing.notify_all();
        // Behind everything that was accepted.
        if (s.started) {
            boost::asio::post(s.worker.executor(), [self = state_.get()] { self->finish(); });
            return;
        }
    }
    s.finish();
}

template <class Value, class Work>
void file_lease_provider::enqueue(answer<Value> done, Work work) {
    auto& s = *state_;
    error_code refused;
    {
        const std::lock_guard lock(s.mutex);
        if (s.now != state::stage::open) {
            refused = errc::closed;
        } else if (s.waiting >= operations_max) {
            refused = errc::queue_full;
        } else {
            try {
                const auto worker = s.worker.executor();
                s.started = true;
                ++s.waiting;
                boost::asio::post(
                    worker,
                    [self = &s, done = std::move(done), work = std::move(work)]() mutable {
                        {
                            const std::lock_guard begun(self->mutex);
                            --self->waiting;
                        }
                        auto outcome = work(self->files);
                        if (outcome.has_error())
                            done(outcome.error(), Value{});
                        else
                            done({}, std::move(*outcome));
                    }
                );
                return;
            } catch (const std::system_error& failure) {
                refused = {failure.code().value(), boost::system::system_category()};
            }
        }
    }
    done(refused, Value{});
}

void file_lease_provider::do_acquire(
    std::string_view key, std::string_view owner, milliseconds ttl, answer<lease_answer> done
) {
    enqueue<lease_answer>(
        std::move(done),
        [key = std::string(key), owner = std::string(owner), ttl](lease_files& files) {
            return files.acquire(key, owner, ttl);
        }
    );
}

void file_lease_provider::do_owner(std::string_view key, answer<std::optional<std::string>> done) {
    enqueue<std::optional<std::string>>(
        std::move(done), [key = std::string(key)](lease_files& files) { return files.owner(key); }
    );
}

void file_lease_provider::do_release(
    std::string_view key, std::string_view owner, completion done
) {
    struct nothing {};
    enqueue<nothing>(
        [done = std::move(done)](error_code ec, nothing) mutable { done(ec); },
        [key = std::string(key),
         owner = std::string(owner)](lease_files& files) -> lease_files::result<nothing> {
            if (const auto outcome = files.release(key, owner); outcome.has_error())
                return outcome.error();
            return nothing{};
        }
    );
}

void file_lease_provider::do_renew(
    std::string_view key, std::string_view owner, milliseconds ttl, answer<bool> done
) {
    enqueue<bool>(
        std::move(done),
        [key = std::string(key), owner = std::string(owner), ttl](lease_files& files) {
            return files.renew(key, owner, ttl);
        }
    );
}

void file_lease_provider::do_transfer(
    std::string_view key,
    std::string_view from,
    std::string_view to,
    milliseconds ttl,
    answer<bool> done
) {
    enqueue<bool>(
        std::move(done),
        [key = std::string(key), from = std::string(from), to = std::string(to), ttl](
            lease_files& files
        ) { return files.transfer(key, from, to, ttl); }
    );
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
