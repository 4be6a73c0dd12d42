// Public headers only, with callbacks and futures: what a program built with another compiler than
// the library's may use.
#include <trunkline/app.hpp>
#include <trunkline/event_emitter_pubsub.hpp>

#include <boost/asio/use_future.hpp>

#include <atomic>
#include <cstdio>
#include <string>

namespace {

// One plain and one awaited publish must both arrive.
bool two_events_arrive(trunkline::pubsub& bus) {
    std::atomic<int> seen{0};
    auto subscription = bus.subscribe("greetings", [&seen](const trunkline::event& e) {
        if (e.type() == "hello" && e.data().text() == "\"world\"") ++seen;
    });
    auto greeting = [] {
        return trunkline::event_draft(
            "hello", "run-1", trunkline::payload::from_json_text("\"world\"")
        );
    };
    if (bus.publish("greetings", greeting())) return false;
    bus.async_publish("greetings", greeting(), boost::asio::use_future).get();
    bus.async_flush(boost::asio::use_future).get();
    subscription.close(boost::asio::use_future).get();
    return seen == 2;
}

}  // namespace

int main() {
    trunkline::event_emitter_pubsub bus;
    trunkline::app application;
    auto own = trunkline::make_pubsub("memory:?dispatch=queued");
    bool ok = two_events_arrive(bus) && two_events_arrive(application.pubsub()) &&
              two_events_arrive(*own);
    ok = !application.stop_blocking() && ok;
    std::puts(ok ? "the installed library works" : "events were lost");
    return ok ? 0 : 1;
}
