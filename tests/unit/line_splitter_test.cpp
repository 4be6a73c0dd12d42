#include "wire/line_splitter.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace trunkline {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using wire::line_splitter;

void drain(line_splitter& in, std::vector<std::string>& lines) {
    while (const auto line = in.next()) lines.emplace_back(*line);
}

// Feeds the text in pieces of at most `piece` bytes and collects what comes out.
std::vector<std::string> feed(line_splitter& in, std::string_view text, std::size_t piece) {
    std::vector<std::string> lines;
    while (!text.empty()) {
        const auto space = in.prepare(piece);
        const auto size = std::min({space.size(), piece, text.size()});
        std::memcpy(space.data(), text.data(), size);
        in.commit(size);
        text.remove_prefix(size);
        drain(in, lines);
    }
    return lines;
}

TEST(LineSplitter, GivesCompleteLinesWithoutTheirEnds) {
    line_splitter in(100);
    EXPECT_THAT(feed(in, "one\ntwo\nthr", 100), ElementsAre("one", "two"));
    EXPECT_THAT(feed(in, "ee\n", 100), ElementsAre("three"));
    EXPECT_FALSE(in.overflow());
}

TEST(LineSplitter, NothingComesOutOfNothing) {
    line_splitter in(100);
    EXPECT_FALSE(in.next());
    in.prepare(1);
    in.commit(0);
    EXPECT_FALSE(in.next());
}

TEST(LineSplitter, SkipsLinesOfWhiteSpace) {
    line_splitter in(100);
    EXPECT_THAT(feed(in, "\n\r\n \t \n\v\f\na\r\n\n b \n", 100), ElementsAre("a\r", " b "));
}

TEST(LineSplitter, KeepsOtherLineSeparatorsAndZeroBytes) {
    line_splitter in(100);
    const std::string line(
        "a\xe2\x80\xa8"
        "b\0c",
        7
    );
    EXPECT_THAT(feed(in, line + "\n", 100), ElementsAre(line));
}

TEST(LineSplitter, OneByteAtATimeGivesTheSame) {
    const std::string text =
        "{\"a\":\"\xe2\x82\xac\"}\r\n\nxx\n" + std::string(300, 'y') + "\nend\n";
    line_splitter whole(1000);
    line_splitter bytes(1000);
    EXPECT_EQ(feed(bytes, text, 1), feed(whole, text, text.size()));
}

TEST(LineSplitter, ALineOfExactlyTheLimitIsTaken) {
    for (const std::size_t piece : {1U, 7U, 1000U}) {
        line_splitter in(200);
        EXPECT_THAT(
            feed(in, std::string(200, 'x') + "\nmore\n", piece),
            ElementsAre(std::string(200, 'x'), "more")
        );
        EXPECT_FALSE(in.overflow());
    }
}

TEST(LineSplitter, OneByteMoreIsAnOverflow) {
    for (const std::size_t piece : {1U, 7U, 1000U}) {
        line_splitter in(200);
        EXPECT_THAT(
            feed(in, "first\n" + std::string(201, 'x') + "\nmore\n", piece), ElementsAre("first")
        );
        EXPECT_TRUE(in.overflow());
        EXPECT_FALSE(in.next());
    }
}

TEST(LineSplitter, AnUnfinishedLineOverflowsAsSoonAsItIsTooLong) {
    line_splitter in(200);
    feed(in, std::string(200, 'x'), 200);
    EXPECT_FALSE(in.overflow());
    feed(in, "x", 1);
    EXPECT_TRUE(in.overflow());
}

TEST(LineSplitter, ABlankLineCountsTowardsTheLimitToo) {
    line_splitter in(10);
    EXPECT_THAT(feed(in, std::string(11, ' ') + "\na\n", 100), IsEmpty());
    EXPECT_TRUE(in.overflow());
}

TEST(LineSplitter, AfterAnOverflowWhatComesIsDroppedAndNothingGrows) {
    line_splitter in(10);
    feed(in, std::string(11, 'x'), 11);
    for (int i = 0; i < 10; ++i) {
        const auto space = in.prepare(1);
        ASSERT_LE(space.size(), std::size_t{1} << 17);
        std::memset(space.data(), '\n', space.size());
        in.commit(space.size());
        EXPECT_FALSE(in.next());
    }
}

TEST(LineSplitter, LimitsAroundTheBufferSizesHold) {
    for (const std::size_t limit : {65535U, 65536U, 65537U, 131071U, 131072U, 200000U}) {
        for (const std::size_t piece : {1000U, 65536U, 300000U}) {
            line_splitter in(limit);
            const std::string line(limit, 'x');
            EXPECT_THAT(feed(in, "a\n", piece), ElementsAre("a"));
            EXPECT_THAT(feed(in, line + "\n", piece), ElementsAre(line));
            EXPECT_THAT(feed(in, line + "\nb\n", piece), ElementsAre(line, "b"));
            EXPECT_THAT(feed(in, line + "y\n", piece), IsEmpty());
            EXPECT_TRUE(in.overflow());
        }
    }
}

TEST(LineSplitter, RoomIsBoundedByTheLimit) {
    constexpr std::size_t limit = std::size_t{1} << 20;
    line_splitter in(limit);
    const std::string line(limit, 'x');
    std::size_t most = 0;
    std::string text = "short\n" + line + "\nshort\n" + line + "\n";
    std::string_view rest = text;
    while (!rest.empty()) {
        const auto space = in.prepare(1);
        most = std::max(most, space.size());
        const auto size = std::min<std::size_t>({space.size(), rest.size(), 50000});
        std::memcpy(space.data(), rest.data(), size);
        in.commit(size);
        rest.remove_prefix(size);
        while (in.next()) {
        }
    }
    EXPECT_FALSE(in.overflow());
    EXPECT_LE(most, limit + 1);
}

TEST(LineSplitter, AFullBufferOfTheLargestSizeMakesRoomAtItsFront) {
    constexpr std::size_t limit = 100000;
    line_splitter in(limit);
    const std::string line(limit, 'x');
    EXPECT_THAT(feed(in, line + "\n", 1000), ElementsAre(line));
    ASSERT_EQ(in.prepare(1).size(), limit + 1);
    EXPECT_THAT(feed(in, "a\n" + line.substr(2), limit), ElementsAre("a"));
    feed(in, "x", 1);  // the last free byte
    EXPECT_EQ(in.prepare(1).size(), 2);
    EXPECT_THAT(feed(in, "x\n", 2), ElementsAre(line));
}

TEST(LineSplitter, TheRoomOfLinesThatWereReadIsUsedAgain) {
    line_splitter in(1000);
    const auto room = in.prepare(1).size();
    const std::string lines = std::string(999, 'x') + "\n";
    std::string text;
    while (text.size() + lines.size() < room) text += lines;
    text.append(room - text.size() - 10, 'y');
    feed(in, text, text.size());
    ASSERT_FALSE(in.overflow());
    EXPECT_GE(in.prepare(1000).size(), 1000U);
}

TEST(LineSplitter, ALargeBufferIsGivenUpBehindALargeLine) {
    line_splitter in(std::size_t{8} << 20);
    feed(in, std::string(std::size_t{4} << 20, 'x') + "\n", 65536);
    EXPECT_LE(in.prepare(1).size(), std::size_t{256} << 10);
    // Also when the next line has begun already.
    feed(in, std::string(std::size_t{4} << 20, 'x') + "\npart", std::size_t{16} << 20);
    EXPECT_LE(in.prepare(1).size(), std::size_t{256} << 10);
    EXPECT_THAT(feed(in, "ial\n", 100), ElementsAre("partial"));
}

TEST(LineSplitter, GivesTheRoomThatIsWanted) {
    line_splitter in(100);
    EXPECT_GE(in.prepare(1).size(), std::size_t{64} << 10);
    EXPECT_GE(in.prepare(std::size_t{64} << 10).size(), std::size_t{64} << 10);
    line_splitter large(100);
    EXPECT_GE(large.prepare(std::size_t{1} << 20).size(), std::size_t{1} << 20);
}

TEST(LineSplitter, WithoutALimitNothingOverflows) {
    line_splitter in(SIZE_MAX);
    const std::string line(300000, 'x');
    EXPECT_THAT(feed(in, line + "\n", 1000), ElementsAre(line));
}

TEST(LineSplitter, AViewLivesUntilTheNextPrepare) {
    line_splitter in(100);
    const auto space = in.prepare(8);
    std::memcpy(space.data(), "a\nbb\ncc\n", 8);
    in.commit(8);
    const auto first = in.next();
    const auto second = in.next();
    const auto third = in.next();
    EXPECT_EQ(first, "a");
    EXPECT_EQ(second, "bb");
    EXPECT_EQ(third, "cc");
}

TEST(LineSplitter, AnyCutGivesTheSameLines) {
    std::mt19937 random(7);
    std::string text;
    for (int i = 0; i < 300; ++i) {
        const bool large = random() % 50 == 0;
        text.append(random() % (large ? 200000 : 60), random() % 5 == 0 ? ' ' : 'x')
            .push_back('\n');
    }
    line_splitter whole(text.size());
    const auto expected = feed(whole, text, text.size());
    for (int round = 0; round < 20; ++round) {
        line_splitter in(250000);
        std::vector<std::string> lines;
        std::string_view rest = text;
        while (!rest.empty()) {
            const auto space = in.prepare(1 + random() % 100000);
            const auto size =
                std::min<std::size_t>({space.size(), 1 + random() % 70000, rest.size()});
            std::memcpy(space.data(), rest.data(), size);
            in.commit(size);
            rest.remove_prefix(size);
            if (random() % 3 != 0) drain(in, lines);  // also when lines have been left lying
        }
        drain(in, lines);
        ASSERT_EQ(lines, expected);
    }
}

// It would take hours if every byte searched or moved what came before.
TEST(LineSplitter, SingleBytesCostNoMoreThanTheirNumber) {
    constexpr std::size_t size = std::size_t{16} << 20;
    line_splitter in(size);
    for (std::size_t i = 0; i < size; ++i) {
        in.prepare(1)[0] = 'x';
        in.commit(1);
        ASSERT_FALSE(in.next());
    }
    in.prepare(1)[0] = '\n';
    in.commit(1);
    const auto line = in.next();
    ASSERT_TRUE(line);
    EXPECT_EQ(line->size(), size);
}

// The same at the end of a buffer that is as large as the limit allows.
TEST(LineSplitter, SingleBytesNearTheLimitMoveNothing) {
    constexpr std::size_t size = std::size_t{1} << 20;
    line_splitter in(size);
    feed(in, std::string(size - 65536, 'x'), 65536);
    for (int i = 0; i < 65536; ++i) {
        in.prepare(std::size_t{256} << 10)[0] = 'x';
        in.commit(1);
        ASSERT_FALSE(in.next());
    }
    EXPECT_FALSE(in.overflow());
}

}  // namespace
}  // namespace trunkline
