#pragma once

#include <trunkline/clock.hpp>
#include <trunkline/config.hpp>
#include <trunkline/testkit/manual_clock.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

/// An executor and a clock that belong together: the kind of time a test lives in.
class TRUNKLINE_EXPORT test_loop {
public:
    using duration = trunkline::clock::duration;

    virtual ~test_loop() = default;
    test_loop(const test_loop&) = delete;
    test_loop& operator=(const test_loop&) = delete;

    virtual boost::asio::any_io_executor executor() = 0;
    virtual std::shared_ptr<trunkline::clock> clock() const = 0;

    /// True where time stands still unless the test moves it and one thread runs everything: then
    /// a test may say what has not happened yet.
    virtual bool exact() const noexcept = 0;

    /// Runs the loop until `condition` holds. False when `limit` of bus time has passed first, or
    /// when nothing is left that could make it true. `condition` is called on this thread, often.
    virtual bool run_until(const std::function<bool()>& condition, duration limit) = 0;

    /// Lets `by` of bus time pass and runs what becomes due.
    virtual void advance(duration by) = 0;

    /// Says that something a condition looks at may have changed. Any thread.
    virtual void wake() noexcept = 0;

    /// Runs `body(0)` to `body(count - 1)` on as many new threads that start together, and the loop
    /// meanwhile; returns when all have returned. Rethrows the first exception. A thread that does
    /// not come back within a minute of real time ends the program with a message.
    void in_threads(std::size_t count, const std::function<void(std::size_t)>& body);

protected:
    test_loop() = default;
    /// Threads of `in_threads` that have not returned.
    bool foreign_threads() const noexcept { return foreign_.load() > 0; }

private:
    std::atomic<std::size_t> foreign_{0};
};

/// One io_context run by the test's own thread, under a manual clock.
class TRUNKLINE_EXPORT virtual_loop final : public test_loop {
public:
    virtual_loop();
    ~virtual_loop() override;

    boost::asio::any_io_executor executor() override;
    std::shared_ptr<trunkline::clock> clock() const override;
    bool exact() const noexcept override { return true; }
    bool run_until(const std::function<bool()>& condition, duration limit) override;
    void advance(duration by) override;
    void wake() noexcept override;

    manual_clock& time() noexcept { return *time_; }
    boost::asio::io_context& context() noexcept { return context_; }

private:
    void drain();

    std::shared_ptr<manual_clock> time_;
    boost::asio::io_context context_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
};

/// One io_context run by threads of its own, under the system's clocks.
class TRUNKLINE_EXPORT wall_loop final : public test_loop {
public:
    /// `threads`: at least 1.
    explicit wall_loop(std::size_t threads = 2);
    /// Stops the loop and joins its threads; what is still queued is destroyed unrun.
    ~wall_loop() override;

    boost::asio::any_io_executor executor() override;
    std::shared_ptr<trunkline::clock> clock() const override;
    bool exact() const noexcept override { return false; }
    bool run_until(const std::function<bool()>& condition, duration limit) override;
    void advance(duration by) override;
    void wake() noexcept override;

private:
    std::shared_ptr<trunkline::clock> time_;
    boost::asio::io_context context_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t changes_ = 0;
    std::vector<std::thread> threads_;
};

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
