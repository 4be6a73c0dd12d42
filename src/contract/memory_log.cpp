#include "contract/memory_log.hpp"

#include <trunkline/detail/event_access.hpp>

#include <algorithm>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN

namespace {

constexpr std::uint64_t appends_per_tidy = 1024;

std::uint32_t next_generation() noexcept {
    static std::atomic<std::uint32_t> last{0};
    for (;;) {
        const auto g = last.fetch_add(1, std::memory_order_relaxed) + 1;
        if (g != 0) return g;  // 0 means "no log"
    }
}

}  // namespace

memory_log::memory_log(std::weak_ptr<memory_log_owner> owner, std::string key)
    : owner_(std::move(owner)), key_(std::move(key)), generation_(next_generation()) {}

memory_log::~memory_log() = default;

std::ptrdiff_t memory_log::cost(const event& e) noexcept {
    return static_cast<std::ptrdiff_t>(e.size_bytes() + sizeof(event));
}

bool memory_log::append(event_draft&& draft, append_completion&, error_code& ec, event& stored) {
    using access = detail::event_access;
    const auto attempt = access::attempt(draft);
    const auto owner = owner_.lock();
    for (int tries = 0; owner != nullptr && tries < 2; ++tries) {
        {
            const std::lock_guard lock(mutex_);
            if (attached_) {
                const auto now = owner->now();
                std::ptrdiff_t bytes = 0;
                if (expires_at() <= now) bytes -= drop_events();
                expires_at_.store(
                    owner->expiry(now).time_since_epoch().count(), std::memory_order_relaxed
                );
                access::set_index(draft, next_, generation_);
                stored = access::freeze(std::move(draft), attempt);
                bytes += cost(stored);
                events_.push_back(stored);
                ++next_;
                owner->account(bytes);
                ec = {};
                return true;
            }
        }
        if (!owner->attach(shared_from_this())) break;
    }
    stored = access::freeze(std::move(draft), attempt);
    ec = errc::closed;
    return true;
}

// Retention is applied here and not in append: a refused event must not push others out.
void memory_log::confirm(const event& stored) noexcept {
    const auto owner = owner_.lock();
    if (owner == nullptr) return;
    bool over_budget = false;
    {
        event oldest;  // destroyed after the lock
        const std::lock_guard lock(mutex_);
        if (detail::event_access::generation(stored) != generation_) return;
        confirmed_ = std::max(confirmed_, *stored.index() + 1);
        std::ptrdiff_t freed = 0;
        if (events_.size() > owner->max_events()) {
            oldest = std::move(events_.front());
            freed = cost(oldest);
            events_.pop_front();
        }
        over_budget = owner->account(-freed);
        while (over_budget && events_.size() > 1) {
            freed = cost(events_.front());
            events_.pop_front();
            over_budget = owner->account(-freed);
        }
    }
    if (over_budget) owner->relieve(*this);
    if (*stored.index() % appends_per_tidy == appends_per_tidy - 1) owner->tidy();
}

void memory_log::withdraw(const event& stored) noexcept {
    std::ptrdiff_t bytes = 0;
    {
        const std::lock_guard lock(mutex_);
        if (events_.empty() || !same(events_.back(), stored) || next_ != *stored.index() + 1)
            return;
        bytes = cost(stored);
        events_.pop_back();
        --next_;
    }
    if (const auto owner = owner_.lock()) owner->account(-bytes);
}

void memory_log::read(std::uint64_t from, std::size_t limit, read_completion done) {
    page result;
    {
        const auto owner = owner_.lock();
        const std::lock_guard lock(mutex_);
        result.generation = generation_;
        result.next = confirmed_;
        const bool expired = owner == nullptr || expires_at() <= owner->now();
        const auto oldest = expired ? next_ : next_ - events_.size();
        result.first = std::min(oldest, confirmed_);
        const auto begin = std::max(from, oldest);
        if (begin < confirmed_) {
            auto count = confirmed_ - begin;
            if (limit != 0) count = std::min<std::uint64_t>(count, limit);
            const auto at = events_.begin() + static_cast<std::ptrdiff_t>(begin - oldest);
            result.events.assign(at, at + static_cast<std::ptrdiff_t>(count));
        }
    }
    done({}, std::move(result));
}

void memory_log::clear(completion done) {
    restart();
    if (done) done({});
}

std::size_t memory_log::length(clock::time_point now) const {
    const std::lock_guard lock(mutex_);
    return expires_at() <= now ? 0 : events_.size();
}

void memory_log::set_attached() noexcept {
    const std::lock_guard lock(mutex_);
    attached_ = true;
    expires_at_.store(
        clock::time_point::max().time_since_epoch().count(), std::memory_order_relaxed
    );
}

void memory_log::evict() noexcept {
    std::ptrdiff_t bytes = 0;
    {
        const std::lock_guard lock(mutex_);
        attached_ = false;
        bytes = drop_events();
    }
    if (const auto owner = owner_.lock()) owner->account(-bytes);
}

void memory_log::restart() noexcept {
    std::ptrdiff_t bytes = 0;
    {
        const std::lock_guard lock(mutex_);
        bytes = drop_events();
        next_ = 0;
        confirmed_ = 0;
        generation_ = next_generation();
    }
    if (const auto owner = owner_.lock()) owner->account(-bytes);
}

// With the mutex held; the bytes that went.
std::ptrdiff_t memory_log::drop_events() noexcept {
    std::ptrdiff_t bytes = 0;
    for (const auto& e : events_) bytes += cost(e);
    events_.clear();
    return bytes;
}

TRUNKLINE_NAMESPACE_END
