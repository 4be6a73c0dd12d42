#include "base/string_map.hpp"
#include "base/time.hpp"
#include "contract/memory_log.hpp"
#include "contract/tree_size.hpp"

#include <trunkline/event_json.hpp>
#include <trunkline/server_cache.hpp>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <deque>
#include <iterator>
#include <limits>
#include <list>
#include <map>
#include <mutex>
#include <stdexcept>
#include <utility>
#include <variant>

TRUNKLINE_NAMESPACE_BEGIN

namespace {

using value_list = std::deque<boost::json::value>;
using log_pointer = std::shared_ptr<memory_log>;
using content = std::variant<boost::json::value, value_list, log_pointer>;

constexpr std::size_t shells_max = 65'536;
constexpr auto sweep_interval = std::chrono::seconds{1};
constexpr auto never = clock::time_point::max();

std::size_t bytes_of(const boost::json::value& value) {
    return tree_size(value);
}

// Positions as Array.slice counts them, with `to` inclusive: clamped, negative ones from the end.
std::pair<std::size_t, std::size_t> slice(std::size_t size, std::int64_t from, std::int64_t to) {
    const auto n = static_cast<std::int64_t>(size);
    const auto begin = from < 0 ? std::max<std::int64_t>(n + from, 0) : std::min(from, n);
    const auto last = to < 0 ? n + to : std::min(to, n - 1);
    const auto end = std::max(last + 1, begin);
    return {static_cast<std::size_t>(begin), static_cast<std::size_t>(end)};
}

}  // namespace

class memory_server_cache::impl final : public memory_log_owner,
                                        public std::enable_shared_from_this<impl> {
public:
    using expiry_order = std::multimap<clock::time_point, std::string>;
    struct entry {
        content what;
        clock::time_point expires_at = never;  // a log knows its own
        std::size_t bytes = 0;
        expiry_order::iterator place;
    };

    explicit impl(memory_cache_options options) : options_(std::move(options)) {}

    // memory_log_owner
    bool attach(const log_pointer& log) override {
        const std::lock_guard lock(mutex_);
        const auto found = entries_.find(log->key());
        if (found != entries_.end()) {
            const auto* held = std::get_if<log_pointer>(&found->second.what);
            return held != nullptr && *held == log;
        }
        const auto shell = shells_.find(log->key());
        if (shell != shells_.end()) {
            if (shell->second.log != log) return false;
            shell_order_.erase(shell->second.place);
            shells_.erase(shell);
        }
        insert(log->key(), log, expiry(now()), 0);
        log->set_attached();
        return true;
    }
    clock::time_point now() const noexcept override {
        return options_.clock() != nullptr ? options_.clock()->now() : base::coarse_now();
    }
    clock::time_point expiry(clock::time_point from) const noexcept override {
        return expiry_after(from, options_.ttl());
    }
    static clock::time_point expiry_after(
        clock::time_point from, std::chrono::milliseconds ttl
    ) noexcept {
        return ttl.count() <= 0 ? never : base::saturating_add(from, ttl);
    }
    bool account(std::ptrdiff_t bytes) noexcept override {
        const auto now_held = bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
        return options_.max_bytes() != 0 &&
               now_held > static_cast<std::ptrdiff_t>(options_.max_bytes());
    }
    void relieve(const memory_log& except) override {
        const std::lock_guard lock(mutex_);
        shrink_to_budget(except.key());
    }
    void tidy() override {
        const std::lock_guard lock(mutex_);
        sweep_if_due();
    }
    std::size_t max_events() const noexcept override { return options_.max_events(); }

    // Finds a live entry; an expired one is removed. With the mutex held.
    entry* find(std::string_view key) {
        const auto found = entries_.find(key);
        if (found == entries_.end()) return nullptr;
        if (expires_at(found->second) > now()) return &found->second;
        remove(found);
        return nullptr;
    }

    void insert(std::string_view key, content what, clock::time_point when, std::size_t bytes) {
        sweep_if_due();
        auto& e = entries_.emplace(key, entry{}).first->second;
        e.what = std::move(what);
        e.expires_at = when;
        e.bytes = bytes;
        e.place = order_.emplace(when, key);
        account(static_cast<std::ptrdiff_t>(bytes));
        while (entries_.size() > options_.max_size() && evict_nearest(key)) {
        }
        shrink_to_budget(key);
    }

    void resize(std::string_view key, entry& e, std::size_t bytes) {
        account(static_cast<std::ptrdiff_t>(bytes) - static_cast<std::ptrdiff_t>(e.bytes));
        e.bytes = bytes;
        shrink_to_budget(key);
    }

    void erase(std::string_view key) {
        const auto found = entries_.find(key);
        if (found != entries_.end()) {
            if (auto* log = std::get_if<log_pointer>(&found->second.what)) (*log)->restart();
            remove(found);
        }
        const auto shell = shells_.find(key);
        if (shell != shells_.end()) shell->second.log->restart();
    }

    void clear() {
        while (!entries_.empty()) erase(std::string(entries_.begin()->first));
        for (auto& shell : shells_) shell.second.log->restart();
    }

    log_pointer log(std::string_view key) {
        if (const auto found = entries_.find(key); found != entries_.end()) {
            // An expired log is still the right object: it drops its events by itself.
            if (auto* held = std::get_if<log_pointer>(&found->second.what)) return *held;
            if (find(key) != nullptr) return nullptr;
        }
        if (const auto shell = shells_.find(key); shell != shells_.end()) return shell->second.log;
        auto fresh = std::make_shared<memory_log>(weak_from_this(), std::string(key));
        keep_shell(fresh);
        return fresh;
    }

    std::size_t sweep() {
        const auto time = now();
        std::size_t removed = 0;
        while (!order_.empty() && order_.begin()->first <= time) {
            const auto found = entries_.find(order_.begin()->second);
            const auto actual = expires_at(found->second);
            if (actual > time) {
                reposition(found->second, actual);
            } else {
                remove(found);
                ++removed;
            }
        }
        swept_at_ = time;
        return removed;
    }

private:
    friend class memory_server_cache;

    mutable std::mutex mutex_;
    const memory_cache_options options_;
    base::string_map<entry> entries_;
    std::atomic<std::ptrdiff_t> bytes_{0};

    using entry_iterator = base::string_map<entry>::iterator;

    static clock::time_point expires_at(const entry& e) {
        const auto* log = std::get_if<log_pointer>(&e.what);
        return log != nullptr ? (*log)->expires_at() : e.expires_at;
    }

    void reposition(entry& e, clock::time_point when) {
        auto node = order_.extract(e.place);
        node.key() = when;
        e.place = order_.insert(std::move(node));
    }

    // Writes only move the expiry in the entry; the order catches up here, when it is asked.
    bool evict_nearest(std::string_view except) {
        for (auto at = order_.begin(); at != order_.end();) {
            const auto found = entries_.find(at->second);
            const auto actual = expires_at(found->second);
            if (actual > at->first) {
                ++at;
                reposition(found->second, actual);
                at = order_.begin();
                continue;
            }
            if (found->first == except) {
                ++at;
                continue;
            }
            remove(found);
            return true;
        }
        return false;
    }

    void shrink_to_budget(std::string_view except) {
        while (account(0) && evict_nearest(except)) {
        }
    }

    void remove(entry_iterator found) {
        if (auto* log = std::get_if<log_pointer>(&found->second.what)) {
            (*log)->evict();
            keep_shell(*log);
        }
        account(-static_cast<std::ptrdiff_t>(found->second.bytes));
        order_.erase(found->second.place);
        entries_.erase(found);
    }

    void keep_shell(const log_pointer& log) {
        if (const auto old = shells_.find(log->key()); old != shells_.end()) {
            shell_order_.erase(old->second.place);
            shells_.erase(old);
        }
        shell_order_.push_back(log->key());
        shells_.emplace(log->key(), shell{log, std::prev(shell_order_.end())});
        while (shells_.size() > shells_max) {
            shells_.erase(shells_.find(shell_order_.front()));
            shell_order_.pop_front();
        }
    }

    void sweep_if_due() {
        if (now() - swept_at_ >= sweep_interval) sweep();
    }

    expiry_order order_;
    // Logs without events that remember their next index, and who is forgotten first.
    struct shell {
        log_pointer log;
        std::list<std::string>::iterator place;
    };
    base::string_map<shell> shells_;
    std::list<std::string> shell_order_;
    clock::time_point swept_at_{};
};

memory_server_cache::memory_server_cache(memory_cache_options options) {
    if (options.max_size() == 0) throw std::invalid_argument("memory_server_cache: max_size is 0");
    if (options.max_events() == 0)
        throw std::invalid_argument("memory_server_cache: max_events is 0");
    impl_ = std::make_shared<impl>(std::move(options));
}

memory_server_cache::~memory_server_cache() = default;

void memory_server_cache::get(
    std::string_view key, answer<std::optional<boost::json::value>> done
) {
    std::optional<boost::json::value> value;
    error_code ec;
    {
        const std::lock_guard lock(impl_->mutex_);
        if (const auto* e = impl_->find(key)) {
            if (const auto* plain = std::get_if<boost::json::value>(&e->what))
                value = *plain;
            else
                ec = errc::invalid_argument;
        }
    }
    done(ec, std::move(value));
}

void memory_server_cache::set(
    std::string_view key, boost::json::value value, std::optional<milliseconds> ttl, completion done
) {
    {
        const std::lock_guard lock(impl_->mutex_);
        const auto bytes = bytes_of(value) + key.size();
        impl_->erase(key);
        const auto when = impl::expiry_after(impl_->now(), ttl.value_or(impl_->options_.ttl()));
        impl_->insert(key, std::move(value), when, bytes);
    }
    if (done) done({});
}

void memory_server_cache::list_length(std::string_view key, answer<std::size_t> done) {
    std::size_t length = 0;
    error_code ec;
    {
        const std::lock_guard lock(impl_->mutex_);
        if (const auto* e = impl_->find(key)) {
            if (const auto* list = std::get_if<value_list>(&e->what))
                length = list->size();
            else if (const auto* log = std::get_if<log_pointer>(&e->what))
                length = (*log)->length(impl_->now());
            else
                ec = errc::invalid_argument;
        }
    }
    done(ec, length);
}

namespace {

// The list under a key, made when missing; null when the key holds something else.
template <class Impl>
value_list* list_for_write(Impl& cache, std::string_view key, std::size_t added_bytes) {
    auto* e = cache.find(key);
    if (e == nullptr) {
        cache.insert(key, value_list{}, cache.expiry(cache.now()), key.size());
        e = cache.find(key);
    }
    if (e == nullptr) return nullptr;
    auto* list = std::get_if<value_list>(&e->what);
    if (list == nullptr) return nullptr;
    e->expires_at = cache.expiry(cache.now());
    cache.resize(key, *e, e->bytes + added_bytes);
    return list;
}

}  // namespace

void memory_server_cache::list_push(
    std::string_view key, boost::json::value value, completion done
) {
    error_code ec;
    {
        const std::lock_guard lock(impl_->mutex_);
        if (auto* list = list_for_write(*impl_, key, bytes_of(value)))
            list->push_back(std::move(value));
        else
            ec = errc::invalid_argument;
    }
    if (done) done(ec);
}

void memory_server_cache::list_range(
    std::string_view key,
    std::int64_t from,
    std::int64_t to,
    answer<std::vector<boost::json::value>> done
) {
    std::vector<boost::json::value> out;
    log_pointer log;
    {
        const std::lock_guard lock(impl_->mutex_);
        if (const auto* e = impl_->find(key)) {
            if (const auto* list = std::get_if<value_list>(&e->what)) {
                const auto [begin, end] = slice(list->size(), from, to);
                for (auto i = begin; i < end; ++i) out.push_back((*list)[i]);
            } else if (const auto* held = std::get_if<log_pointer>(&e->what)) {
                log = *held;
            }
        }
    }
    error_code ec;
    if (log != nullptr) {
        log->read(0, 0, [&](error_code, event_log::page page) {
            const auto [begin, end] = slice(page.events.size(), from, to);
            try {
                for (auto i = begin; i < end; ++i) {
                    std::string text;
                    append_event_json(text, page.events[i]);
                    out.push_back(payload::from_json_text(text).tree());
                }
            } catch (const boost::system::system_error& e) {
                ec = e.code();  // a live object, or data that is no JSON
                out.clear();
            }
        });
    }
    done(ec, std::move(out));
}

void memory_server_cache::erase(std::string_view key, completion done) {
    {
        const std::lock_guard lock(impl_->mutex_);
        impl_->erase(key);
    }
    if (done) done({});
}

void memory_server_cache::clear(completion done) {
    {
        const std::lock_guard lock(impl_->mutex_);
        impl_->clear();
    }
    if (done) done({});
}

namespace {

// Adds one to the number under a key; nothing when it holds something else.
template <class Impl>
std::optional<std::int64_t> add_one(Impl& cache, std::string_view key) {
    auto* e = cache.find(key);
    if (e == nullptr) {
        cache.insert(key, boost::json::value(1), cache.expiry(cache.now()), key.size());
        return 1;
    }
    auto* value = std::get_if<boost::json::value>(&e->what);
    if (value == nullptr || !value->is_int64() ||
        value->get_int64() == std::numeric_limits<std::int64_t>::max())
        return std::nullopt;
    e->expires_at = cache.expiry(cache.now());
    return ++value->get_int64();
}

}  // namespace

void memory_server_cache::increment(std::string_view key, answer<std::int64_t> done) {
    std::optional<std::int64_t> value;
    {
        const std::lock_guard lock(impl_->mutex_);
        value = add_one(*impl_, key);
    }
    done(value ? error_code{} : make_error_code(errc::invalid_argument), value.value_or(0));
}

void memory_server_cache::list_push_indexed(
    std::string_view list_key,
    std::string_view counter_key,
    boost::json::object object,
    answer<std::uint64_t> done
) {
    error_code ec = errc::invalid_argument;
    std::uint64_t index = 0;
    {
        const std::lock_guard lock(impl_->mutex_);
        // The list is looked at first, so that a failure uses no index up.
        const auto bytes = bytes_of(object) + sizeof(std::uint64_t);
        const auto* e = impl_->find(list_key);
        if (e == nullptr || std::holds_alternative<value_list>(e->what)) {
            if (const auto next = add_one(*impl_, counter_key)) {
                index = static_cast<std::uint64_t>(*next - 1);
                object["index"] = index;
                if (auto* list = list_for_write(*impl_, list_key, bytes)) {
                    list->push_back(std::move(object));
                    ec = {};
                }
            }
        }
    }
    done(ec, index);
}

std::shared_ptr<event_log> memory_server_cache::log(std::string_view list_key, std::string_view) {
    const std::lock_guard lock(impl_->mutex_);
    return impl_->log(list_key);
}

std::size_t memory_server_cache::sweep() {
    const std::lock_guard lock(impl_->mutex_);
    return impl_->sweep();
}

std::size_t memory_server_cache::size() const {
    const std::lock_guard lock(impl_->mutex_);
    return impl_->entries_.size();
}

std::size_t memory_server_cache::size_bytes() const {
    return static_cast<std::size_t>(
        std::max<std::ptrdiff_t>(impl_->bytes_.load(std::memory_order_relaxed), 0)
    );
}

TRUNKLINE_NAMESPACE_END
