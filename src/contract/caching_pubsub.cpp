#include "contract/caching/core.hpp"
#include "contract/caching/replay.hpp"

#include <trunkline/caching_pubsub.hpp>

#include <stdexcept>

TRUNKLINE_NAMESPACE_BEGIN

caching_pubsub::caching_pubsub(
    std::shared_ptr<pubsub> inner, std::shared_ptr<server_cache> cache, caching_options options
) {
    if (inner == nullptr) throw std::invalid_argument("caching_pubsub: inner bus is null");
    if (cache == nullptr) throw std::invalid_argument("caching_pubsub: cache is null");
    if (options.gap_timeout().count() < 0)
        throw std::invalid_argument("caching_pubsub: gap_timeout is negative");
    core_ = std::make_shared<caching::core>(std::move(inner), std::move(cache), std::move(options));
}

caching_pubsub::~caching_pubsub() {
    core_->stop_replays();
}

const std::shared_ptr<pubsub>& caching_pubsub::inner() const noexcept {
    return core_->shared_inner();
}

backend_traits caching_pubsub::traits() const {
    auto t = core_->inner().traits();
    t.offsets = true;
    return t;
}

lease_provider* caching_pubsub::leases() {
    return core_->inner().leases();
}

boost::asio::any_io_executor caching_pubsub::executor() {
    return core_->inner().executor();
}

bus_counters caching_pubsub::counters() const {
    auto sum = core_->inner().counters();
    sum.refused += core_->refused.load(std::memory_order_relaxed);
    sum.handler_failures += core_->handler_failures.load(std::memory_order_relaxed);
    sum.dropped += core_->dropped.load(std::memory_order_relaxed);
    sum.delivered += core_->replayed.load(std::memory_order_relaxed);
    return sum;
}

bool caching_pubsub::do_publish(
    std::string_view topic,
    event_draft&& draft,
    const publish_options& options,
    completion& done,
    error_code& ec
) {
    return core_->publish(topic, std::move(draft), options, done, ec);
}

subscription caching_pubsub::do_subscribe(
    std::string_view topic, handler h, const subscribe_options& options
) {
    return core_->inner().subscribe(topic, std::move(h), options);
}

subscription caching_pubsub::do_subscribe_from(
    std::string_view topic, std::uint64_t offset, handler h, const subscribe_options& options
) {
    if (options.group())
        throw std::invalid_argument("subscribe: a replay has no group, every event arrives");
    if (!core_->caches(topic))
        return core_->inner().subscribe_from_offset(topic, offset, std::move(h), options);
    return subscription{core_->subscribe(topic, offset, std::move(h), options)};
}

void caching_pubsub::do_history(
    std::string_view topic, std::uint64_t offset, std::size_t limit, history_completion done
) {
    core_->history(topic, offset, limit, std::move(done));
}

void caching_pubsub::do_flush(completion done) {
    core_->flush(std::move(done));
}

void caching_pubsub::do_close(completion done) {
    core_->close(std::move(done));
}

void caching_pubsub::do_clear_topic(std::string_view topic, completion done) {
    core_->clear_topic(topic, std::move(done));
}

void caching_pubsub::do_trim_topic(
    std::string_view topic, const trim_options& options, completion done
) {
    core_->inner().start_trim_topic(topic, options, std::move(done));
}

void caching_pubsub::on_refused(std::string_view topic, std::string_view problem) noexcept {
    core_->refused.fetch_add(1, std::memory_order_relaxed);
    core_->log(log_level::warn, problem, {{"topic", std::string(topic.substr(0, 64))}});
}

TRUNKLINE_NAMESPACE_END
