#include "base/block_pool.hpp"
#include "base/own_thread.hpp"
#include "base/random.hpp"
#include "base/short_text.hpp"
#include "base/time.hpp"
#include "base/utf8.hpp"

#include <trunkline/errc.hpp>
#include <trunkline/event_id.hpp>
#include <trunkline/logger.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <set>
#include <stdexcept>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace trunkline {
namespace {

using namespace std::chrono_literals;

TEST(Utf8, AcceptsWellFormedTextOfEveryLength) {
    for (const auto* text :
         {"", "a", "plain ascii of more than eight bytes", "é", "€", "😀", "a€b😀c"})
        EXPECT_TRUE(base::is_utf8(text)) << text;
}

TEST(Utf8, RefusesBrokenText) {
    const std::vector<std::string> broken = {
        "\x80",              // a continuation byte alone
        "\xc3",              // cut short
        "\xc0\xaf",          // overlong
        "\xe0\x80\xaf",      // overlong
        "\xed\xa0\x80",      // a surrogate
        "\xf4\x90\x80\x80",  // beyond U+10FFFF
        "\xff",
        "seven b\xe2\x82",  // cut short at the end of an eight-byte step
    };
    for (const auto& text : broken) EXPECT_FALSE(base::is_utf8(text));
}

TEST(ShortText, CopiesAndComparesEveryLength) {
    const std::string all = "0123456789abcdefghijklmnopqrstuvwxyz";
    for (std::size_t size = 0; size < all.size(); ++size) {
        const auto text = all.substr(0, size);
        std::string copy(size, '.');
        base::copy_text(copy.data(), text);
        EXPECT_EQ(copy, text);
        EXPECT_TRUE(base::equal_text(copy, text));
        EXPECT_FALSE(base::equal_text(copy + 'x', text));
        for (std::size_t i = 0; i < size; ++i) {
            auto other = text;
            other[i] = '!';
            EXPECT_FALSE(base::equal_text(other, text)) << size << ' ' << i;
            auto broken = text;
            broken[i] = '\xff';
            EXPECT_FALSE(base::is_utf8(broken)) << size << ' ' << i;
        }
    }
}

TEST(EventId, RandomIdsAreVersionFourUuidsAndDiffer) {
    std::set<std::string> seen;
    for (int i = 0; i < 1000; ++i) {
        const auto text = event_id::random().text();
        ASSERT_EQ(text.size(), 36U);
        EXPECT_EQ(text[14], '4');
        EXPECT_THAT(std::string("89ab"), ::testing::HasSubstr(text.substr(19, 1)));
        seen.insert(text);
    }
    EXPECT_EQ(seen.size(), 1000U);
}

TEST(EventId, CanonicalTextRoundTripsWithoutBeingStored) {
    const auto text = "0123abcd-4567-489a-bcde-f0123456789a";
    const auto id = event_id::from_text(text);
    EXPECT_EQ(id.text(), text);
    EXPECT_EQ(id.foreign_text(), nullptr);
    EXPECT_EQ(id, event_id::from_text(text));
}

TEST(EventId, OtherTextIsKeptVerbatim) {
    for (const auto* text :
         {"",
          "order-7",
          "0123ABCD-4567-489A-BCDE-F0123456789A",
          "00000000-0000-0000-0000-000000000000"}) {
        const auto id = event_id::from_text(text);
        EXPECT_EQ(id.text(), text);
        EXPECT_FALSE(id.is_nil());
        EXPECT_EQ(id, event_id::from_text(text));
        EXPECT_NE(id, event_id::from_text("another"));
    }
}

// A child must not go on with its parent's generator state.
TEST(EventId, ForkedChildDrawsOtherIds) {
    event_id::random();
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const auto child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        const auto text = event_id::random().text();
        const auto written = write(ends[1], text.data(), text.size());
        _exit(written == 36 ? 0 : 1);
    }
    const auto ours = event_id::random().text();
    std::string theirs(36, '\0');
    EXPECT_EQ(read(ends[0], theirs.data(), theirs.size()), 36);
    int status = 0;
    waitpid(child, &status, 0);
    close(ends[0]);
    close(ends[1]);
    EXPECT_EQ(status, 0);
    EXPECT_NE(ours, theirs);
}

TEST(BlockPool, BlocksOfAllSizesSurviveTravelBetweenThreads) {
    std::vector<std::pair<unsigned char*, std::size_t>> blocks;
    std::thread([&] {
        for (std::size_t i = 0; i < 4000; ++i) {
            const auto size = 1 + i % 400;
            auto* at = static_cast<unsigned char*>(base::take_block(size));
            at[0] = at[size - 1] = static_cast<unsigned char>(i);
            blocks.emplace_back(at, size);
        }
    }).join();
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        const auto [at, size] = blocks[i];
        ASSERT_EQ(at[size - 1], static_cast<unsigned char>(i));
        base::give_block(at, size);
    }
}

TEST(OwnThread, StartsAtFirstNeedAndRunsWhatWasPostedBeforeItStops) {
    std::promise<std::thread::id> ran_on;
    bool last = false;
    {
        base::own_thread t;
        EXPECT_FALSE(base::on_own_thread());
        boost::asio::post(t.executor(), [&] {
            EXPECT_TRUE(base::on_own_thread());
            ran_on.set_value(std::this_thread::get_id());
        });
        EXPECT_NE(ran_on.get_future().get(), std::this_thread::get_id());
        boost::asio::post(t.executor(), [&] { last = true; });
    }
    EXPECT_TRUE(last);
}

TEST(OwnThread, MayBeDestroyedOnItself) {
    auto t = std::make_unique<base::own_thread>();
    std::promise<void> gone;
    auto future = gone.get_future();
    const auto executor = t->executor();
    boost::asio::post(executor, [t = std::move(t), &gone]() mutable {
        t.reset();
        gone.set_value();
    });
    future.get();
}

TEST(Time, AddingAnAbsurdlyLongTimeDoesNotOverflow) {
    const auto now = clock::time_point{std::chrono::hours{1}};
    EXPECT_EQ(base::saturating_add(now, 5ms), now + 5ms);
    EXPECT_EQ(
        base::saturating_add(now, std::chrono::milliseconds::max()), clock::time_point::max()
    );
}

TEST(Errc, KnowsWhatMaySucceedLater) {
    EXPECT_TRUE(is_transient(errc::queue_full));
    EXPECT_TRUE(is_transient(errc::timed_out));
    EXPECT_TRUE(is_transient(errc::broker_lost));
    EXPECT_TRUE(is_transient(boost::asio::error::make_error_code(boost::asio::error::broken_pipe)));
    EXPECT_FALSE(is_transient(errc::closed));
    EXPECT_FALSE(is_transient(errc::invalid_argument));
    EXPECT_FALSE(is_transient({}));
    EXPECT_STREQ(error_category().name(), "trunkline");
}

TEST(Errc, EveryValueHasAText) {
    for (int value = 1; value <= static_cast<int>(errc::would_deadlock); ++value)
        EXPECT_THAT(
            error_category().message(value), ::testing::Not(::testing::HasSubstr("unknown"))
        );
}

TEST(Logger, PassesRecordsFromItsLevelOn) {
    std::vector<std::string> lines;
    const logger log(log_level::info, [&](const log_record& r) { lines.push_back(format(r)); });
    log.log(log_level::debug, "part", "hidden");
    log.log(log_level::warn, "part", "queue full", {{"topic", "a\nb"}, {"size", "3"}});
    EXPECT_THAT(lines, ::testing::ElementsAre("warn part: queue full topic=a b size=3"));
}

TEST(Logger, RepeatsAreLimited) {
    int seen = 0;
    const logger log(log_level::debug, [&](const log_record&) { ++seen; });
    for (int i = 0; i < 100; ++i) log.log(log_level::error, "part", "same text");
    log.log(log_level::error, "part", "another text");
    EXPECT_EQ(seen, 11);
}

TEST(Logger, UnknownLevelNamesItself) {
    EXPECT_EQ(log_level_from("warn"), log_level::warn);
    try {
        log_level_from("loud");
        FAIL();
    } catch (const std::invalid_argument& e) {
        EXPECT_THAT(e.what(), ::testing::HasSubstr("loud"));
    }
}

}  // namespace
}  // namespace trunkline
