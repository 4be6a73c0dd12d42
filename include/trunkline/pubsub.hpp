#pragma once

#include <trunkline/completion.hpp>
#include <trunkline/config.hpp>
#include <trunkline/detail/erase_token.hpp>
#include <trunkline/event.hpp>
#include <trunkline/handler.hpp>
#include <trunkline/lease_provider.hpp>
#include <trunkline/options.hpp>
#include <trunkline/subscription.hpp>
#include <trunkline/traits.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN

/// A piece of a topic's retained history.
struct history_page {
    std::vector<event> events;  ///< ascending index
    std::uint64_t oldest = 0;   ///< oldest index still retained (equals `next` when none is)
    std::uint64_t next = 0;     ///< index that the next event will get
};

/// Which retained events `async_trim_topic` removes.
class trim_options {
public:
    explicit trim_options(std::string run_id) : run_id_(std::move(run_id)) {}
    /// Only events whose `data.producedAt` is a number up to this (epoch milliseconds) and whose
    /// `data.pinned` is falsy.
    trim_options& produced_before(std::int64_t epoch_ms) {
        produced_before_ = epoch_ms;
        return *this;
    }
    const std::string& run_id() const noexcept { return run_id_; }
    std::optional<std::int64_t> produced_before() const noexcept { return produced_before_; }

private:
    std::string run_id_;
    std::optional<std::int64_t> produced_before_;
};

/// The event bus: one contract, whatever carries the events.
///
/// Topics are non-empty UTF-8 of at most 65,535 bytes; no name is special. Per topic and publisher
/// every ungrouped subscriber sees the publish order; handlers of one subscription never overlap.
/// An event published from inside a handler follows the one being delivered.
///
/// Threading: every member, from any thread, also inside handlers. Completions are posted, by
/// default to `executor()`, never run on the caller's stack. The bus must outlive operations that
/// were started on it, lazy ones included.
///
/// Errors: wrong arguments make `subscribe` throw std::invalid_argument and are
/// `errc::invalid_argument` elsewhere, with a warning that names the argument. A handler's
/// exception never reaches a publisher.
class TRUNKLINE_EXPORT pubsub {
public:
    static constexpr std::size_t topic_bytes_max = 65535;
    /// As an offset: the oldest event that is retained, whatever its index.
    static constexpr std::uint64_t oldest_offset = UINT64_MAX;

    virtual ~pubsub() = default;
    pubsub(const pubsub&) = delete;
    pubsub& operator=(const pubsub&) = delete;

    /// Publishes without ever blocking. The answer is what is known at once (`invalid_argument`,
    /// `closed`, `queue_full`, `payload_too_large`) and may be ignored; later failures are logged
    /// and counted. A refused draft is gone: keep `clone()` to try again.
    error_code publish(
        std::string_view topic, event_draft draft, const publish_options& options = {}
    );

    /// Publishes; completes with void(error_code) when the backend has taken the event over: in
    /// process once every inline handler returned and every queue has room for it.
    /// Cancellation (terminal, partial), here and in every async verb: completes early with
    /// operation_aborted; what was started goes on, an accepted event stays accepted.
    template <class Token>
    auto async_publish(std::string_view topic, event_draft draft, Token&& token) {
        return async_publish(
            topic, std::move(draft), publish_options{}, std::forward<Token>(token)
        );
    }
    template <class Token>
    auto async_publish(
        std::string_view topic, event_draft draft, const publish_options& options, Token&& token
    ) {
        return detail::initiate_erased(
            executor(),
            std::forward<Token>(token),
            [this, topic = std::string(topic), draft = std::move(draft), options](completion done
            ) mutable {
                error_code ec;
                if (start_publish(topic, std::move(draft), options, done, ec) && done) done(ec);
            }
        );
    }

    /// Publishes and waits as `async_publish` does. `would_deadlock` inside a handler.
    error_code publish_blocking(
        std::string_view topic, event_draft draft, const publish_options& options = {}
    );

    /// Registers a handler. It receives every event published after this returned (in process) or
    /// after `ready()` completed (elsewhere). Throws std::invalid_argument for a bad topic, an
    /// empty group or an option out of range.
    [[nodiscard]] subscription subscribe(
        std::string_view topic, handler h, const subscribe_options& options = {}
    );
    /// All retained events, then live ones, without gap or duplicate; where the bus retains
    /// nothing, live ones only. Replayed deliveries have nothing to settle.
    [[nodiscard]] subscription subscribe_with_replay(
        std::string_view topic, handler h, const subscribe_options& options = {}
    );
    /// The same from a position. Older than retention: see `subscribe_options::on_gap`. On a bus
    /// without offsets a position other than 0 is a warning and full replay or live only.
    [[nodiscard]] subscription subscribe_from_offset(
        std::string_view topic,
        std::uint64_t offset,
        handler h,
        const subscribe_options& options = {}
    );

    /// Retained events from `offset` on (`oldest_offset`: all), at most `limit` (0: no limit);
    /// empty where nothing is retained. Completes with void(error_code, history_page);
    /// `offset_gone` when `offset` is older than retention, the page then carries the oldest index.
    template <class Token>
    auto async_history(
        std::string_view topic, std::uint64_t offset, std::size_t limit, Token&& token
    ) {
        return detail::initiate_erased_value<history_page>(
            executor(),
            std::forward<Token>(token),
            [this, topic = std::string(topic), offset, limit](history_completion done) {
                start_history(topic, offset, limit, std::move(done));
            }
        );
    }

    /// Completes with void(error_code) when everything accepted before has been handled, the
    /// redeliveries it caused and batch buffers included. Failures of handlers are logged.
    template <class Token>
    auto async_flush(Token&& token) {
        return detail::initiate_erased(
            executor(),
            std::forward<Token>(token),
            [this](completion done) { do_flush(std::move(done)); }
        );
    }
    /// Waits as `async_flush` does. `would_deadlock` inside a handler.
    error_code flush_blocking();

    /// Stops every subscription and completes with void(error_code) once no handler runs; from
    /// inside a handler, after that handler. Idempotent.
    template <class Token>
    auto async_close(Token&& token) {
        return detail::initiate_erased(
            executor(),
            std::forward<Token>(token),
            [this](completion done) { do_close(std::move(done)); }
        );
    }
    /// Waits as `async_close` does. `would_deadlock` inside a handler.
    error_code close_blocking();

    /// Forgets what is retained for a topic; live subscriptions stay. Best effort: failures are
    /// logged and also reported to the completion, void(error_code).
    template <class Token>
    auto async_clear_topic(std::string_view topic, Token&& token) {
        return detail::initiate_erased(
            executor(),
            std::forward<Token>(token),
            [this, topic = std::string(topic)](completion done) {
                start_clear_topic(topic, std::move(done));
            }
        );
    }
    /// The same without waiting.
    void clear_topic(std::string_view topic) { start_clear_topic(topic, {}); }
    /// Removes retained events of one run; nothing to do where the backend keeps none.
    template <class Token>
    auto async_trim_topic(std::string_view topic, trim_options options, Token&& token) {
        return detail::initiate_erased(
            executor(),
            std::forward<Token>(token),
            [this, topic = std::string(topic), options = std::move(options)](completion done) {
                start_trim_topic(topic, options, std::move(done));
            }
        );
    }

    virtual backend_traits traits() const = 0;
    /// The bus's leases, or null: use `noop_lease_provider` then.
    virtual lease_provider* leases() { return nullptr; }
    /// Default executor of completions and of handlers that do not run in the publisher.
    virtual boost::asio::any_io_executor executor() = 0;
    virtual bus_counters counters() const = 0;

    /// For decorators and bindings: what publish and async_publish are made of. Returns true when
    /// it finished at once (`ec` set, `done` untouched); false when it took `done` and will call
    /// it exactly once, never on this stack. An empty `done`: nobody waits.
    bool start_publish(
        std::string_view topic,
        event_draft&& draft,
        const publish_options& options,
        completion& done,
        error_code& ec
    );
    using history_completion = detail::unique_function<void(error_code, history_page), 48>;
    void start_history(
        std::string_view topic, std::uint64_t offset, std::size_t limit, history_completion done
    );
    void start_flush(completion done) { do_flush(std::move(done)); }
    void start_close(completion done) { do_close(std::move(done)); }
    void start_clear_topic(std::string_view topic, completion done);
    void start_trim_topic(std::string_view topic, const trim_options& options, completion done);

protected:
    pubsub() = default;

    /// Arguments have been checked when these are called.
    virtual bool do_publish(
        std::string_view topic,
        event_draft&& draft,
        const publish_options& options,
        completion& done,
        error_code& ec
    ) = 0;
    virtual subscription do_subscribe(
        std::string_view topic, handler h, const subscribe_options& options
    ) = 0;
    /// `offset` may be `oldest_offset`. Default: a warning when it is neither that nor 0, then
    /// `do_subscribe`.
    virtual subscription do_subscribe_from(
        std::string_view topic, std::uint64_t offset, handler h, const subscribe_options& options
    );
    /// Default: an empty page.
    virtual void do_history(
        std::string_view topic, std::uint64_t offset, std::size_t limit, history_completion done
    );
    virtual void do_flush(completion done) = 0;
    virtual void do_close(completion done) = 0;
    /// Default: nothing is retained, success.
    virtual void do_clear_topic(std::string_view topic, completion done);
    virtual void do_trim_topic(
        std::string_view topic, const trim_options& options, completion done
    );
    /// An argument of a call that does not throw was refused because of `problem`; default:
    /// nothing.
    virtual void on_refused(std::string_view topic, std::string_view problem) noexcept;
    /// `subscribe_from_offset` was called on a bus without offsets.
    virtual void on_unsupported_offset(std::string_view topic, std::uint64_t offset) noexcept;
};

TRUNKLINE_NAMESPACE_END
