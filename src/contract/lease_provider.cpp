#include "base/string_map.hpp"
#include "base/time.hpp"

#include <trunkline/lease_provider.hpp>

#include <algorithm>
#include <mutex>

TRUNKLINE_NAMESPACE_BEGIN

struct memory_lease_provider::impl {
    struct lease {
        std::string owner;
        clock::time_point expires_at;
    };

    boost::asio::any_io_executor executor;
    std::shared_ptr<clock> time;
    std::mutex mutex;
    base::string_map<lease> leases;
    std::size_t sweep_at = 64;

    // The live lease under `key`, or null; an expired one is removed. With the mutex held.
    lease* live(std::string_view key, clock::time_point now) {
        const auto found = leases.find(key);
        if (found == leases.end()) return nullptr;
        if (found->second.expires_at > now) return &found->second;
        leases.erase(found);
        return nullptr;
    }
    lease* held_by(std::string_view key, std::string_view owner, clock::time_point now) {
        auto* found = live(key, now);
        return found != nullptr && found->owner == owner ? found : nullptr;
    }
    void sweep_if_grown(clock::time_point now) {
        if (leases.size() < sweep_at) return;
        std::erase_if(leases, [now](const auto& entry) { return entry.second.expires_at <= now; });
        sweep_at = std::max<std::size_t>(64, leases.size() * 2);
    }
};

memory_lease_provider::memory_lease_provider(
    boost::asio::any_io_executor executor, std::shared_ptr<clock> time
)
    : impl_(std::make_unique<impl>()) {
    impl_->executor = std::move(executor);
    impl_->time = time != nullptr ? std::move(time) : system_clock();
}

memory_lease_provider::~memory_lease_provider() = default;

boost::asio::any_io_executor memory_lease_provider::executor() {
    return impl_->executor;
}

void memory_lease_provider::clear() noexcept {
    const std::lock_guard lock(impl_->mutex);
    impl_->leases.clear();
}

void memory_lease_provider::do_acquire(
    std::string_view key, std::string_view owner, milliseconds ttl, answer<lease_answer> done
) {
    if (ttl.count() <= 0) return done(errc::invalid_argument, {});
    lease_answer result;
    {
        const std::lock_guard lock(impl_->mutex);
        const auto now = impl_->time->now();
        auto* held = impl_->live(key, now);
        if (held == nullptr) {
            impl_->sweep_if_grown(now);
            impl_->leases.emplace(
                key, impl::lease{std::string(owner), base::saturating_add(now, ttl)}
            );
            result.acquired = true;
        } else if (held->owner == owner) {
            held->expires_at = base::saturating_add(now, ttl);
            result.acquired = true;
        }
        result.owner = result.acquired ? std::string(owner) : held->owner;
    }
    done({}, std::move(result));
}

void memory_lease_provider::do_owner(
    std::string_view key, answer<std::optional<std::string>> done
) {
    std::optional<std::string> owner;
    {
        const std::lock_guard lock(impl_->mutex);
        if (const auto* held = impl_->live(key, impl_->time->now())) owner = held->owner;
    }
    done({}, std::move(owner));
}

void memory_lease_provider::do_release(
    std::string_view key, std::string_view owner, completion done
) {
    {
        const std::lock_guard lock(impl_->mutex);
        if (impl_->held_by(key, owner, impl_->time->now()) != nullptr)
            impl_->leases.erase(impl_->leases.find(key));
    }
    done({});
}

void memory_lease_provider::do_renew(
    std::string_view key, std::string_view owner, milliseconds ttl, answer<bool> done
) {
    do_transfer(key, owner, owner, ttl, std::move(done));
}

void memory_lease_provider::do_transfer(
    std::string_view key,
    std::string_view from,
    std::string_view to,
    milliseconds ttl,
    answer<bool> done
) {
    if (ttl.count() <= 0) return done(errc::invalid_argument, false);
    bool moved = false;
    {
        const std::lock_guard lock(impl_->mutex);
        const auto now = impl_->time->now();
        if (auto* held = impl_->held_by(key, from, now)) {
            held->owner = to;
            held->expires_at = base::saturating_add(now, ttl);
            moved = true;
        }
    }
    done({}, moved);
}

void noop_lease_provider::do_acquire(
    std::string_view, std::string_view owner, milliseconds, answer<lease_answer> done
) {
    done({}, {true, std::string(owner)});
}
void noop_lease_provider::do_owner(std::string_view, answer<std::optional<std::string>> done) {
    done({}, std::nullopt);
}
void noop_lease_provider::do_release(std::string_view, std::string_view, completion done) {
    done({});
}
void noop_lease_provider::do_renew(
    std::string_view, std::string_view, milliseconds, answer<bool> done
) {
    done({}, true);
}
void noop_lease_provider::do_transfer(
    std::string_view, std::string_view, std::string_view, milliseconds, answer<bool> done
) {
    done({}, true);
}

TRUNKLINE_NAMESPACE_END
