#pragma once

#include <trunkline/completion.hpp>
#include <trunkline/config.hpp>
#include <trunkline/detail/erase_token.hpp>
#include <trunkline/options.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <memory>
#include <optional>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN

/// What a backend keeps for one subscription.
class TRUNKLINE_EXPORT subscription_state {
public:
    subscription_state() = default;
    subscription_state(const subscription_state&) = delete;
    subscription_state& operator=(const subscription_state&) = delete;
    virtual ~subscription_state() = default;

    /// No handler starts afterwards; does not wait; idempotent.
    virtual void stop() noexcept = 0;
    /// Waits until no handler call runs on another thread; returns at once on the handler's stack.
    virtual void wait_idle() noexcept = 0;
    /// Completes once an event published from now on cannot be missed.
    virtual void ready(completion done) = 0;
    /// stop(), then completes when every handler, coroutines included, has ended.
    virtual void close(completion done) = 0;
    virtual bool active() const noexcept = 0;
    virtual std::optional<offset_gap> gap() const = 0;
    virtual boost::asio::any_io_executor executor() = 0;
};

/// The right to receive, ended by the destructor: it stops the subscription and waits for a
/// handler that runs on another thread (never for one on its own stack, nor for a suspended
/// coroutine). Do not destroy it while holding a lock that the handler takes; use `stop()` there.
class TRUNKLINE_EXPORT subscription {
public:
    subscription() noexcept = default;
    explicit subscription(std::shared_ptr<subscription_state> state) noexcept
        : state_(std::move(state)) {}
    subscription(subscription&&) noexcept = default;
    subscription& operator=(subscription&& other) noexcept {
        if (this != &other) {
            end();
            state_ = std::move(other.state_);
        }
        return *this;
    }
    subscription(const subscription&) = delete;
    subscription& operator=(const subscription&) = delete;
    ~subscription() { end(); }

    /// No handler starts afterwards. Does not wait; idempotent; safe inside the handler.
    void stop() noexcept {
        if (state_ != nullptr) state_->stop();
    }

    /// What the destructor does, keeping the handle: stops and waits for a handler that runs on
    /// another thread.
    void stop_and_wait() noexcept {
        if (state_ == nullptr) return;
        state_->stop();
        state_->wait_idle();
    }

    /// Completes with void(error_code) once no later event can be missed: success, `offset_gone`
    /// (see `gap()`), `closed`, or the backend's error.
    template <class Token>
    auto ready(Token&& token) {
        auto state = state_;
        return detail::initiate_erased(
            state != nullptr ? state->executor() : boost::asio::any_io_executor{},
            std::forward<Token>(token),
            [state](completion done) {
                if (state != nullptr)
                    state->ready(std::move(done));
                else
                    done(errc::closed);
            }
        );
    }

    /// Stops, and completes with void(error_code) when every running handler has ended, suspended
    /// coroutines included. From inside the handler it completes after that handler.
    template <class Token>
    auto close(Token&& token) {
        auto state = state_;
        return detail::initiate_erased(
            state != nullptr ? state->executor() : boost::asio::any_io_executor{},
            std::forward<Token>(token),
            [state](completion done) {
                if (state != nullptr)
                    state->close(std::move(done));
                else
                    done({});
            }
        );
    }

    /// True while events may still arrive.
    bool active() const noexcept { return state_ != nullptr && state_->active(); }
    /// What was missing when a replay met its topic's retention, if it did.
    std::optional<offset_gap> gap() const {
        return state_ != nullptr ? state_->gap() : std::nullopt;
    }

private:
    void end() noexcept {
        stop_and_wait();
        state_.reset();
    }

    std::shared_ptr<subscription_state> state_;
};

TRUNKLINE_NAMESPACE_END
