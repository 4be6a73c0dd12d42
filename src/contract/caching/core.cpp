#include "contract/caching/core.hpp"

#include "contract/caching/replay.hpp"
#include "contract/handler_frame.hpp"
#include "contract/overloaded.hpp"
#include "contract/stamp.hpp"

#include <boost/asio/post.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <charconv>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace caching {

namespace {

constexpr unsigned turn_budget = 1024;       // operations run for others before handing over
constexpr std::size_t pending_max = 65'536;  // publishes that wait for a busy topic
constexpr std::string_view generation_field = "logGeneration";
constexpr std::size_t idle_records_max = 4096;  // per shard; the cache remembers what matters

}  // namespace

core::core(
    std::shared_ptr<pubsub> inner, std::shared_ptr<server_cache> cache, caching_options options
)
    : inner_(std::move(inner)),
      cache_(std::move(cache)),
      mark_(inner_->traits().cross_process ? event_id::random().text() + ":" : std::string()),
      options_(std::move(options)),
      time_(options_.clock() != nullptr ? options_.clock() : system_clock()) {}

bool core::caches(std::string_view topic) const {
    return !options_.should_cache() || options_.should_cache()(topic);
}

std::shared_ptr<event_log> core::log_of(std::string_view topic) {
    const auto key = options_.key_prefix() + std::string(topic);
    return cache_->log(key, key + ":counter");
}

shard& core::shard_of(const base::hashed_text& topic) noexcept {
    return shards_[topic.hash >> 60];
}

// With the shard's mutex held.
std::shared_ptr<record> core::record_in(shard& home, const base::hashed_text& topic) {
    if (const auto found = home.records.find(topic); found != home.records.end())
        return found->second;
    if (home.records.size() >= idle_records_max)
        std::erase_if(home.records, [](const auto& entry) { return !entry.second->busy; });
    auto fresh = std::make_shared<record>(topic.text, home);
    home.records.emplace(topic.text, fresh);
    return fresh;
}

// --- publishing ----------------------------------------------------------------------------------

bool core::publish(
    std::string_view topic,
    event_draft&& draft,
    const publish_options& how,
    completion& done,
    error_code& ec
) {
    // An index from elsewhere, a forwarded event's for instance, means nothing here.
    if (detail::event_access::peek(draft).index()) detail::event_access::clear_index(draft);
    if (how.local_only() || !caches(topic))
        return inner_->start_publish(topic, std::move(draft), how, done, ec);
    stamp_draft(draft, how, options_.clock().get(), options_.id_source());
    const base::hashed_text key(topic);
    auto& home = shard_of(key);
    std::shared_ptr<record> r;
    {
        const std::lock_guard lock(home.mutex);
        r = record_in(home, key);
        if (r->busy) {
            if (r->pending.size() >= pending_max) {
                refused.fetch_add(1, std::memory_order_relaxed);
                ec = errc::queue_full;
                return true;
            }
            const bool told_now = !done;
            r->pending.emplace_back(publish_operation{std::move(draft), how, std::move(done)});
            ec = {};
            return told_now;
        }
        r->busy = true;
    }
    const auto result = publish_now(r, std::move(draft), how, done, ec, false);
    if (result == published::later) return false;
    run_turn(r, turn_budget);
    return result == published::finished;
}

core::published core::publish_now(
    const std::shared_ptr<record>& r,
    event_draft&& draft,
    const publish_options& how,
    completion& done,
    error_code& ec,
    bool done_ends_turn
) {
    if (r->log == nullptr) r->log = log_of(r->name);
    event stored;
    error_code cache_error;
    // What finishes the publish if the append completes later; made only then.
    struct continuation {
        std::shared_ptr<core> self;
        std::shared_ptr<record> r;
        publish_options how;
        completion done;
        bool done_ends_turn;
    };
    if (r->log == nullptr) {
        cache_error = errc::invalid_argument;
        stored = detail::event_access::freeze(std::move(draft), 1);
    } else {
        event_log::append_completion later;
        std::shared_ptr<continuation> rest;
        if (cache_->shared()) {
            rest = std::make_shared<continuation>(
                continuation{shared_from_this(), r, how, std::move(done), done_ends_turn}
            );
            later = [rest](error_code failure, event e) {
                error_code result;
                const bool finished = rest->self->publish_stored(
                    *rest->r, std::move(e), failure, rest->how, rest->done, result
                );
                if (finished && rest->done) rest->done(result);
                if (!rest->done_ends_turn) rest->self->run_turn(rest->r, 0);
            };
        }
        if (!r->log->append(std::move(draft), later, cache_error, stored)) return published::later;
        if (rest != nullptr) done = std::move(rest->done);
        if (cache_error == errc::closed) r->log.reset();  // evicted and replaced: ask again
    }
    return publish_stored(*r, std::move(stored), cache_error, how, done, ec) ? published::finished
                                                                             : published::taken;
}

bool core::publish_stored(
    record& r,
    event stored,
    const error_code& cache_error,
    const publish_options& how,
    completion& done,
    error_code& ec
) {
    if (cache_error) [[unlikely]] {
        log(log_level::warn,
            "event is not in the history, the cache failed",
            {{"topic", r.name}, {"event", stored.id().text()}, {"error", cache_error.message()}});
        return inner_->start_publish(
            r.name, event_draft::forward(std::move(stored)), how, done, ec
        );
    }
    const bool finished = inner_->start_publish(r.name, to_inner(stored), how, done, ec);
    if (finished && ec) [[unlikely]]
        r.log->withdraw(stored);  // refused whole: not in the history either
    else
        r.log->confirm(stored);
    return finished;
}

event_draft core::to_inner(const event& stored) const {
    auto draft = event_draft::forward(stored);
    if (mark_.empty()) return draft;
    auto life = mark_ + std::to_string(detail::event_access::generation(stored));
    return std::move(draft).extra(generation_field, boost::json::value(life));
}

std::uint32_t core::generation_of(const event& e) const noexcept {
    if (const auto own = detail::event_access::generation(e); own != 0 || mark_.empty()) return own;
    const auto life = e.log_generation();
    if (!life.starts_with(mark_)) return 0;
    std::uint32_t generation = 0;
    std::from_chars(life.data() + mark_.size(), life.data() + life.size(), generation);
    return generation;
}

// --- the turn ------------------------------------------------------------------------------------

void core::enqueue(std::string_view topic, operation op) {
    const base::hashed_text key(topic);
    auto& home = shard_of(key);
    std::shared_ptr<record> r;
    {
        const std::lock_guard lock(home.mutex);
        r = record_in(home, key);
        if (r->busy) {
            r->pending.push_back(std::move(op));
            return;
        }
        r->busy = true;
    }
    if (perform(r, op)) run_turn(r, 0);
}

void core::run_turn(const std::shared_ptr<record>& r, unsigned inline_budget) {
    for (;;) {
        if (r->running_at == r->running.size()) {
            r->running.clear();
            r->running_at = 0;
            const std::lock_guard lock(r->home.mutex);
            if (r->pending.empty()) {
                r->busy = false;
                return;
            }
            std::swap(r->running, r->pending);
        }
        while (r->running_at < r->running.size()) {
            if (inline_budget == 0) {
                boost::asio::post(inner_->executor(), [self = shared_from_this(), r] {
                    self->run_turn(r, turn_budget);
                });
                return;
            }
            --inline_budget;
            auto op = std::move(r->running[r->running_at++]);
            // Others' publishes do not come from the handler that this thread may be in.
            const handler_frame nobody(nullptr);
            if (!perform(r, op)) return;
        }
    }
}

bool core::perform(const std::shared_ptr<record>& r, operation& op) {
    return std::visit(
        overloaded{
            [&](publish_operation& p) { return perform_publish(r, p); },
            [&](clear_operation& c) {
                clear_now(*r, std::move(c.done));
                return true;
            },
            [](mark_operation& m) {
                m.barrier.reset();
                return true;
            }
        },
        op
    );
}

// A publish that waited for its turn. One that was told "accepted" keeps the turn until the inner
// bus has room for it: the promise holds, and what comes behind it waits here, within the limit.
bool core::perform_publish(const std::shared_ptr<record>& r, publish_operation& p) {
    const bool promised = !p.done;
    if (promised) {
        p.done = [self = shared_from_this(), r](error_code ec) {
            if (ec) self->note_lost(*r, ec);
            self->run_turn(r, 0);
        };
    }
    error_code ec;
    const auto result = publish_now(r, std::move(p.draft), p.options, p.done, ec, promised);
    if (result != published::finished) return result == published::taken && !promised;
    if (!promised)
        p.done(ec);
    else if (ec)
        note_lost(*r, ec);
    return true;
}

void core::note_lost(const record& r, const error_code& ec) {
    dropped.fetch_add(1, std::memory_order_relaxed);
    log(log_level::warn,
        "an accepted event was refused by the inner bus",
        {{"topic", r.name}, {"error", ec.message()}});
}

// --- history -------------------------------------------------------------------------------------

std::shared_ptr<subscription_state> core::subscribe(
    std::string_view topic, std::uint64_t offset, handler h, const subscribe_options& how
) {
    auto r = std::make_shared<replay>(shared_from_this(), topic, offset, std::move(h), how);
    r->start();
    const std::lock_guard lock(replays_mutex_);
    replays_.push_back(r.get());
    return r;
}

void core::after_turn(std::string_view topic, std::shared_ptr<void> barrier) {
    enqueue(topic, mark_operation{std::move(barrier)});
}

void core::forget(replay& r) noexcept {
    const std::lock_guard lock(replays_mutex_);
    std::erase(replays_, &r);
}

void core::stop_replays() noexcept {
    for (const auto& r : replays()) r->stop();
}

std::vector<std::shared_ptr<replay>> core::replays() const {
    std::vector<std::shared_ptr<replay>> alive;
    const std::lock_guard lock(replays_mutex_);
    for (auto* r : replays_) {
        if (auto held = r->weak_from_this().lock()) alive.push_back(std::move(held));
    }
    return alive;
}

void core::history(
    std::string_view topic, std::uint64_t offset, std::size_t limit, pubsub::history_completion done
) {
    const auto log = log_of(topic);
    if (log == nullptr) {
        done(errc::invalid_argument, {});
        return;
    }
    const bool from_oldest = offset == pubsub::oldest_offset;
    log->read(
        from_oldest ? 0 : offset,
        limit,
        [offset, from_oldest, done = std::move(done)](error_code ec, event_log::page page) mutable {
            history_page result;
            result.oldest = page.first;
            result.next = page.next;
            if (!ec && !from_oldest && offset < page.first)
                ec = errc::offset_gone;
            else
                result.events = std::move(page.events);
            done(ec, std::move(result));
        }
    );
}

void core::clear_topic(std::string_view topic, completion done) {
    enqueue(topic, clear_operation{std::move(done)});
}

void core::clear_now(record& r, completion done) {
    auto result = std::make_shared<error_code>();
    auto finished = when_released([result, done = std::make_shared<completion>(std::move(done))] {
        if (*done) (*done)(*result);
    });
    const auto note = [self = shared_from_this(), result, finished, name = r.name](error_code ec) {
        if (!ec) return;
        *result = ec;
        self->log(
            log_level::warn,
            "topic could not be cleared",
            {{"topic", name}, {"error", ec.message()}}
        );
    };
    if (r.log == nullptr) r.log = log_of(r.name);
    if (r.log != nullptr) r.log->clear(completion{note});
    inner_->start_clear_topic(r.name, completion{note});
}

// --- flush, close --------------------------------------------------------------------------------

void core::flush(completion done) {
    // First what waits for a turn here, then the inner bus, then replays that are catching up, then
    // the inner bus again for what their handlers published.
    const auto self = shared_from_this();
    auto last = [self, done = std::make_shared<completion>(std::move(done))] {
        self->inner_->start_flush(std::move(*done));
    };
    auto catch_up = [self, last]() mutable {
        const auto barrier = when_released(std::move(last));
        for (const auto& r : self->replays()) r->mark(barrier);
    };
    const auto turns = when_released([self, catch_up]() mutable {
        self->inner_->start_flush(completion{[catch_up](error_code) mutable { catch_up(); }});
    });
    for (auto& part : shards_) {
        std::vector<std::string> busy;
        {
            const std::lock_guard lock(part.mutex);
            for (const auto& entry : part.records) {
                if (entry.second->busy) busy.push_back(entry.first);
            }
        }
        for (const auto& topic : busy) enqueue(topic, mark_operation{turns});
    }
}

void core::close(completion done) {
    const auto self = shared_from_this();
    const auto replays_ended =
        when_released([self, done = std::make_shared<completion>(std::move(done))] {
            self->inner_->start_close(std::move(*done));
        });
    for (const auto& r : replays()) r->close(completion{[replays_ended](error_code) {}});
}

}  // namespace caching
TRUNKLINE_NAMESPACE_END
