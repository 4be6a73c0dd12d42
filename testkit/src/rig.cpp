#include <trunkline/testkit/rig.hpp>

#include <boost/json/value.hpp>

#include <array>
#include <cstdio>
#include <deque>
#include <random>
#include <stdexcept>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

std::string unique_name(std::string_view prefix) {
    static const std::uint64_t process =
        (std::uint64_t{std::random_device{}()} << 32) ^ std::random_device{}();
    static std::atomic<std::uint64_t> count{0};
    std::array<char, 17> text{};
    // Odd, so that no two counts give the same number.
    const auto number = process + count.fetch_add(1) * 0x9e3779b97f4a7c15ULL;
    std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(number));
    return std::string(prefix) + text.data();
}

rig::rig(std::unique_ptr<test_loop> loop) : loop_(std::move(loop)), ending_(unique_name("-")) {}

rig::~rig() {
    for (auto& each : instances_) {
        if (each.bus == nullptr) continue;
        const auto op = begin([&](auto done) { each.bus->async_close(std::move(done)); });
        if (!loop_->run_until([&] { return op.done(); }, limit))
            ADD_FAILURE() << "the bus does not close at the end of the test";
    }
    for (auto& each : instances_) each.bus = nullptr;
    // What was posted meanwhile holds references: let it run before the loop goes.
    const auto op = begin([this](auto done) {
        boost::asio::post(loop_->executor(), [done = std::move(done)]() mutable {
            done(error_code{});
        });
    });
    loop_->run_until([&] { return op.done(); }, limit);
}

void rig::fail(const std::string& message, location where) {
    auto text = message;
    if (const auto lines = log_.text(); !lines.empty()) text += "\nlog of the bus:\n" + lines;
    const auto* file = where.file_name();
    const auto line = static_cast<int>(where.line());
    ADD_FAILURE_AT(file, line) << text;
    // Ends the test without a second report.
    throw testing::AssertionException(
        testing::TestPartResult(testing::TestPartResult::kFatalFailure, file, line, text.c_str())
    );
}

rig::instance_state& rig::at(std::size_t instance) {
    if (instances_.size() <= instance) instances_.resize(instance + 1);
    auto& it = instances_[instance];
    if (it.cache == nullptr) {
        auto options = settings_.cache;
        options.clock(clock());
        it.cache = std::make_shared<faulty_cache>(std::make_shared<memory_server_cache>(options));
    }
    return it;
}

rig_environment rig::environment(std::size_t instance) {
    rig_environment e;
    e.executor = executor();
    e.clock = clock();
    e.logger = log_.logger();
    e.settings = settings_;
    e.settings.caching.clock(clock()).logger(log_.logger());
    e.cache = at(instance).cache;
    e.instance = instance;
    return e;
}

std::shared_ptr<pubsub> rig::shared_bus(std::size_t instance) {
    auto& it = at(instance);
    if (it.bus == nullptr) {
        it.bus = open_bus(environment(instance));
        it.closed = false;
    }
    return it.bus;
}

pubsub& rig::bus(std::size_t instance) {
    return *shared_bus(instance);
}

faulty_cache& rig::cache(std::size_t instance) {
    return *at(instance).cache;
}

std::shared_ptr<faulty_cache> rig::shared_cache(std::size_t instance) {
    return at(instance).cache;
}

void rig::drop(std::size_t instance, location where) {
    if (at(instance).bus == nullptr) return;
    close(instance, where);
    at(instance).bus = nullptr;
}

void rig::reopen(std::size_t instance, location where) {
    drop(instance, where);
    shared_bus(instance);
}

std::string rig::topic(std::string_view name) const {
    return std::string(name) + ending_;
}

std::string rig::group(std::string_view name) const {
    return std::string(name) + ending_;
}

operation rig::start_publish(publish_request what) {
    auto& to = bus(what.instance);
    return begin([&](auto done) {
        to.async_publish(
            topic(what.topic),
            event_draft{what.type, what.run_id, what.data},
            what.options,
            std::move(done)
        );
    });
}

error_code rig::try_publish(publish_request what, location where) {
    const auto op = start_publish(std::move(what));
    run_until([&] { return op.done(); }, limit, where);
    return op.error();
}

void rig::publish(publish_request what, location where) {
    const auto type = what.type;
    if (const auto ec = try_publish(std::move(what), where))
        fail("publishing " + type + " was refused: " + ec.message(), where);
}

void rig::publish_all(
    const std::vector<std::string>& types, publish_request common, location where
) {
    std::deque<operation> under_way;
    const auto take_oldest = [&] {
        const auto op = under_way.front();
        run_until([&] { return op.done(); }, limit, where);
        if (op.error()) fail("publishing was refused: " + op.error().message(), where);
        under_way.pop_front();
    };
    for (const auto& type : types) {
        while (under_way.size() >= settings_.burst) take_oldest();
        common.type = type;
        under_way.push_back(start_publish(common));
    }
    while (!under_way.empty()) take_oldest();
}

void rig::publish_draft(
    event_draft draft, std::string_view topic_name, const publish_options& options, location where
) {
    const auto ec = await(
        [&](auto done) {
            bus().async_publish(topic(topic_name), std::move(draft), options, std::move(done));
        },
        where
    );
    if (ec) fail("publishing was refused: " + ec.message(), where);
}

recorded rig::record(record_request what, location where) {
    auto& from = bus(what.instance);
    auto seen = what.into ? *what.into : recorder{std::move(what.judge)};
    if (!what.into) seen.on_change([this] { loop_->wake(); });
    auto options = what.options.value_or(settings_.subscribe);
    if (what.group) options.group(group(*what.group));
    auto feed = std::make_shared<trunkline::subscription>(
        what.offset ? from.subscribe_from_offset(
                          topic(what.topic), *what.offset, seen.handler(what.form), options
                      )
                    : from.subscribe(topic(what.topic), seen.handler(what.form), options)
    );
    if (!what.group) tracked_.push_back({what.topic, what.instance, seen.state_, feed});
    if (what.wait_ready) {
        const auto ec = await([&](auto done) { feed->ready(std::move(done)); }, where);
        if (ec) fail("subscribing failed: " + ec.message(), where);
    }
    return {std::move(seen), std::move(feed)};
}

subscription rig::subscribe(
    std::string_view topic_name,
    trunkline::handler h,
    const subscribe_options& options,
    location where
) {
    auto feed = bus().subscribe(topic(topic_name), std::move(h), options);
    const auto ec = await([&](auto done) { feed.ready(std::move(done)); }, where);
    if (ec) fail("subscribing failed: " + ec.message(), where);
    return feed;
}

void rig::run_until(const std::function<bool()>& condition, duration within, location where) {
    if (loop_->run_until(condition, within)) return;
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(within).count();
    fail(
        "the condition does not hold within " + std::to_string(ms) + " ms of bus time" +
            (exact_time() ? ", or nothing is left that could make it true" : ""),
        where
    );
}

void rig::quiesce(std::string_view topic_name, location where) {
    const std::string name(topic_name);
    std::erase_if(tracked_, [](const tracked& t) { return t.feed.expired(); });
    struct expectation {
        recorder seen;
        std::weak_ptr<trunkline::subscription> feed;
        std::size_t sentinels;
    };
    std::vector<expectation> waiting;
    std::vector<recorded> witnesses;
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < instances_.size(); ++i) {
        if (instances_[i].bus != nullptr && !instances_[i].closed) open.push_back(i);
    }
    for (const auto i : open) {
        witnesses.push_back(record({.topic = name, .instance = i}, where));
    }
    for (const auto& t : tracked_) {
        const bool its_instance_is_open =
            t.instance < instances_.size() && !instances_[t.instance].closed;
        if (t.topic != name || !its_instance_is_open) continue;
        if (auto state = t.seen.lock()) {
            const recorder seen{std::move(state)};
            waiting.push_back({seen, t.feed, seen.sentinels() + 1});
        }
    }
    for (const auto i : open) {
        publish({.type = std::string(sentinel_type), .topic = name, .instance = i}, where);
    }
    for (const auto& each : waiting) {
        run_until(
            [&] {
                const auto feed = each.feed.lock();
                return feed == nullptr || !feed->active() ||
                       each.seen.sentinels() >= each.sentinels;
            },
            limit,
            where
        );
    }
    for (const auto i : open) flush(i, where);
}

void rig::flush(std::size_t instance, location where) {
    const auto ec = await([&](auto done) { bus(instance).async_flush(std::move(done)); }, where);
    if (ec) fail("flush failed: " + ec.message(), where);
}

void rig::close(std::size_t instance, location where) {
    const auto ec = await([&](auto done) { bus(instance).async_close(std::move(done)); }, where);
    at(instance).closed = true;
    if (ec) fail("close failed: " + ec.message(), where);
}

std::pair<error_code, history_page> rig::history(
    std::uint64_t offset, std::size_t events_max, std::string_view topic_name, location where
) {
    return await_value<history_page>(
        [&](auto done) {
            bus().async_history(topic(topic_name), offset, events_max, std::move(done));
        },
        where
    );
}

void rig::restart() {
    throw std::logic_error("this rig cannot restart its transport");
}

virtual_rig::virtual_rig(bus_factory open, rig_settings settings)
    : rig(std::make_unique<virtual_loop>()), open_(std::move(open)) {
    this->settings() = std::move(settings);
}

std::shared_ptr<pubsub> virtual_rig::open_bus(const rig_environment& environment) {
    return open_(environment);
}

wall_rig::wall_rig(bus_factory open, rig_settings settings, std::size_t threads)
    : rig(std::make_unique<wall_loop>(threads)), open_(std::move(open)) {
    this->settings() = std::move(settings);
}

std::shared_ptr<pubsub> wall_rig::open_bus(const rig_environment& environment) {
    return open_(environment);
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
