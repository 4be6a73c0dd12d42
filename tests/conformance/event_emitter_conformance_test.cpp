#include <trunkline/caching_pubsub.hpp>
#include <trunkline/event_emitter_pubsub.hpp>
#include <trunkline/server_cache.hpp>
#include <trunkline/testkit/conformance.hpp>

#include <memory>

using trunkline::caching_pubsub;
using trunkline::dispatch_mode;
using trunkline::event_emitter_options;
using trunkline::event_emitter_pubsub;
using trunkline::memory_cache_options;
using trunkline::memory_server_cache;
using trunkline::subscribe_options;
using namespace trunkline::testkit;  // NOLINT(google-build-using-namespace)

namespace {

bus_factory in_process(dispatch_mode mode, std::size_t pending_limit = 65'536) {
    return [mode, pending_limit](const rig_environment& environment) {
        event_emitter_options options;
        options.dispatch(mode)
            .executor(environment.executor)
            .clock(environment.clock)
            .logger(environment.logger)
            .pending_limit(pending_limit);
        if (const auto attempts = environment.settings.max_delivery_attempts)
            options.max_delivery_attempts(*attempts);
        return std::make_shared<event_emitter_pubsub>(options);
    };
}

bus_factory behind_cache(bus_factory inner) {
    return [inner = std::move(inner)](const rig_environment& environment) {
        return std::make_shared<caching_pubsub>(
            inner(environment), environment.cache, environment.settings.caching
        );
    };
}

pubsub_features queued_features() {
    return {.inline_delivery = false, .bounded_queues = true};
}

// As small as they go: everything waits for room all the time.
rig_settings tiny() {
    rig_settings settings;
    settings.subscribe.queue_limit(2).queue_bytes(512).in_flight(4);
    settings.burst = 2;
    return settings;
}

template <class Rig, class... Args>
std::function<std::unique_ptr<rig>()> opens(Args... args) {
    return [args...] { return std::make_unique<Rig>(args...); };
}

backend_spec defaults() {
    return {"Inline", {}, opens<virtual_rig>(in_process(dispatch_mode::inlined))};
}

backend_spec queued() {
    return {"Queued", queued_features(), opens<virtual_rig>(in_process(dispatch_mode::queued))};
}

backend_spec tiny_limits() {
    return {
        "QueuedTiny",
        queued_features(),
        opens<virtual_rig>(in_process(dispatch_mode::queued, 64), tiny())
    };
}

backend_spec cached() {
    return {
        "InlineCached",
        {.offsets = true},
        opens<virtual_rig>(behind_cache(in_process(dispatch_mode::inlined)))
    };
}

backend_spec cached_queued() {
    auto features = queued_features();
    features.offsets = true;
    return {
        "QueuedCached",
        features,
        opens<virtual_rig>(behind_cache(in_process(dispatch_mode::queued)))
    };
}

backend_spec in_threads() {
    return {
        "QueuedThreads",
        queued_features(),
        opens<wall_rig>(in_process(dispatch_mode::queued), rig_settings{}, std::size_t{2})
    };
}

backend_spec inline_threads() {
    return {
        "InlineThreads",
        {},
        opens<wall_rig>(in_process(dispatch_mode::inlined), rig_settings{}, std::size_t{2})
    };
}

backend_spec cached_in_threads() {
    auto features = queued_features();
    features.offsets = true;
    return {
        "QueuedCachedThreads",
        features,
        opens<wall_rig>(
            behind_cache(in_process(dispatch_mode::queued)), rig_settings{}, std::size_t{2}
        )
    };
}

cache_spec memory_cache(std::string name, memory_cache_options options, std::size_t events_min) {
    return {
        .name = std::move(name),
        .ttl = options.ttl(),
        .keys_max = options.max_size(),
        .events_min = events_min,
        .events_max = events_min == 0 ? 0 : options.max_events(),
        .open =
            [options]() mutable {
                auto loop = std::make_unique<virtual_loop>();
                options.clock(loop->clock());
                auto cache = std::make_shared<memory_server_cache>(options);
                return cache_rig{std::move(loop), std::move(cache)};
            }
    };
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(EventEmitter, PubsubConformance, testing::Values(defaults(), queued(), tiny_limits(), cached(), cached_queued(), inline_threads(), in_threads(), cached_in_threads()), spec_name<backend_spec>);

INSTANTIATE_TEST_SUITE_P(EventEmitter, LeaseConformance, testing::Values(defaults(), cached(), in_threads()), spec_name<backend_spec>);

INSTANTIATE_TEST_SUITE_P(
    Memory,
    CacheConformance,
    testing::Values(
        memory_cache("Default", {}, 0),
        memory_cache(
            "Tiny",
            memory_cache_options{}.max_size(12).max_events(16).ttl(std::chrono::seconds{1}),
            1
        )
    ),
    spec_name<cache_spec>
);

INSTANTIATE_TEST_SUITE_P(
    Clocks,
    ClockConformance,
    testing::Values(
        clock_spec{"Manual", [] { return std::make_unique<virtual_loop>(); }},
        clock_spec{"System", [] { return std::make_unique<wall_loop>(2); }}
    ),
    spec_name<clock_spec>
);
