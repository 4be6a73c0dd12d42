#include <trunkline/testkit/manual_clock.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <map>
#include <mutex>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

namespace {
// Not zero, so that code which takes an unset time point for "long ago" is found out.
constexpr clock::time_point origin{std::chrono::hours{1000}};
}  // namespace

struct manual_clock::table {
    struct entry {
        boost::asio::any_io_executor executor;
        completion done;
    };
    // The second half of the key is the order of start.
    using key = std::pair<time_point, std::uint64_t>;

    mutable std::mutex mutex;
    std::map<key, entry> waits;
    std::uint64_t started = 0;
};

class manual_clock::pending final : public clock::wait {
public:
    pending(std::weak_ptr<table> waits, table::key key) : waits_(std::move(waits)), key_(key) {}
    ~pending() override {
        const auto waits = waits_.lock();
        if (waits == nullptr) return;
        // The completion may own anything, so it is destroyed outside the lock, which is why the
        // node is declared before it.
        std::map<table::key, table::entry>::node_type removed;
        const std::lock_guard lock(waits->mutex);
        removed = waits->waits.extract(key_);
    }

private:
    std::weak_ptr<table> waits_;
    table::key key_;
};

wall_time manual_clock::default_start() noexcept {
    return std::chrono::sys_days{std::chrono::year{2024} / 1 / 1};
}

manual_clock::manual_clock(wall_time start)
    : wall_start_(start.time_since_epoch().count()), table_(std::make_shared<table>()) {}

manual_clock::~manual_clock() = default;

clock::time_point manual_clock::now() const noexcept {
    return origin + duration{elapsed_.load()};
}

wall_time manual_clock::wall() const noexcept {
    const auto moved = std::chrono::floor<std::chrono::milliseconds>(duration{elapsed_.load()});
    return wall_time{std::chrono::milliseconds{wall_start_.load()} + moved};
}

std::unique_ptr<clock::wait> manual_clock::async_wait_until(
    time_point when, const boost::asio::any_io_executor& executor, completion done
) {
    std::unique_lock lock(table_->mutex);
    const table::key key{when, table_->started++};
    if (when > now()) {
        table_->waits.emplace(key, table::entry{executor, std::move(done)});
    } else {
        lock.unlock();
        boost::asio::post(executor, [done = std::move(done)]() mutable { done({}); });
    }
    return std::make_unique<pending>(table_, key);
}

void manual_clock::move_to(time_point when) noexcept {
    if (when > now()) elapsed_.store((when - origin).count());
}

bool manual_clock::fire_next(time_point limit) {
    std::map<table::key, table::entry>::node_type first;
    {
        const std::lock_guard lock(table_->mutex);
        if (table_->waits.empty() || table_->waits.begin()->first.first > limit) return false;
        first = table_->waits.extract(table_->waits.begin());
        move_to(first.key().first);
    }
    boost::asio::post(first.mapped().executor, [done = std::move(first.mapped().done)]() mutable {
        done({});
    });
    return true;
}

void manual_clock::advance(duration by, const drain& run) {
    if (by < duration::zero()) return;
    const auto end = now() + by;
    if (run) run();
    while (fire_next(end)) {
        if (run) run();
    }
    {
        const std::lock_guard lock(table_->mutex);
        move_to(end);
    }
    if (run) run();
}

void manual_clock::advance(duration by, boost::asio::io_context& loop) {
    advance(by, [&loop] {
        if (loop.stopped()) loop.restart();
        loop.poll();
    });
}

void manual_clock::shift_wall(std::chrono::milliseconds by) noexcept {
    wall_start_.fetch_add(by.count());
}

std::optional<clock::time_point> manual_clock::next_deadline() const {
    const std::lock_guard lock(table_->mutex);
    if (table_->waits.empty()) return std::nullopt;
    return table_->waits.begin()->first.first;
}

std::size_t manual_clock::waiting() const {
    const std::lock_guard lock(table_->mutex);
    return table_->waits.size();
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
