#include "support.hpp"

#include <trunkline/detail/event_access.hpp>

#include <boost/json/object.hpp>

#include <algorithm>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

namespace {

using boost::json::value;

// The verbs of a cache, waited for.
class cache_user {
public:
    explicit cache_user(cache_rig r) : rig_(std::move(r)) {}

    server_cache& cache() { return *rig_.cache; }
    test_loop& loop() { return *rig_.loop; }

    template <class Value, class Start>
    std::pair<error_code, Value> take(Start start) {
        struct state {
            std::atomic<bool> done{false};
            std::pair<error_code, Value> result;
        };
        const auto s = std::make_shared<state>();
        start([s, this](error_code ec, Value v) {
            s->result = {ec, std::move(v)};
            s->done.store(true);
            loop().wake();
        });
        EXPECT_TRUE(loop().run_until([&] { return s->done.load(); }, std::chrono::seconds{30}));
        return s->result;
    }
    template <class Start>
    error_code take_code(Start start) {
        return take<int>([&](auto done) {
                   start([done = std::move(done)](error_code ec) mutable { done(ec, 0); });
               }
        ).first;
    }

    std::optional<value> get(std::string_view key) {
        const auto [ec, v] =
            take<std::optional<value>>([&](auto done) { cache().get(key, std::move(done)); });
        EXPECT_EQ(ec, error_code{});
        return v;
    }
    void set(std::string_view key, value v, std::optional<milliseconds> ttl = std::nullopt) {
        EXPECT_EQ(
            take_code([&](auto done) { cache().set(key, std::move(v), ttl, std::move(done)); }),
            error_code{}
        );
    }
    error_code push(std::string_view key, value v) {
        return take_code([&](auto done) { cache().list_push(key, std::move(v), std::move(done)); });
    }
    std::pair<error_code, std::size_t> length(std::string_view key) {
        return take<std::size_t>([&](auto done) { cache().list_length(key, std::move(done)); });
    }
    std::vector<value> range(std::string_view key, std::int64_t from = 0, std::int64_t to = -1) {
        const auto [ec, all] = take<std::vector<value>>([&](auto done) {
            cache().list_range(key, from, to, std::move(done));
        });
        EXPECT_EQ(ec, error_code{});
        return all;
    }
    std::pair<error_code, std::int64_t> increment(std::string_view key) {
        return take<std::int64_t>([&](auto done) { cache().increment(key, std::move(done)); });
    }
    std::pair<error_code, std::uint64_t> push_indexed(
        std::string_view list, std::string_view counter, boost::json::object object
    ) {
        return take<std::uint64_t>([&](auto done) {
            cache().list_push_indexed(list, counter, std::move(object), std::move(done));
        });
    }
    void erase(std::string_view key) {
        EXPECT_EQ(take_code([&](auto done) { cache().erase(key, std::move(done)); }), error_code{});
    }

    // Appends without confirming.
    event append_only(event_log& log, std::string_view type) {
        event_draft draft{type, "r"};
        detail::event_access::set_id(draft, event_id::random());
        detail::event_access::set_time(draft, loop().clock()->wall());
        detail::event_access::mark_stamped(draft);
        const auto [ec, stored] = take<event>([&](auto done) {
            event_log::append_completion later{done};
            error_code at_once;
            event out;
            if (log.append(std::move(draft), later, at_once, out)) done(at_once, out);
        });
        EXPECT_EQ(ec, error_code{});
        EXPECT_EQ(stored.type(), type);
        return stored;
    }
    std::uint64_t append(event_log& log, std::string_view type) {
        const auto stored = append_only(log, type);
        log.confirm(stored);
        return stored.index().value_or(UINT64_MAX);
    }
    event_log::page read(event_log& log, std::uint64_t from = 0, std::size_t limit = 0) {
        const auto [ec, page] =
            take<event_log::page>([&](auto done) { log.read(from, limit, std::move(done)); });
        EXPECT_EQ(ec, error_code{});
        return page;
    }

private:
    cache_rig rig_;
};

std::vector<std::string> types_in(const event_log::page& page) {
    std::vector<std::string> out;
    for (const auto& e : page.events) out.emplace_back(e.type());
    return out;
}

// The index that an object should carry when it has come through push_indexed.
std::int64_t index_of(const value& v) {
    return v.at("index").to_number<std::int64_t>();
}

}  // namespace

TEST_P(CacheConformance, SetThenGet) {
    cache_user cache{open()};
    const value tree = {{"a", {1, "two", nullptr}}};
    cache.set("k", tree);
    EXPECT_EQ(cache.get("k"), tree);
    cache.set("k", "other");
    EXPECT_EQ(cache.get("k"), value("other"));
    // A stored null is not a missing key.
    cache.set("null", nullptr);
    ASSERT_TRUE(cache.get("null").has_value());
    EXPECT_TRUE(cache.get("null")->is_null());
}

TEST_P(CacheConformance, MissingKeysAreEmpty) {
    cache_user cache{open()};
    EXPECT_EQ(cache.get("missing"), std::nullopt);
    EXPECT_EQ(cache.length("missing"), std::pair(error_code{}, std::size_t{0}));
    EXPECT_TRUE(cache.range("missing").empty());
    cache.erase("missing");
    // Looking does not create.
    EXPECT_EQ(cache.get("missing"), std::nullopt);
}

TEST_P(CacheConformance, ListKeepsOrder) {
    cache_user cache{open()};
    for (int i = 0; i < 50; ++i) EXPECT_EQ(cache.push("list", i), error_code{});
    EXPECT_EQ(cache.length("list").second, 50U);
    const auto all = cache.range("list");
    ASSERT_EQ(all.size(), 50U);
    for (int i = 0; i < 50; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)], value(i));
}

TEST_P(CacheConformance, CounterStartsAtOne) {
    cache_user cache{open()};
    EXPECT_EQ(cache.increment("n"), std::pair(error_code{}, std::int64_t{1}));
    EXPECT_EQ(cache.increment("n").second, 2);
    EXPECT_EQ(cache.increment("m").second, 1);
    EXPECT_EQ(cache.get("n"), value(2));
    cache.set("n", 41);
    EXPECT_EQ(cache.increment("n").second, 42);
}

TEST_P(CacheConformance, PushIndexedIsAtomic) {
    constexpr std::size_t threads = 4, each = 25;
    cache_user cache{open()};
    std::atomic<std::size_t> done{0};
    cache.loop().in_threads(threads, [&](std::size_t t) {
        for (std::size_t i = 0; i < each; ++i) {
            cache.cache().list_push_indexed(
                "list",
                "counter",
                {{"by", t}, {"index", 999}},
                [&](error_code ec, std::uint64_t) {
                    EXPECT_EQ(ec, error_code{});
                    done.fetch_add(1);
                    cache.loop().wake();
                }
            );
        }
    });
    ASSERT_TRUE(cache.loop().run_until([&] { return done == threads * each; }, rig::limit));
    const auto all = cache.range("list");
    ASSERT_EQ(all.size(), threads * each);
    // Position and index agree: nobody came between counting and appending.
    for (std::size_t i = 0; i < all.size(); ++i) {
        EXPECT_EQ(index_of(all[i]), static_cast<std::int64_t>(i));
    }
    EXPECT_EQ(cache.get("counter"), value(threads * each));
}

TEST_P(CacheConformance, PushIndexedContinuesTheCounter) {
    cache_user cache{open()};
    EXPECT_EQ(cache.push_indexed("a", "n", {{"x", 1}}), std::pair(error_code{}, std::uint64_t{0}));
    EXPECT_EQ(cache.push_indexed("a", "n", {{"x", 2}}).second, 1U);
    cache.erase("a");
    EXPECT_EQ(cache.push_indexed("a", "n", {{"x", 3}}).second, 2U);
    const value expected = {{"x", 3}, {"index", 2}};
    EXPECT_THAT(cache.range("a"), ElementsAre(expected));
}

TEST_P(CacheConformance, FailedPushIndexedUsesNoIndex) {
    cache_user cache{open()};
    cache.set("value", "no list");
    EXPECT_EQ(cache.push_indexed("value", "n", {{"x", 1}}).first, errc::invalid_argument);
    EXPECT_EQ(cache.push_indexed("list", "n", {{"x", 1}}).second, 0U);
    cache.set("text", "no number");
    EXPECT_EQ(cache.push_indexed("list", "text", {{"x", 1}}).first, errc::invalid_argument);
    EXPECT_EQ(cache.length("list").second, 1U);
}

// Both ends count, negative ones from the end, and what lies outside is cut off.
TEST_P(CacheConformance, RangeMatchesReference) {
    cache_user cache{open()};
    for (int i = 0; i < 5; ++i) EXPECT_EQ(cache.push("list", i), error_code{});
    const auto numbers = [&](std::int64_t from, std::int64_t to) {
        std::vector<std::int64_t> out;
        for (const auto& v : cache.range("list", from, to)) {
            out.push_back(v.to_number<std::int64_t>());
        }
        return out;
    };
    EXPECT_THAT(numbers(0, -1), ElementsAre(0, 1, 2, 3, 4));
    EXPECT_THAT(numbers(1, 3), ElementsAre(1, 2, 3));
    EXPECT_THAT(numbers(2, 2), ElementsAre(2));
    EXPECT_THAT(numbers(-2, -1), ElementsAre(3, 4));
    EXPECT_THAT(numbers(0, -2), ElementsAre(0, 1, 2, 3));
    EXPECT_THAT(numbers(3, 100), ElementsAre(3, 4));
    EXPECT_THAT(numbers(-100, 1), ElementsAre(0, 1));
    EXPECT_THAT(numbers(3, 2), IsEmpty());
    EXPECT_THAT(numbers(5, -1), IsEmpty());
    EXPECT_THAT(numbers(0, -6), IsEmpty());
    cache.set("value", 1);
    EXPECT_TRUE(cache.range("value").empty());
}

TEST_P(CacheConformance, WrongTypesAreErrors) {
    cache_user cache{open()};
    cache.set("text", "t");
    EXPECT_EQ(cache.push("text", 1), errc::invalid_argument);
    EXPECT_EQ(cache.length("text").first, errc::invalid_argument);
    EXPECT_EQ(cache.increment("text").first, errc::invalid_argument);
    EXPECT_EQ(cache.push("list", 1), error_code{});
    EXPECT_EQ(cache.increment("list").first, errc::invalid_argument);
    // What is there stays as it was.
    EXPECT_EQ(cache.get("text"), value("t"));
    EXPECT_EQ(cache.length("list").second, 1U);
    EXPECT_EQ(cache.cache().log("text", "text:counter"), nullptr);
}

TEST_P(CacheConformance, EntriesExpire) {
    cache_user cache{open()};
    if (!cache.loop().exact()) GTEST_SKIP() << "needs a clock that can be moved";
    if (features().ttl.count() == 0) GTEST_SKIP() << "entries of this cache live for ever";
    const auto ttl = features().ttl;
    cache.set("default", 1);
    cache.set("short", 1, milliseconds{10});
    cache.set("forever", 1, milliseconds{0});
    cache.set("also forever", 1, milliseconds{-1});
    EXPECT_EQ(cache.push("list", 1), error_code{});
    EXPECT_EQ(cache.increment("counter").second, 1);
    cache.loop().advance(milliseconds{9});
    EXPECT_TRUE(cache.get("short").has_value());
    cache.loop().advance(milliseconds{1});
    EXPECT_FALSE(cache.get("short").has_value());
    cache.loop().advance(ttl - milliseconds{11});
    EXPECT_TRUE(cache.get("default").has_value());
    EXPECT_EQ(cache.length("list").second, 1U);
    cache.loop().advance(milliseconds{1});
    EXPECT_FALSE(cache.get("default").has_value());
    EXPECT_EQ(cache.length("list").second, 0U);
    EXPECT_EQ(cache.increment("counter").second, 1);
    cache.loop().advance(ttl * 10);
    EXPECT_TRUE(cache.get("forever").has_value());
    EXPECT_TRUE(cache.get("also forever").has_value());
}

TEST_P(CacheConformance, WritesExtendLifeAndReadsDoNot) {
    cache_user cache{open()};
    if (!cache.loop().exact()) GTEST_SKIP() << "needs a clock that can be moved";
    if (features().ttl.count() == 0) GTEST_SKIP() << "entries of this cache live for ever";
    const auto most = features().ttl - milliseconds{1};
    EXPECT_EQ(cache.push("written", 1), error_code{});
    EXPECT_EQ(cache.push("read", 1), error_code{});
    EXPECT_EQ(cache.increment("n").second, 1);
    cache.set("value", 1);
    cache.loop().advance(most);
    EXPECT_EQ(cache.push("written", 2), error_code{});
    EXPECT_EQ(cache.increment("n").second, 2);
    EXPECT_EQ(cache.range("read").size(), 1U);
    EXPECT_EQ(cache.length("read").second, 1U);
    EXPECT_TRUE(cache.get("value").has_value());
    cache.loop().advance(most);
    EXPECT_EQ(cache.length("written").second, 2U);
    EXPECT_EQ(cache.increment("n").second, 3);
    EXPECT_EQ(cache.length("read").second, 0U);
    EXPECT_FALSE(cache.get("value").has_value());
}

TEST_P(CacheConformance, DeleteIsComplete) {
    cache_user cache{open()};
    cache.set("value", 1);
    EXPECT_EQ(cache.push("list", 1), error_code{});
    EXPECT_EQ(cache.increment("n").second, 1);
    cache.set("other", 1);
    cache.erase("value");
    cache.erase("list");
    cache.erase("n");
    EXPECT_EQ(cache.get("value"), std::nullopt);
    EXPECT_EQ(cache.length("list").second, 0U);
    EXPECT_EQ(cache.increment("n").second, 1);
    EXPECT_TRUE(cache.get("other").has_value());
    // The name is free for another kind of thing.
    cache.set("list", "text");
    EXPECT_EQ(cache.get("list"), value("text"));
}

TEST_P(CacheConformance, ClearForgetsEverything) {
    cache_user cache{open()};
    cache.set("value", 1);
    EXPECT_EQ(cache.push("list", 1), error_code{});
    const auto log = cache.cache().log("log", "log:counter");
    cache.append(*log, "x");
    EXPECT_EQ(
        cache.take_code([&](auto done) { cache.cache().clear(std::move(done)); }), error_code{}
    );
    EXPECT_EQ(cache.get("value"), std::nullopt);
    EXPECT_EQ(cache.length("list").second, 0U);
    EXPECT_TRUE(cache.read(*cache.cache().log("log", "log:counter")).events.empty());
}

TEST_P(CacheConformance, EvictsWhatIsNearestToExpiry) {
    cache_user cache{open()};
    const auto keys = features().keys_max;
    if (keys == 0) GTEST_SKIP() << "this cache states no limit of keys";
    cache.set("short", 1, std::chrono::hours{1});
    for (std::size_t i = 1; i < keys; ++i) {
        cache.set("long" + std::to_string(i), 1, std::chrono::hours{1000});
    }
    EXPECT_TRUE(cache.get("short").has_value());
    cache.set("one more", 1, std::chrono::hours{500});
    EXPECT_FALSE(cache.get("short").has_value());
    EXPECT_TRUE(cache.get("one more").has_value());
    for (std::size_t i = 1; i < keys; ++i) {
        EXPECT_TRUE(cache.get("long" + std::to_string(i)).has_value()) << i;
    }
}

// --- Event logs

TEST_P(CacheConformance, LogCountsFromZero) {
    cache_user cache{open()};
    const auto log = cache.cache().log("log", "log:counter");
    ASSERT_NE(log, nullptr);
    const auto empty = cache.read(*log);
    EXPECT_TRUE(empty.events.empty());
    EXPECT_EQ(empty.first, empty.next);
    for (std::uint64_t i = 0; i < 10; ++i) {
        EXPECT_EQ(cache.append(*log, "e" + std::to_string(i)), i);
    }
    const auto page = cache.read(*log);
    EXPECT_THAT(types_in(page), ElementsAreArray(numbered("e", 10)));
    EXPECT_EQ(page.first, 0U);
    EXPECT_EQ(page.next, 10U);
    for (std::uint64_t i = 0; i < 10; ++i) EXPECT_EQ(page.events[i].index(), i);
    EXPECT_THAT(types_in(cache.read(*log, 8)), ElementsAre("e8", "e9"));
    EXPECT_THAT(types_in(cache.read(*log, 2, 3)), ElementsAre("e2", "e3", "e4"));
    EXPECT_TRUE(cache.read(*log, 10).events.empty());
    EXPECT_TRUE(cache.read(*log, 1000).events.empty());
}

TEST_P(CacheConformance, LogsOfOneKeyAreOne) {
    cache_user cache{open()};
    const auto a = cache.cache().log("log", "log:counter");
    const auto b = cache.cache().log("log", "log:counter");
    const auto other = cache.cache().log("other", "other:counter");
    EXPECT_EQ(cache.append(*a, "1"), 0U);
    EXPECT_EQ(cache.append(*b, "2"), 1U);
    EXPECT_EQ(cache.append(*other, "3"), 0U);
    EXPECT_THAT(types_in(cache.read(*a)), ElementsAre("1", "2"));
}

// An event that the bus refused never was: nobody reads it, and its index is used again.
TEST_P(CacheConformance, WithdrawnEventLeavesNoTrace) {
    cache_user cache{open()};
    const auto log = cache.cache().log("log", "log:counter");
    EXPECT_EQ(cache.append(*log, "0"), 0U);
    const auto refused = cache.append_only(*log, "refused");
    EXPECT_EQ(refused.index(), 1U);
    if (!cache.cache().shared()) EXPECT_THAT(types_in(cache.read(*log)), ElementsAre("0"));
    log->withdraw(refused);
    if (cache.cache().shared()) return;  // others may have seen it
    EXPECT_EQ(cache.append(*log, "1"), 1U);
    const auto page = cache.read(*log);
    EXPECT_THAT(types_in(page), ElementsAre("0", "1"));
    EXPECT_EQ(page.next, 2U);
}

TEST_P(CacheConformance, LogsMayBeUsedFromManyThreads) {
    cache_user cache{open()};
    std::atomic<int> reads{0};
    cache.loop().in_threads(4, [&](std::size_t t) {
        // One appends at a time to each log; everybody reads.
        const auto own = cache.cache().log("log" + std::to_string(t), "n" + std::to_string(t));
        const auto first = cache.cache().log("log0", "n0");
        for (std::uint64_t i = 0; i < 100; ++i) {
            event_draft draft{"x", "r"};
            detail::event_access::set_id(draft, event_id::random());
            detail::event_access::mark_stamped(draft);
            event_log::append_completion later{[own](error_code ec, event stored) {
                EXPECT_EQ(ec, error_code{});
                own->confirm(stored);
            }};
            error_code ec;
            event stored;
            if (own->append(std::move(draft), later, ec, stored)) {
                EXPECT_EQ(ec, error_code{});
                own->confirm(stored);
            }
            first->read(0, 0, [&](error_code e, event_log::page page) {
                EXPECT_EQ(e, error_code{});
                for (std::size_t n = 0; n < page.events.size(); ++n) {
                    EXPECT_EQ(page.events[n].index(), page.first + n);
                }
                reads.fetch_add(1);
                cache.loop().wake();
            });
        }
    });
    ASSERT_TRUE(cache.loop().run_until([&] { return reads.load() == 400; }, rig::limit));
}

TEST_P(CacheConformance, ClearedLogBeginsAnotherLife) {
    cache_user cache{open()};
    const auto log = cache.cache().log("log", "log:counter");
    cache.append(*log, "old 0");
    cache.append(*log, "old 1");
    const auto before = cache.read(*log).generation;
    EXPECT_EQ(cache.take_code([&](auto done) { log->clear(std::move(done)); }), error_code{});
    const auto cleared = cache.read(*log);
    EXPECT_TRUE(cleared.events.empty());
    EXPECT_EQ(cleared.next, 0U);
    EXPECT_NE(cleared.generation, before);
    EXPECT_EQ(cache.append(*log, "new 0"), 0U);
    EXPECT_THAT(types_in(cache.read(*log)), ElementsAre("new 0"));
}

// The reference starts again at 0 or shows wrong events; here the numbers go on.
TEST_P(CacheConformance, ExpiredLogKeepsItsNextIndex) {
    cache_user cache{open()};
    if (!cache.loop().exact()) GTEST_SKIP() << "needs a clock that can be moved";
    if (features().ttl.count() == 0) GTEST_SKIP() << "entries of this cache live for ever";
    const auto log = cache.cache().log("log", "log:counter");
    for (const auto* type : {"0", "1", "2"}) cache.append(*log, type);
    cache.loop().advance(features().ttl);
    const auto expired = cache.read(*log);
    EXPECT_TRUE(expired.events.empty());
    EXPECT_EQ(expired.next, 3U);
    EXPECT_EQ(expired.first, 3U);
    EXPECT_EQ(cache.append(*log, "3"), 3U);
    // The same through a fresh handle.
    const auto again = cache.cache().log("log", "log:counter");
    const auto page = cache.read(*again, 0);
    EXPECT_THAT(types_in(page), ElementsAre("3"));
    EXPECT_EQ(page.first, 3U);
    EXPECT_EQ(page.next, 4U);
}

TEST_P(CacheConformance, EvictedLogKeepsItsNextIndex) {
    cache_user cache{open()};
    const auto keys = features().keys_max;
    if (keys == 0) GTEST_SKIP() << "this cache states no limit of keys";
    const auto log = cache.cache().log("log", "log:counter");
    for (const auto* type : {"0", "1"}) cache.append(*log, type);
    for (std::size_t i = 0; i < keys + 2; ++i) {
        cache.set("other" + std::to_string(i), 1, std::chrono::hours{1000});
    }
    const auto evicted = cache.read(*log);
    EXPECT_TRUE(evicted.events.empty());
    EXPECT_EQ(evicted.next, 2U);
    EXPECT_EQ(cache.append(*log, "2"), 2U);
}

TEST_P(CacheConformance, LogKeepsTheNewest) {
    cache_user cache{open()};
    const auto least = features().events_min, most = features().events_max;
    if (most == 0) GTEST_SKIP() << "this cache states no limit of events";
    const auto log = cache.cache().log("log", "log:counter");
    const auto total = most * 3;
    for (std::size_t i = 0; i < total; ++i) {
        ASSERT_EQ(cache.append(*log, "e" + std::to_string(i)), i);
    }
    const auto page = cache.read(*log);
    EXPECT_EQ(page.next, total);
    EXPECT_EQ(page.first, total - page.events.size());
    EXPECT_GE(page.events.size(), least);
    EXPECT_LE(page.events.size(), most);
    EXPECT_EQ(page.events.back().type(), "e" + std::to_string(total - 1));
    for (std::size_t i = 0; i < page.events.size(); ++i) {
        EXPECT_EQ(page.events[i].index(), page.first + i);
    }
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
