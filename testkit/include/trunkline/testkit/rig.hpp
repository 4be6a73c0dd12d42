#pragma once

#include <trunkline/caching_pubsub.hpp>
#include <trunkline/clock.hpp>
#include <trunkline/config.hpp>
#include <trunkline/logger.hpp>
#include <trunkline/pubsub.hpp>
#include <trunkline/server_cache.hpp>
#include <trunkline/testkit/captured_log.hpp>
#include <trunkline/testkit/faulty_cache.hpp>
#include <trunkline/testkit/recorder.hpp>
#include <trunkline/testkit/test_loop.hpp>

#include <boost/asio/bind_executor.hpp>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

/// What a test may ask of the bus it is about to open. Change it before the first use of the rig.
struct rig_settings {
    /// Deliveries of one event to a group, 0 without limit; unset: the backend's default.
    std::optional<std::uint32_t> max_delivery_attempts;
    /// For backends that put `caching_pubsub` in front. Clock and logger are filled in.
    caching_options caching;
    /// For the cache that the rig makes. The clock is filled in.
    memory_cache_options cache;
    /// What `record` subscribes with unless told otherwise.
    subscribe_options subscribe;
    /// Publishes that `publish_all` keeps under way at once; at least 1.
    std::size_t burst = 64;
};

/// What a factory builds a bus from. All pointers outlive the bus.
struct rig_environment {
    boost::asio::any_io_executor executor;
    std::shared_ptr<trunkline::clock> clock;
    trunkline::logger logger;
    rig_settings settings;
    /// One per instance, kept when the instance is reopened; fails when the test says so.
    std::shared_ptr<server_cache> cache;
    /// Which instance this is, from 0 on. Instances stand for processes on one transport.
    std::size_t instance = 0;
};

/// Opens one instance of a backend.
using bus_factory = std::function<std::shared_ptr<pubsub>(const rig_environment&)>;

/// Where a rig publishes and subscribes when nothing else is said.
inline constexpr std::string_view default_topic = "events";

/// One event to publish; `topic` is a name of the test's, see `rig::topic`.
struct publish_request {
    std::string type = "event";
    std::string topic{default_topic};
    std::string run_id = "run-1";
    payload data = {};
    publish_options options = {};
    std::size_t instance = 0;
};

/// One recording subscription; `topic` and `group` are names of the test's.
struct record_request {
    std::string topic{default_topic};
    std::optional<std::string> group = std::nullopt;
    recorder::judge judge = nullptr;
    handler_form form = handler_form::reference;
    /// Replay from this index first.
    std::optional<std::uint64_t> offset = std::nullopt;
    /// Instead of `rig_settings::subscribe`. `group` is added to it.
    std::optional<subscribe_options> options = std::nullopt;
    std::size_t instance = 0;
    /// Wait until no later event can be missed, and expect success.
    bool wait_ready = true;
    /// Record into this instead of a new recorder.
    std::optional<recorder> into = std::nullopt;
};

/// A recorder and the subscription that feeds it. Move-only; destroying it unsubscribes.
class TRUNKLINE_EXPORT recorded : public recorder {
public:
    recorded(recorder seen, std::shared_ptr<trunkline::subscription> feed)
        : recorder(std::move(seen)), feed_(std::move(feed)) {}
    recorded(recorded&&) noexcept = default;
    recorded& operator=(recorded&&) noexcept = default;
    recorded(const recorded&) = delete;
    recorded& operator=(const recorded&) = delete;
    ~recorded() = default;

    trunkline::subscription& subscription() noexcept { return *feed_; }
    void stop() noexcept { feed_->stop(); }
    /// Destroys the subscription; the record stays.
    void unsubscribe() noexcept { *feed_ = trunkline::subscription{}; }

private:
    std::shared_ptr<trunkline::subscription> feed_;
};

/// The end of one operation that a rig started. Copies share it. Threading: any.
class TRUNKLINE_EXPORT operation {
public:
    bool done() const noexcept { return state_->calls.load() > 0; }
    /// How often the completion ran; anything but 1 at the end is a defect.
    int calls() const noexcept { return state_->calls.load(); }
    /// Meaningful once `done`.
    error_code error() const {
        const std::lock_guard lock(state_->mutex);
        return state_->error;
    }

private:
    friend class rig;
    struct state {
        std::atomic<int> calls{0};
        std::mutex mutex;
        error_code error;
    };
    std::shared_ptr<state> state_ = std::make_shared<state>();
};

/// Opens instances of one backend for one test and drives them in their kind of time. Topics and
/// groups get a unique ending, so tests run side by side on one server.
///
/// Every wait has a deadline in bus time (default `limit`). When it passes, the test fails at the
/// caller's line and ends. Threading: one thread, the test's; `topic` and `group` from any.
class TRUNKLINE_EXPORT rig {
public:
    using location = std::source_location;
    using duration = trunkline::clock::duration;

    static constexpr std::chrono::seconds limit{30};

    /// Closes and drops what is still open.
    virtual ~rig();
    rig(const rig&) = delete;
    rig& operator=(const rig&) = delete;

    rig_settings& settings() noexcept { return settings_; }
    test_loop& loop() noexcept { return *loop_; }
    boost::asio::any_io_executor executor() { return loop_->executor(); }
    std::shared_ptr<trunkline::clock> clock() const { return loop_->clock(); }
    /// See `test_loop::exact`.
    bool exact_time() const noexcept { return loop_->exact(); }
    captured_log& log() noexcept { return log_; }

    /// An instance, opened on first use.
    pubsub& bus(std::size_t instance = 0);
    /// The same, for decorators.
    std::shared_ptr<pubsub> shared_bus(std::size_t instance = 0);
    /// The cache that was offered to the factory of that instance.
    faulty_cache& cache(std::size_t instance = 0);
    std::shared_ptr<faulty_cache> shared_cache(std::size_t instance = 0);
    /// What a factory would get; for tests that build a decorator themselves.
    rig_environment environment(std::size_t instance = 0);
    lease_provider* leases(std::size_t instance = 0) { return bus(instance).leases(); }
    /// Closes the instance and opens another one on the same cache, like a process that comes back.
    void reopen(std::size_t instance = 0, location where = location::current());
    /// Closes the instance and lets it go; subscriptions may still be there.
    void drop(std::size_t instance = 0, location where = location::current());

    /// The full name behind a name of the test's.
    std::string topic(std::string_view name = default_topic) const;
    std::string group(std::string_view name) const;

    /// Starts to publish and answers at once.
    operation start_publish(publish_request what);
    operation start_publish(std::string_view type) {
        return start_publish(publish_request{.type = std::string(type)});
    }
    /// Publishes and waits until the bus has taken the event over.
    error_code try_publish(publish_request what, location where = location::current());
    /// The same, and expects success.
    void publish(publish_request what, location where = location::current());
    void publish(std::string_view type, location where = location::current()) {
        publish(publish_request{.type = std::string(type)}, where);
    }
    /// Publishes one after the other without waiting for each; at most `rig_settings::burst` are
    /// under way. Expects success.
    void publish_all(
        const std::vector<std::string>& types,
        publish_request common = {},
        location where = location::current()
    );
    /// Publishes a draft that the test has built.
    void publish_draft(
        event_draft draft,
        std::string_view topic_name = default_topic,
        const publish_options& options = {},
        location where = location::current()
    );

    recorded record(record_request what = {}, location where = location::current());
    recorded record(
        std::string_view group_name,
        recorder::judge judge = nullptr,
        location where = location::current()
    ) {
        return record(
            record_request{.group = std::string(group_name), .judge = std::move(judge)}, where
        );
    }
    /// Subscribes any handler on the test's topic and waits until it is ready.
    [[nodiscard]] subscription subscribe(
        std::string_view topic_name,
        trunkline::handler h,
        const subscribe_options& options = {},
        location where = location::current()
    );

    void run_until(
        const std::function<bool()>& condition,
        duration within = limit,
        location where = location::current()
    );
    void run_until(
        const operation& op, duration within = limit, location where = location::current()
    ) {
        run_until([op] { return op.done(); }, within, where);
    }
    /// Lets bus time pass.
    void advance(duration by) { loop_->advance(by); }
    void in_threads(std::size_t count, const std::function<void(std::size_t)>& body) {
        loop_->in_threads(count, body);
    }

    /// Waits until everything that was published on this topic has passed everyone: a sentinel goes
    /// through each open instance and has to reach every ungrouped recorder, then all instances are
    /// flushed. What has not arrived then never will. The sentinel takes an index where there are
    /// indices, and one turn of each group.
    void quiesce(std::string_view topic_name = default_topic, location where = location::current());

    /// Flushes one instance, expecting success.
    void flush(std::size_t instance = 0, location where = location::current());
    /// Closes one instance, expecting success. It stays there to be used after close.
    void close(std::size_t instance = 0, location where = location::current());

    /// Starts anything that ends with a completion void(error_code): `start(token)`. The token runs
    /// on the rig's loop.
    template <class Start>
    operation begin(Start&& start) {
        operation op;
        std::forward<Start>(start)(on_loop([s = op.state_, this](error_code ec) {
            {
                const std::lock_guard lock(s->mutex);
                s->error = ec;
            }
            s->calls.fetch_add(1);
            loop_->wake();
        }));
        return op;
    }
    /// Starts it and waits for its end.
    template <class Start>
    error_code await(Start&& start, location where = location::current()) {
        const auto op = begin(std::forward<Start>(start));
        run_until(op, limit, where);
        return op.error();
    }
    /// The same for void(error_code, Value).
    template <class Value, class Start>
    std::pair<error_code, Value> await_value(Start&& start, location where = location::current()) {
        auto result = std::make_shared<std::pair<error_code, Value>>();
        const auto op = begin([&](auto done) {
            std::forward<Start>(start)(
                on_loop([result, done = std::move(done)](error_code ec, Value value) mutable {
                    *result = {ec, std::move(value)};
                    done(ec);
                })
            );
        });
        run_until(op, limit, where);
        return std::move(*result);
    }
    std::pair<error_code, history_page> history(
        std::uint64_t offset = 0,
        std::size_t events_max = 0,
        std::string_view topic_name = default_topic,
        location where = location::current()
    );

    /// Takes the transport down and brings it back: kills a broker, restarts a server. Only for
    /// backends whose `restart` flag is on.
    virtual void restart();

protected:
    explicit rig(std::unique_ptr<test_loop> loop);
    /// Makes one instance.
    virtual std::shared_ptr<pubsub> open_bus(const rig_environment& environment) = 0;

private:
    struct instance_state {
        std::shared_ptr<pubsub> bus;
        std::shared_ptr<faulty_cache> cache;
        bool closed = false;
    };
    struct tracked {
        std::string topic;
        std::size_t instance = 0;
        std::weak_ptr<recorder::state> seen;
        std::weak_ptr<trunkline::subscription> feed;
    };
    instance_state& at(std::size_t instance);
    // Completions come back on the loop, whatever the default of the operation is: a thread that
    // the rig does not join could outlive it.
    template <class F>
    auto on_loop(F f) {
        return boost::asio::bind_executor(executor(), std::move(f));
    }
    [[noreturn]] void fail(const std::string& message, location where);

    std::unique_ptr<test_loop> loop_;
    std::string ending_;
    rig_settings settings_;
    captured_log log_;
    std::vector<instance_state> instances_;
    std::vector<tracked> tracked_;
};

/// A rig in virtual time: one thread, nothing happens unless the test runs it.
class TRUNKLINE_EXPORT virtual_rig : public rig {
public:
    explicit virtual_rig(bus_factory open, rig_settings settings = {});

protected:
    std::shared_ptr<pubsub> open_bus(const rig_environment& environment) override;

private:
    bus_factory open_;
};

/// A rig in real time, with threads of its own. For servers, and for races.
class TRUNKLINE_EXPORT wall_rig : public rig {
public:
    explicit wall_rig(bus_factory open, rig_settings settings = {}, std::size_t threads = 2);

protected:
    std::shared_ptr<pubsub> open_bus(const rig_environment& environment) override;

private:
    bus_factory open_;
};

/// A name that no other test of this or another process uses: `prefix` and 16 hexadecimal digits.
TRUNKLINE_EXPORT std::string unique_name(std::string_view prefix);

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
