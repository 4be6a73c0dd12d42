#pragma once

#include <trunkline/completion.hpp>
#include <trunkline/config.hpp>
#include <trunkline/detail/erase_token.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

/// A door that slow handlers wait at until the test opens it; it stays open. Copies share one
/// door. Threading: any.
class gate {
public:
    /// Completes with void(error_code), success, once the gate is open; posted to `executor` unless
    /// the token brings its own.
    template <class Token>
    auto async_wait(boost::asio::any_io_executor executor, Token&& token) {
        return detail::initiate_erased(
            std::move(executor),
            std::forward<Token>(token),
            [s = state_](completion done) {
                {
                    const std::lock_guard lock(s->mutex);
                    if (!s->open) {
                        s->waiting.push_back(std::move(done));
                        return;
                    }
                }
                done({});
            }
        );
    }

    void open() {
        std::vector<completion> waiting;
        {
            const std::lock_guard lock(state_->mutex);
            state_->open = true;
            waiting.swap(state_->waiting);
        }
        for (auto& done : waiting) done({});
    }

    /// How many wait now.
    std::size_t waiting() const {
        const std::lock_guard lock(state_->mutex);
        return state_->waiting.size();
    }

private:
    struct state {
        std::mutex mutex;
        bool open = false;
        std::vector<completion> waiting;
    };
    std::shared_ptr<state> state_ = std::make_shared<state>();
};

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
