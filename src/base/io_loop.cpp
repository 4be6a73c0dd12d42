#include "base/io_loop.hpp"

#include "base/own_thread.hpp"

#include <trunkline/detail/unique_function.hpp>

#include <boost/asio/execution.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <sys/resource.h>
#include <thread>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace base {

namespace {

using std::chrono::milliseconds;
using steady = std::chrono::steady_clock;
using task = detail::unique_function<void(), 64>;

// Tasks before the sockets have their turn.
constexpr unsigned slice_max = 16;
// A slice that takes this long holds up the sockets.
constexpr milliseconds slow{1};
// How long slices are looked at closely after one that seemed slow, and how long handlers then have
// a thread to themselves.
constexpr milliseconds suspicion{100};
constexpr milliseconds separation{1000};
// How often the thread that stands by looks at the other one while there is something to do. One
// that is in the same task at two looks has lost the sockets.
constexpr milliseconds look_interval{5};
constexpr unsigned quiet_looks = 2;
constexpr unsigned last_tasks_max = 100'000;

/// What a thread has used: to tell a slow handler from a thread that had to wait for a processor.
struct usage {
    std::int64_t cpu_us = 0;
    long waits = 0;

    static usage now() noexcept {
        rusage r{};
        getrusage(RUSAGE_THREAD, &r);
        const auto us = [](const timeval& t) {
            return std::int64_t{t.tv_sec} * 1'000'000 + t.tv_usec;
        };
        return {us(r.ru_utime) + us(r.ru_stime), r.ru_nvcsw};
    }
};

/// Leaves io_context::run on a thread that has lost the sockets.
struct step_aside {};

}  // namespace

class io_loop::state : public std::enable_shared_from_this<state> {
public:
    boost::asio::io_context& io() noexcept { return io_; }

    void start() {
        const std::lock_guard lock(mutex_);
        start_locked();
    }
    void execute(task t);
    /// On a thread that is just in a task of this.
    bool inside() const noexcept { return running == this; }
    void stop() noexcept;

private:
    /// Who empties the queue.
    enum class runner { nobody, called_on_sockets, called_on_spare, at_work };

    void start_locked();
    void start_thread(std::size_t which, bool leads);
    void work(bool leads);
    bool stand_by();
    bool call_runner(steady::time_point now);
    void post_runner();
    void run_on_sockets();
    void run_slice(bool leads);
    void finish(bool leads) noexcept;

    static thread_local constinit inline const state* running = nullptr;

    // Odd while the thread that leads is in a task: who adds one decides who leads from then on.
    std::atomic<std::uint64_t> turns_{0};

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<task> queue_;
    runner runner_ = runner::nobody;
    std::uint64_t calls_ = 0;
    bool watching_ = false;
    bool stopped_ = false;
    unsigned alive_ = 0;
    std::array<std::thread, 2> threads_;
    steady::time_point separate_until_{};
    steady::time_point suspicious_until_{};

    // Last: what it still holds at its end may come back here.
    boost::asio::io_context io_;
    const boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_ =
        boost::asio::make_work_guard(io_);
};

// --- from outside --------------------------------------------------------------------------------

void io_loop::state::start_thread(std::size_t which, bool leads) {
    threads_[which] = std::thread([self = shared_from_this(), leads] { self->work(leads); });
    ++alive_;
}

void io_loop::state::start_locked() {
    if (!threads_[0].joinable() && !stopped_) start_thread(0, true);
}

void io_loop::state::execute(task t) {
    bool post = false;
    {
        const std::lock_guard lock(mutex_);
        start_locked();
        if (alive_ == 0) return;  // dropped behind the lock
        queue_.push_back(std::move(t));
        if (runner_ == runner::nobody && !stopped_)
            post = call_runner(
                separate_until_ == steady::time_point{} ? separate_until_ : steady::now()
            );
        if (!watching_ && !stopped_) {
            watching_ = true;
            if (!threads_[1].joinable()) start_thread(1, false);
            wake_.notify_one();
        }
    }
    if (post) post_runner();
}

void io_loop::state::stop() noexcept {
    std::array<std::thread, 2> ending;
    {
        const std::lock_guard lock(mutex_);
        if (std::exchange(stopped_, true)) return;
        std::swap(ending, threads_);
    }
    wake_.notify_all();
    io_.stop();
    for (auto& t : ending) {
        if (!t.joinable()) continue;
        if (t.get_id() == std::this_thread::get_id())
            t.detach();  // tidy: allow — it holds this state and ends when its stack unwinds
        else
            t.join();
    }
}

// --- the two threads -----------------------------------------------------------------------------

void io_loop::state::work(bool leads) {
    mark_own_thread();
    for (;;) {
        if (leads) {
            try {
                io_.run();
                break;
            } catch (const step_aside&) {
                leads = false;
            }
        } else {
            leads = stand_by();
            if (!leads) break;
        }
    }
    finish(leads);
    std::deque<task> dropped;
    const std::lock_guard lock(mutex_);
    if (--alive_ == 0) dropped = std::exchange(queue_, {});
}

// What was given before the end still runs, so that nothing waits for ever in a queue that keeps
// its own owner alive.
void io_loop::state::finish(bool leads) noexcept {
    if (leads) io_.restart();
    for (unsigned left = last_tasks_max; left > 0; --left) {
        const bool some = leads && io_.poll_one() != 0;
        {
            const std::lock_guard lock(mutex_);
            if (runner_ == runner::at_work) {
                if (some) continue;
                return;  // the other thread empties the queue
            }
            if (queue_.empty() && !some) return;
            runner_ = runner::at_work;
        }
        run_slice(false);
    }
}

// Waits until there is something for the thread that stands by. True when it leads from now on;
// false at the end.
bool io_loop::state::stand_by() {
    std::uint64_t turns = 0;
    std::uint64_t calls = 0;
    unsigned quiet = 0;
    std::unique_lock lock(mutex_);
    while (!stopped_) {
        if (runner_ == runner::called_on_spare) {
            runner_ = runner::at_work;
            lock.unlock();
            run_slice(false);
            lock.lock();
        } else if (!watching_) {
            wake_.wait(lock);
            quiet = 0;
        } else if (wake_.wait_for(lock, look_interval) == std::cv_status::timeout) {
            auto seen = turns_.load(std::memory_order_acquire);
            const bool same = seen == turns && calls_ == calls;
            if (same && seen % 2 == 1 && turns_.compare_exchange_strong(seen, seen + 1))
                return true;
            if (same && runner_ == runner::called_on_sockets) runner_ = runner::called_on_spare;
            quiet = same && runner_ == runner::nobody ? quiet + 1 : 0;
            watching_ = quiet < quiet_looks;
            turns = seen;
            calls = calls_;
        }
    }
    return false;
}

// Says who empties the queue next. True when the caller has to post that to the sockets, without
// the mutex.
bool io_loop::state::call_runner(steady::time_point now) {
    ++calls_;
    if (now < separate_until_) {
        runner_ = runner::called_on_spare;
        wake_.notify_one();
        return false;
    }
    separate_until_ = {};
    runner_ = runner::called_on_sockets;
    return true;
}

void io_loop::state::post_runner() {
    boost::asio::post(io_, [this] { run_on_sockets(); });
}

void io_loop::state::run_on_sockets() {
    {
        const std::lock_guard lock(mutex_);
        if (runner_ != runner::called_on_sockets) return;
        runner_ = runner::at_work;
    }
    run_slice(true);
}

void io_loop::state::run_slice(bool leads) {
    const bool led = leads;
    const auto begun = steady::now();
    const bool suspicious = begun < suspicious_until_;
    const auto used = suspicious ? usage::now() : usage{};
    bool post = false;
    unsigned done = 0;
    for (;; ++done) {
        task next;
        {
            const std::lock_guard lock(mutex_);
            if (queue_.empty() || done == (stopped_ ? last_tasks_max : slice_max)) break;
            next = std::move(queue_.front());
            queue_.pop_front();
        }
        auto turn = leads ? turns_.fetch_add(1, std::memory_order_acq_rel) + 1 : 0;
        const auto* outer = std::exchange(running, this);
        next();
        next = {};
        running = outer;
        leads = leads && turns_.compare_exchange_strong(turn, turn + 1);
    }
    const auto ended = steady::now();
    bool slow_one = false;
    if (ended - begun > slow && suspicious) {
        const auto all = usage::now();
        slow_one = all.waits != used.waits ||
                   all.cpu_us - used.cpu_us > std::chrono::microseconds(slow).count();
    }
    std::deque<task> given_up;
    {
        const std::lock_guard lock(mutex_);
        if (ended - begun > slow) suspicious_until_ = ended + suspicion;
        if (slow_one) separate_until_ = ended + separation;
        if (done == last_tasks_max) given_up = std::exchange(queue_, {});
        runner_ = runner::nobody;
        if (!queue_.empty()) post = call_runner(ended);
    }
    given_up.clear();
    if (post) post_runner();
    if (led && !leads) throw step_aside{};
}

// --- the executor of handlers --------------------------------------------------------------------

namespace {

class handler_executor {
public:
    explicit handler_executor(io_loop::state& to) noexcept : to_(&to) {}

    boost::asio::execution_context& query(boost::asio::execution::context_t) const {
        to_->start();
        return to_->io();
    }
    boost::asio::execution::blocking_t query(boost::asio::execution::blocking_t) const noexcept {
        return may_nest_
                   ? boost::asio::execution::blocking_t(boost::asio::execution::blocking.possibly)
                   : boost::asio::execution::blocking_t(boost::asio::execution::blocking.never);
    }
    handler_executor require(boost::asio::execution::blocking_t::possibly_t) const noexcept {
        return handler_executor(*to_, true);
    }
    handler_executor require(boost::asio::execution::blocking_t::never_t) const noexcept {
        return handler_executor(*to_, false);
    }
    template <class F>
    void execute(F&& f) const {
        if (may_nest_ && to_->inside())
            std::decay_t<F>(std::forward<F>(f))();
        else
            to_->execute(task(std::forward<F>(f)));
    }
    friend bool operator==(const handler_executor& a, const handler_executor& b) noexcept = default;

private:
    handler_executor(io_loop::state& to, bool may_nest) noexcept : to_(&to), may_nest_(may_nest) {}

    io_loop::state* to_;
    bool may_nest_ = true;
};

}  // namespace

io_loop::io_loop() : state_(std::make_shared<state>()) {}

io_loop::~io_loop() {
    stop();
}

boost::asio::any_io_executor io_loop::sockets() {
    state_->start();
    return state_->io().get_executor();
}

boost::asio::any_io_executor io_loop::handlers() {
    return handler_executor(*state_);
}

void io_loop::stop() noexcept {
    state_->stop();
}

}  // namespace base
TRUNKLINE_NAMESPACE_END
