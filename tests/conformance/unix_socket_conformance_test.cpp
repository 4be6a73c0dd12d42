#include "support/temporary_folder.hpp"

#include <trunkline/caching_pubsub.hpp>
#include <trunkline/testkit/conformance.hpp>
#include <trunkline/unix_socket_pubsub.hpp>

#include <memory>

using trunkline::caching_pubsub;
using trunkline::unix_socket_options;
using trunkline::unix_socket_pubsub;
using namespace trunkline::testkit;  // NOLINT(google-build-using-namespace)

namespace {

unix_socket_options options_at(const std::string& path, const rig_environment& environment) {
    unix_socket_options options(path);
    options.executor(environment.executor)
        .clock(environment.clock)
        .logger(environment.logger)
        .broker_path_check_interval(std::chrono::milliseconds{50});
    return options;
}

// Every instance is a process on one socket; the first to be opened is the broker.
class broker_rig : public wall_rig {
public:
    explicit broker_rig(rig_settings settings = {})
        : wall_rig(
              [this](const rig_environment& environment) { return open_at(environment); },
              std::move(settings)
          ) {}

protected:
    std::shared_ptr<trunkline::pubsub> open_at(const rig_environment& environment) {
        auto bus = std::make_shared<unix_socket_pubsub>(options_at(path(), environment));
        join(*bus);
        return bus;
    }
    void join(unix_socket_pubsub& bus) {
        const auto joined = await([&](auto token) { bus.async_join(std::move(token)); });
        EXPECT_EQ(joined, trunkline::error_code{});
    }
    std::string path() const { return folder_.file("bus.sock"); }

private:
    trunkline::tests::temporary_folder folder_;
};

// The same beside a broker that no test talks to.
class client_rig : public broker_rig {
public:
    explicit client_rig(rig_settings settings = {}) : broker_rig(std::move(settings)) {
        open_broker();
    }
    void restart() override {
        broker_.reset();
        open_broker();
    }

private:
    void open_broker() {
        broker_ = std::make_unique<unix_socket_pubsub>(unix_socket_options(path()));
        join(*broker_);
    }
    std::unique_ptr<unix_socket_pubsub> broker_;
};

class replay_rig : public client_rig {
public:
    using client_rig::client_rig;

protected:
    std::shared_ptr<trunkline::pubsub> open_bus(const rig_environment& environment) override {
        return std::make_shared<caching_pubsub>(
            open_at(environment), environment.cache, environment.settings.caching
        );
    }
};

pubsub_features broker_features() {
    pubsub_features f;
    f.cross_instance = true;
    f.redelivers_to_fanout = true;
    f.deliveries_max = 7;
    f.deliveries_configurable = false;
    f.rejection_is_nack = false;
    f.retry_keeps_member = true;
    f.joins_in_turn = false;
    f.native_batching = false;
    f.fails_after_close = true;
    f.elects_broker = true;
    f.inline_delivery = false;
    f.bounded_queues = true;
    return f;
}

pubsub_features client_features() {
    auto f = broker_features();
    f.bounded_queues = false;  // the broker is the one who is published to
    f.restart = true;
    f.counts_unheard = false;
    return f;
}

pubsub_features replay_features() {
    auto f = client_features();
    f.offsets = true;
    return f;
}

// As small as they go: everything waits for room all the time.
rig_settings tiny() {
    rig_settings settings;
    settings.subscribe.queue_limit(2).queue_bytes(512).in_flight(4);
    settings.burst = 2;
    return settings;
}

template <class Rig>
backend_spec spec(std::string name, pubsub_features features, rig_settings settings = {}) {
    return {std::move(name), features, [settings] { return std::make_unique<Rig>(settings); }};
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(UnixSocket, PubsubConformance, testing::Values(spec<broker_rig>("Broker", broker_features()), spec<client_rig>("Client", client_features()), spec<replay_rig>("ClientBehindReplay", replay_features()), spec<broker_rig>("BrokerTiny", broker_features(), tiny()), spec<client_rig>("ClientTiny", client_features(), tiny())), spec_name<backend_spec>);

INSTANTIATE_TEST_SUITE_P(UnixSocket, LeaseConformance, testing::Values(spec<broker_rig>("Broker", broker_features()), spec<client_rig>("Client", client_features()), spec<replay_rig>("ClientBehindReplay", replay_features())), spec_name<backend_spec>);
