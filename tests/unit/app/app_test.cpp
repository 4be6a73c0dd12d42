#include <trunkline/app.hpp>
#include <trunkline/event_emitter_pubsub.hpp>
#include <trunkline/make_pubsub.hpp>

#include <boost/asio/use_future.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <future>
#include <sstream>
#include <stdexcept>

namespace trunkline {
namespace {

using ::testing::HasSubstr;

std::string refusal(std::string_view url) {
    try {
        make_pubsub(url);
        return "accepted";
    } catch (const std::invalid_argument& e) {
        return e.what();
    }
}

TEST(MakePubsub, BuildsWhatTheUrlSays) {
    EXPECT_FALSE(make_pubsub("memory:")->traits().offsets);
    EXPECT_TRUE(make_pubsub("memory:?replay=1")->traits().offsets);
    EXPECT_NE(dynamic_cast<event_emitter_pubsub*>(make_pubsub("memory:?replay=0").get()), nullptr);
}

TEST(MakePubsub, RefusalsNameWhatIsWrong) {
    EXPECT_THAT(refusal("kafka://host"), HasSubstr("unknown scheme \"kafka\""));
    EXPECT_THAT(refusal("memory:?dispach=queued"), HasSubstr("unknown option \"dispach\""));
    EXPECT_THAT(refusal("memory:?dispatch=fast"), HasSubstr("\"fast\": want inline or queued"));
    EXPECT_THAT(refusal("memory:?pendingLimit=0"), HasSubstr("pendingLimit"));
    EXPECT_THAT(refusal("memory:?maxDeliveryAttempts=-1"), HasSubstr("\"-1\""));
    EXPECT_THAT(refusal("memory:?maxDeliveryAttempts=5x"), HasSubstr("\"5x\""));
    EXPECT_THAT(refusal("memory:?replay=yes"), HasSubstr("replay"));
    EXPECT_THAT(refusal("memory:?replay=1&replay=1"), HasSubstr("twice"));
    EXPECT_THAT(refusal("memory:?ttlMs=soon"), HasSubstr("ttlMs"));
    EXPECT_THAT(refusal("memory:here"), HasSubstr("no path"));
    EXPECT_THAT(refusal("memory:#x"), HasSubstr("fragment"));
    EXPECT_THAT(refusal(""), HasSubstr("not a URL"));
    EXPECT_THAT(refusal("no url"), HasSubstr("no url"));
}

TEST(MakePubsub, OptionsTakeEffect) {
    std::atomic<int> calls{0};
    bus_environment quiet;
    quiet.logger = logger::none();
    const auto bus =
        make_pubsub("memory:?dispatch=queued&maxDeliveryAttempts=2&replay=1&maxEvents=3", quiet);
    const auto s = bus->subscribe(
        "t",
        [&](const event&) {
            ++calls;
            throw std::runtime_error("x");
        },
        subscribe_options{}.group("g")
    );
    for (int i = 0; i < 5; ++i) bus->publish("t", event_draft("e", "r"));
    bus->flush_blocking();
    EXPECT_EQ(calls, 10);
    EXPECT_EQ(bus->counters().exhausted, 5U);
    std::promise<history_page> page;
    bus->async_history("t", pubsub::oldest_offset, 0, [&](error_code, history_page p) {
        page.set_value(std::move(p));
    });
    EXPECT_EQ(page.get_future().get().events.size(), 3U);
}

// The table of the README and the options in the code are one list.
TEST(Readme, ListsEveryOptionOfEveryBackend) {
    std::ifstream file(std::string(TRUNKLINE_SOURCE_DIR) + "/README.md");
    std::stringstream all;
    all << file.rdbuf();
    const auto readme = all.str();
    std::size_t rows = 0;
    const auto expect_row = [&](const url_option& o) {
        ++rows;
        const auto row = "| `" + std::string(o.name) + "` | `" + std::string(o.fallback) + "` | " +
                         std::string(o.meaning) + " |";
        EXPECT_THAT(readme, HasSubstr(row));
    };
    for (const auto& backend : backends()) {
        EXPECT_THAT(
            readme,
            HasSubstr(
                "| `" + std::string(backend.name) + "` | `" + std::string(backend.scheme) + ":"
            )
        );
        for (const auto& o : backend.options) expect_row(o);
    }
    for (const auto& o : replay_options()) expect_row(o);
    // And no row too many.
    std::size_t in_readme = 0;
    std::istringstream lines(readme);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("| `") && line.find("` | `") != std::string::npos &&
            line.find("_pubsub`") == std::string::npos)
            ++in_readme;
    }
    EXPECT_EQ(in_readme, rows);
}

TEST(App, RunsABusOnItsOwnThreads) {
    std::atomic<int> seen{0};
    app host(app_options{}.pubsub("memory:?dispatch=queued").threads(2));
    const auto s = host.pubsub().subscribe("t", [&](const event&) { ++seen; });
    for (int i = 0; i < 100; ++i) host.pubsub().publish("t", event_draft("e", "r"));
    EXPECT_FALSE(host.stop_blocking());
    EXPECT_EQ(seen, 100);
    EXPECT_FALSE(host.stop_blocking());
}

TEST(App, DefaultsToTheInProcessBusWithLeases) {
    app host;
    EXPECT_EQ(host.pubsub().traits().name, "event_emitter");
    std::promise<lease_answer> got;
    host.leases().async_acquire(
        "k", "me", std::chrono::seconds{1}, [&](error_code, lease_answer a) { got.set_value(a); }
    );
    EXPECT_TRUE(got.get_future().get().acquired);
}

TEST(App, SharesItsCacheWithTheReplay) {
    auto cache = std::make_shared<memory_server_cache>();
    app host(app_options{}.pubsub("memory:?replay=1").cache(cache));
    host.pubsub().publish("t", event_draft("e", "r"));
    EXPECT_EQ(cache->size(), 1U);
}

TEST(App, BadOptionsAreNamed) {
    EXPECT_THROW(app(app_options{}.threads(0)), std::invalid_argument);
    EXPECT_THROW(app(app_options{}.pubsub("nowhere:")), std::invalid_argument);
    EXPECT_THROW(
        app(app_options{}.threads(1).executor(boost::asio::system_executor())),
        std::invalid_argument
    );
}

TEST(App, StoppingInsideAHandlerIsRefused) {
    app host;
    error_code result;
    const auto s =
        host.pubsub().subscribe("t", [&](const event&) { result = host.stop_blocking(); });
    host.pubsub().publish("t", event_draft("e", "r"));
    EXPECT_EQ(result, errc::would_deadlock);
}

}  // namespace
}  // namespace trunkline
