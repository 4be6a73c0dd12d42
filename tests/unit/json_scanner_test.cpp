#include "wire/json_scanner.hpp"

#include "wire/json_parser.hpp"

#include <trunkline/json_text.hpp>

#include <boost/json/value.hpp>
#include <boost/system/system_error.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trunkline {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using wire::json_scanner;

// In a block of exactly its size, so that a read beyond it is seen.
bool accepts(std::string_view text, std::size_t depth_max = 1000) {
    const std::vector<char> copy(text.begin(), text.end());
    json_scanner in({copy.data(), copy.size()}, depth_max);
    in.skip_value();
    return in.finish();
}

std::vector<std::pair<std::string, std::string>> members(std::string_view text) {
    std::vector<std::pair<std::string, std::string>> all;
    json_scanner in(text, 1000);
    if (!in.begin_object()) return all;
    json_scanner::name key;
    while (in.next_member(key)) {
        const std::string name(key.raw);
        all.emplace_back(name, in.skip_value());
    }
    return in.finish() ? all : std::vector<std::pair<std::string, std::string>>();
}

// The same, entering an object instead of passing over it.
bool accepts_entered(std::string_view text, std::size_t depth_max) {
    const std::vector<char> copy(text.begin(), text.end());
    json_scanner in({copy.data(), copy.size()}, depth_max);
    if (in.begin_object()) {
        json_scanner::name key;
        while (in.next_member(key)) in.skip_value();
    } else {
        in.skip_value();
    }
    return in.finish();
}

std::string unescaped(std::string_view raw) {
    std::string out;
    wire::append_unescaped(out, raw);
    return out;
}

TEST(JsonScanner, GivesNamesAndValuesAsTheyAreWritten) {
    EXPECT_THAT(
        members(R"( { "a" : 1 , "b":[1, {"x":"}"}] ,"c":"q\"" ,"":null,"d":{ } } )"),
        ElementsAre(
            Pair("a", "1"),
            Pair("b", R"([1, {"x":"}"}])"),
            Pair("c", R"("q\"")"),
            Pair("", "null"),
            Pair("d", "{ }")
        )
    );
    EXPECT_THAT(members("{}"), IsEmpty());
}

TEST(JsonScanner, SaysWhichNamesHaveEscapes) {
    json_scanner in(R"({"a\u0062":1,"ab":2})", 5);
    ASSERT_TRUE(in.begin_object());
    json_scanner::name key;
    ASSERT_TRUE(in.next_member(key));
    EXPECT_EQ(key.raw, R"(a\u0062)");
    EXPECT_TRUE(key.escaped);
    in.skip_value();
    ASSERT_TRUE(in.next_member(key));
    EXPECT_FALSE(key.escaped);
    in.skip_value();
    EXPECT_FALSE(in.next_member(key));
    EXPECT_TRUE(in.finish());
}

TEST(JsonScanner, EntersAnObjectInsteadOfPassingIt) {
    const std::string_view text = R"({"x":[{}],"in": {"a":1,"b":{}} ,"y":2})";
    json_scanner in(text, 5);
    ASSERT_TRUE(in.begin_object());
    json_scanner::name key;
    std::vector<std::string> seen;
    while (in.next_member(key)) {
        seen.emplace_back(key.raw);
        if (key.raw != "in") {
            EXPECT_NE(in.skip_value(), "");
            continue;
        }
        ASSERT_TRUE(in.begin_object());
        while (in.next_member(key)) seen.push_back(std::string(in.skip_value()));
        EXPECT_EQ(*(in.behind() - 1), '}');
    }
    EXPECT_TRUE(in.finish());
    EXPECT_THAT(seen, ElementsAre("x", "in", "1", "{}", "y"));
}

TEST(JsonScanner, OnlyAnObjectCanBeEntered) {
    json_scanner in(R"([1])", 5);
    EXPECT_FALSE(in.begin_object());
    EXPECT_EQ(in.skip_value(), "[1]");
    EXPECT_TRUE(in.finish());
}

TEST(JsonScanner, AfterAnErrorEveryAnswerIsNo) {
    json_scanner in(R"({"a":tru,"b":1})", 5);
    ASSERT_TRUE(in.begin_object());
    json_scanner::name key;
    ASSERT_TRUE(in.next_member(key));
    EXPECT_EQ(in.skip_value(), "");
    EXPECT_EQ(in.skip_value(), "");
    EXPECT_FALSE(in.next_member(key));
    EXPECT_FALSE(in.begin_object());
    EXPECT_FALSE(in.finish());
}

TEST(JsonScanner, AnUnfinishedWalkIsNotFinished) {
    json_scanner in(R"({"a":1})", 5);
    ASSERT_TRUE(in.begin_object());
    EXPECT_FALSE(in.finish());
}

TEST(JsonScanner, AcceptsWhatJsonParseAccepts) {
    for (const auto* good :
         {"0",
          "-0",
          "1",
          "-12.50e+3",
          "1E5",
          "1e-5",
          "0.1",
          "9e999999999999",
          "true",
          "false",
          "null",
          "\"\"",
          R"("\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00")",
          R"("\ud800")",
          R"("\udc00\ud800")",
          "\"\x7f\xe2\x80\xa8\"",
          "[]",
          "[ ]",
          "{}",
          "{ }",
          " [1 , 2] ",
          "[[],{},[{}]]",
          "{\"a\":{\"b\":[]}}",
          "\t\r\n{\"a\"\n:\t1\r}\n",
          "{\"a\":1,\"a\":2}",
          "12345678901234567890"})
        EXPECT_TRUE(accepts(good)) << good;
}

TEST(JsonScanner, RefusesWhatJsonParseRefuses) {
    for (const auto* bad :
         {"",
          " ",
          "01",
          "-",
          "+1",
          ".5",
          "1.",
          "1.e5",
          "1e",
          "1e+",
          "-a",
          "0x1",
          "1 2",
          "NaN",
          "Infinity",
          "tru",
          "truE",
          "truex",
          "nul",
          "falsey",
          "undefined",
          "'a'",
          "\"",
          "\"a",
          "\"\\\"",
          "\"\\x\"",
          "\"\\u12\"",
          "\"\\u12g4\"",
          "\"\\u",
          "\"a\nb\"",
          "\"a\tb\"",
          "\"a\x01\"",
          "[",
          "]",
          "[1",
          "[1,",
          "[1,]",
          "[,1]",
          "[1 2]",
          "[1}",
          "{",
          "}",
          "{\"a\"",
          "{\"a\":",
          "{\"a\":1",
          "{\"a\":1,",
          "{\"a\":1,}",
          "{,}",
          "{\"a\" 1}",
          "{\"a\":1 \"b\":2}",
          "{a:1}",
          "{1:2}",
          "{\"a\":}",
          "{\"a\":1]",
          "{}}",
          "[]]",
          "{}{}",
          "[] 1",
          "// c\n1",
          "[1/**/]",
          "\xef\xbb\xbf{}",
          "\v1",
          "{\"a\"::1}",
          "{{}}",
          "[[]",
          "[{]",
          "[{}",
          "[t]",
          "[-]",
          "[1e]",
          "{\"\\\":1}",
          "[\"]",
          "{\"a\":\"}",
          "{\"a\":[}",
          "1]",
          "\"a\"]",
          "x}",
          "\f{}"}) {
        EXPECT_FALSE(accepts(bad)) << bad;
        EXPECT_FALSE(accepts_entered(bad, 1000)) << bad;
    }
}

TEST(JsonScanner, FindsTheEndOfAStringAtEveryPlaceInItsBlocks) {
    for (std::size_t before = 0; before < 140; ++before) {
        for (const std::string_view inside : {"", "x", R"(\")", R"(\u0041y)"}) {
            const auto text = "{\"" + std::string(before, 'k') + std::string(inside) + "\":[\"" +
                              std::string(inside) + std::string(before, 'v') + "\",\"z\"]}";
            EXPECT_TRUE(accepts(text)) << text;
            for (std::size_t cut = 0; cut < text.size(); ++cut)
                ASSERT_FALSE(accepts(text.substr(0, cut))) << text << " cut at " << cut;
        }
        const auto control = "[\"" + std::string(before, 'x') + "\n\"]";
        EXPECT_FALSE(accepts(control));
        const auto spaced = "[\"" + std::string(before, 'x') + "\"\n,\r\n\t\"b\"\n]";
        EXPECT_TRUE(accepts(spaced));
    }
}

TEST(JsonScanner, NestsToItsDepthAndNoDeeper) {
    const auto nested = [](std::size_t levels) {
        return std::string(levels, '[') + std::string(levels, ']');
    };
    for (const std::size_t depth : {1U, 2U, 63U, 64U, 65U, 127U, 128U, 129U, 1000U, 4096U}) {
        EXPECT_TRUE(accepts(nested(depth), depth)) << depth;
        EXPECT_FALSE(accepts(nested(depth + 1), depth)) << depth;
    }
    EXPECT_TRUE(accepts("1", 0));
    EXPECT_FALSE(accepts("[]", 0));
    EXPECT_FALSE(accepts(nested(4097), 100000));
    EXPECT_FALSE(accepts(nested(20000)));
    EXPECT_FALSE(accepts(nested(100000)));
    EXPECT_FALSE(accepts(std::string(100000, '[')));
    std::string objects;
    for (int i = 0; i < 100000; ++i) objects += "{\"a\":";
    EXPECT_FALSE(accepts(objects));
}

TEST(JsonScanner, RemembersWhatIsOpenAcrossManyLevels) {
    std::string open;
    std::string close;
    std::mt19937 random(3);
    for (int i = 0; i < 900; ++i) {
        const bool object = random() % 2 == 0;
        open += object ? "{\"k\":" : "[";
        close.insert(close.begin(), object ? '}' : ']');
    }
    EXPECT_TRUE(accepts(open + "1" + close));
    EXPECT_TRUE(accepts(open + "[]" + close));
    for (std::size_t i = 0; i < close.size(); i += 13) {
        auto wrong = close;
        wrong[i] = wrong[i] == '}' ? ']' : '}';
        EXPECT_FALSE(accepts((open + "1").append(wrong))) << i;
    }
}

TEST(JsonScanner, EnteredObjectsCountTowardsTheDepth) {
    json_scanner in(R"({"a":{"b":{}}})", 2);
    json_scanner::name key;
    ASSERT_TRUE(in.begin_object());
    ASSERT_TRUE(in.next_member(key));
    ASSERT_TRUE(in.begin_object());
    ASSERT_TRUE(in.next_member(key));
    EXPECT_FALSE(in.begin_object());
    EXPECT_FALSE(in.finish());
}

// Half a surrogate pair is JSON, but no text that the parser can hold.
bool has_surrogate(std::string_view text) {
    for (auto at = text.find("\\u"); at != std::string_view::npos; at = text.find("\\u", at + 1)) {
        if (at + 2 < text.size() && (text[at + 2] == 'd' || text[at + 2] == 'D')) return true;
    }
    return false;
}

bool parses(std::string_view text, std::size_t depth_max) {
    try {
        wire::parse_json(text, depth_max);
        return true;
    } catch (const boost::system::system_error&) {
        return false;
    }
}

TEST(JsonScanner, AgreesWithTheParserAboutMutatedTexts) {
    const std::vector<std::string> seeds = {
        R"({"type":"event","topic":"t","event":{"type":"x","runId":"r","data":1,"index":3},"group":"g"})",
        R"({"a":[1,-2.5e3,{"b":"c\n\u00e9"},null,true,false],"d":{},"e":[[[]]]})",
        R"([{"__m_codec__":"Map","v":[["a",1],[{"k":1},"x"]]},"\\\"/",0.5E-7])",
        R"({"k":"0123456789012345678901234567890123456789012345678901234567890123456789","l":[]})",
    };
    constexpr std::string_view alphabet = "{}[]:,\"\\ \n\t0123456789-+.eEtrufalsn/b\x01x";
    std::mt19937 random(11);
    int accepted = 0;
    for (int round = 0; round < 20000; ++round) {
        auto text = seeds[random() % seeds.size()];
        for (auto edits = 1 + random() % 3; edits > 0 && !text.empty(); --edits) {
            const auto at = random() % text.size();
            switch (random() % 4) {
                case 0:
                    text.erase(at, 1 + random() % 3);
                    break;
                case 1:
                    text.insert(at, 1, alphabet[random() % alphabet.size()]);
                    break;
                case 2:
                    text[at] = alphabet[random() % alphabet.size()];
                    break;
                default:
                    text.insert(at, text.substr(random() % text.size(), random() % 8));
            }
        }
        if (has_surrogate(text)) continue;
        const auto depth = 1 + random() % 6;
        ASSERT_EQ(accepts(text, depth), parses(text, depth)) << text << " depth " << depth;
        ASSERT_EQ(accepts_entered(text, depth), accepts(text, depth)) << text;
        accepted += accepts(text, depth);
    }
    EXPECT_GT(accepted, 1000);
}

TEST(JsonStrings, EscapesAreDecoded) {
    EXPECT_EQ(unescaped(""), "");
    EXPECT_EQ(unescaped("plain"), "plain");
    EXPECT_EQ(unescaped(R"(\"\\\/\b\f\n\r\t)"), "\"\\/\b\f\n\r\t");
    EXPECT_EQ(unescaped(R"(a\u0062c)"), "abc");
    EXPECT_EQ(unescaped(R"(\u0000)"), std::string(1, '\0'));
    EXPECT_EQ(unescaped(R"(\u00E9\u20ac\uD83D\uDE00!)"), "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80!");
}

TEST(JsonStrings, LoneSurrogatesComeBackAsTheyWere) {
    for (const std::string_view raw :
         {R"(\ud800)",
          R"(\udfff)",
          R"(\ud800\ud800\udc00x)",
          R"(\udc00\ud800)",
          R"(a\ud83d\n)",
          R"(\ud83dx\ude00)"}) {
        std::string again;
        append_json_string(again, unescaped(raw));
        std::string twice;
        append_json_string(twice, unescaped(again.substr(1, again.size() - 2)));
        EXPECT_EQ(again, twice);
    }
    EXPECT_EQ(
        unescaped(R"(\ud83d\u0041)"),
        "\xed\xa0\xbd"
        "A"
    );
    std::string again;
    append_json_string(again, unescaped(R"(\uD800\n\u0041)"));
    EXPECT_EQ(again, R"("\ud800\nA")");
}

}  // namespace
}  // namespace trunkline
