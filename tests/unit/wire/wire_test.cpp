#include <trunkline/errc.hpp>
#include <trunkline/event_json.hpp>
#include <trunkline/json_text.hpp>
#include <trunkline/payload.hpp>
#include <trunkline/tagged.hpp>
#include <trunkline/wall_time.hpp>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <boost/system/system_error.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <stdexcept>

namespace trunkline {
namespace {

namespace json = boost::json;

std::string text_of(double number) {
    std::string out;
    append_json(out, number);
    return out;
}
std::string text_of(const json::value& value) {
    std::string out;
    append_json(out, value);
    return out;
}
std::string quoted(std::string_view text) {
    std::string out;
    append_json_string(out, text);
    return out;
}

TEST(JsonNumbers, AreSpelledAsJavaScriptSpellsThem) {
    EXPECT_EQ(text_of(1.0), "1");
    EXPECT_EQ(text_of(-0.0), "0");
    EXPECT_EQ(text_of(0.1), "0.1");
    EXPECT_EQ(text_of(-1.5), "-1.5");
    EXPECT_EQ(text_of(123456789012345680000.0), "123456789012345680000");
    EXPECT_EQ(text_of(1e20), "100000000000000000000");
    EXPECT_EQ(text_of(1e21), "1e+21");
    EXPECT_EQ(text_of(1.25e21), "1.25e+21");
    EXPECT_EQ(text_of(1e-6), "0.000001");
    EXPECT_EQ(text_of(1e-7), "1e-7");
    EXPECT_EQ(text_of(1.5e-7), "1.5e-7");
    EXPECT_EQ(text_of(std::numeric_limits<double>::max()), "1.7976931348623157e+308");
    EXPECT_EQ(text_of(std::numeric_limits<double>::denorm_min()), "5e-324");
    EXPECT_EQ(text_of(9007199254740993.0), "9007199254740992");
}

TEST(JsonNumbers, NanAndInfinitiesAreNull) {
    EXPECT_EQ(text_of(std::nan("")), "null");
    EXPECT_EQ(text_of(std::numeric_limits<double>::infinity()), "null");
    EXPECT_EQ(text_of(-std::numeric_limits<double>::infinity()), "null");
}

TEST(JsonNumbers, IntegersThatJavaScriptCannotHoldAreBigIntEnvelopes) {
    EXPECT_EQ(text_of(json::value(9007199254740991)), "9007199254740991");
    EXPECT_EQ(text_of(json::value(-9007199254740991)), "-9007199254740991");
    EXPECT_EQ(
        text_of(json::value(9007199254740992)), R"({"__m_codec__":"BigInt","v":"9007199254740992"})"
    );
    EXPECT_EQ(
        text_of(json::value(std::numeric_limits<std::int64_t>::min())),
        R"({"__m_codec__":"BigInt","v":"-9223372036854775808"})"
    );
    EXPECT_EQ(
        text_of(json::value(std::numeric_limits<std::uint64_t>::max())),
        R"({"__m_codec__":"BigInt","v":"18446744073709551615"})"
    );
}

TEST(JsonNumbers, ReadBackTheSame) {
    EXPECT_TRUE(rc::check("number text reads back the same", [](std::uint64_t bits) {
        const auto number = std::bit_cast<double>(bits);
        RC_PRE(std::isfinite(number));
        RC_ASSERT(std::strtod(text_of(number).c_str(), nullptr) == number);
    }));
}

double read(std::string_view text) {
    return payload::from_json_text(text).tree().as_double();
}

// A peer's number stays a number: only C++ integers become BigInt envelopes.
TEST(JsonNumbers, LargeIntegersInATextAreDoublesAsInJavaScript) {
    const auto list = payload::from_json_text("[9007199254740991,-9007199254740991]");
    const auto& exact = list.tree();
    EXPECT_TRUE(exact.at(0).is_int64());
    EXPECT_TRUE(exact.at(1).is_int64());
    for (const auto* text : {"22888888888888884", "-22888888888888884", "18446744073709552000"}) {
        EXPECT_EQ(text_of(payload::from_json_text(text).tree()), text);
    }
}

// Each of these is off by one in the last place with a reader that does not round correctly.
TEST(JsonNumbers, AreReadWithCorrectRounding) {
    EXPECT_EQ(read("228818888888888888822"), 228818888888888888822.0);
    EXPECT_EQ(read("-1.7976931348623157e308"), -std::numeric_limits<double>::max());
    EXPECT_EQ(read("2.2250738585072011e-308"), 2.2250738585072011e-308);
    EXPECT_EQ(read("5e-324"), std::numeric_limits<double>::denorm_min());
    EXPECT_EQ(read("1e-400"), 0.0);
    EXPECT_EQ(text_of(payload::from_json_text("1e400").tree()), "null");
}

TEST(JsonNumbers, TextReadsBackTheSameThroughATree) {
    EXPECT_TRUE(rc::check("tree of the text is the number", [](std::uint64_t bits) {
        const auto number = std::bit_cast<double>(bits);
        RC_PRE(std::isfinite(number));
        RC_ASSERT(payload::from_json_text(text_of(number)).tree().to_number<double>() == number);
    }));
}

TEST(JsonStrings, AreEscapedAsJavaScriptEscapesThem) {
    EXPECT_EQ(quoted("plain"), "\"plain\"");
    EXPECT_EQ(quoted("a\"b\\c/d"), R"("a\"b\\c/d")");
    EXPECT_EQ(quoted("\b\f\n\r\t"), R"("\b\f\n\r\t")");
    EXPECT_EQ(quoted(std::string_view("\0\x1f\x7f", 3)), "\"\\u0000\\u001f\x7f\"");
    EXPECT_EQ(quoted("\u2028\u2029€😀"), "\"\u2028\u2029€😀\"");
    EXPECT_EQ(quoted("\xed\xa0\xbd"), "\"\\ud83d\"");                   // a lone surrogate
    EXPECT_EQ(quoted("a\xff\xc3z"), "\"a\xef\xbf\xbd\xef\xbf\xbdz\"");  // broken UTF-8
}

TEST(JsonText, KeepsOrderAndNesting) {
    const auto value = json::parse(R"({"b":[1,{"a":null}],"a":{},"c":[],"d":true})");
    EXPECT_EQ(text_of(value), R"({"b":[1,{"a":null}],"a":{},"c":[],"d":true})");
}

TEST(IsoTime, PrintsAndReadsBack) {
    const auto time = wall_time{std::chrono::milliseconds{1'700'000'000'123}};
    EXPECT_EQ(iso_text(time), "2023-11-14T22:13:20.123Z");
    EXPECT_EQ(wall_time_from_iso("2023-11-14T22:13:20.123Z"), time);
    EXPECT_EQ(wall_time_from_iso("2023-11-14T22:13:20.123999Z"), time);
    EXPECT_EQ(wall_time_from_iso("2023-11-14T22:13:20Z"), time - std::chrono::milliseconds{123});
    EXPECT_EQ(
        iso_text(wall_time{std::chrono::milliseconds{-62198755200000}}),
        "-000001-01-01T00:00:00.000Z"
    );
    EXPECT_EQ(
        wall_time_from_iso("-000001-01-01T00:00:00.000Z"),
        wall_time{std::chrono::milliseconds{-62198755200000}}
    );
    EXPECT_EQ(
        iso_text(wall_time{std::chrono::milliseconds{253402300800000}}),
        "+010000-01-01T00:00:00.000Z"
    );
}

TEST(IsoTime, RefusesWhatIsNoTimeAndNamesIt) {
    for (const auto* text :
         {"",
          "yesterday",
          "2023-02-30T00:00:00.000Z",
          "2023-11-14T24:00:00.000Z",
          "2023-11-14T22:13:20.123",
          "2023-11-14T22:13:20.Z",
          "2023-1-14T22:13:20.123Z",
          "2023-11-14T22:13:20.123ZZ",
          "-2023-11-14T22:13:20.123Z"}) {
        try {
            wall_time_from_iso(text);
            ADD_FAILURE() << text;
        } catch (const boost::system::system_error& e) {
            EXPECT_EQ(e.code(), errc::protocol_error);
            EXPECT_THAT(e.what(), ::testing::HasSubstr(text));
        }
    }
}

TEST(Tagged, MakesTheEnvelopesOfTheWire) {
    EXPECT_EQ(
        text_of(tagged::date(wall_time{std::chrono::milliseconds{1'700'000'000'123}})),
        R"({"__m_codec__":"Date","v":"2023-11-14T22:13:20.123Z"})"
    );
    EXPECT_EQ(text_of(tagged::undefined()), R"({"__m_codec__":"Undefined"})");
    EXPECT_EQ(text_of(tagged::bigint("-12")), R"({"__m_codec__":"BigInt","v":"-12"})");
    EXPECT_EQ(
        text_of(tagged::map(json::parse(R"([["k",1]])").get_array())),
        R"({"__m_codec__":"Map","v":[["k",1]]})"
    );
    EXPECT_EQ(text_of(tagged::set(json::array{1, 2})), R"({"__m_codec__":"Set","v":[1,2]})");
    EXPECT_THROW(tagged::bigint("1e5"), std::invalid_argument);
    EXPECT_THROW(tagged::bigint(""), std::invalid_argument);
    EXPECT_THROW(tagged::map(json::array{1}), std::invalid_argument);
}

TEST(Tagged, ReadsOnlyWellFormedEnvelopes) {
    const auto date = json::parse(R"({"__m_codec__":"Date","v":"2023-11-14T22:13:20.123Z"})");
    EXPECT_EQ(iso_text(tagged::as_date(date).value()), "2023-11-14T22:13:20.123Z");
    EXPECT_FALSE(tagged::as_date(json::parse(R"({"__m_codec__":"Date","v":"x"})")));
    EXPECT_FALSE(tagged::as_date(json::parse(R"({"__m_codec__":"Date"})")));
    EXPECT_FALSE(tagged::as_date(json::value("2023-11-14T22:13:20.123Z")));
    EXPECT_EQ(tagged::as_bigint(tagged::bigint("7")), "7");
    EXPECT_FALSE(tagged::as_bigint(json::parse(R"({"__m_codec__":"BigInt","v":7})")));
    EXPECT_TRUE(tagged::is_undefined(tagged::undefined()));
    EXPECT_FALSE(tagged::is_undefined(json::object{}));
    EXPECT_EQ(tagged::as_map(tagged::map({}))->size(), 0U);
    EXPECT_EQ(tagged::as_set(tagged::set(json::array{1}))->size(), 1U);
    EXPECT_EQ(tagged::as_set(tagged::map({})), nullptr);
}

TEST(EventJson, DraftTakesEveryKnownFieldAndCarriesTheRest) {
    const auto fields =
        json::parse(R"({"type":"t","runId":"r","data":[1],"index":4,"id":"me","extra":{"k":1}})");
    const auto draft = draft_from_json(fields.get_object(), "other");
    EXPECT_EQ(draft.type(), "t");
    EXPECT_EQ(draft.run_id(), "r");
    EXPECT_EQ(draft.data().text(), "[1]");
    EXPECT_EQ(
        draft_from_json(json::parse(R"({"type":"t"})").get_object(), "other").run_id(), "other"
    );
}

TEST(EventJson, WrongFieldsAreNamed) {
    const std::pair<const char*, const char*> cases[] = {
        {R"({})", "type"},
        {R"({"type":1})", "type"},
        {R"({"type":"t","runId":1})", "runId"},
        {R"({"type":"t","id":1})", "id"},
        {R"({"type":"t","createdAt":1})", "createdAt"},
        {R"({"type":"t","index":-1})", "index"},
        {R"({"type":"t","deliveryAttempt":0})", "deliveryAttempt"},
    };
    for (const auto& [text, name] : cases) {
        try {
            draft_from_json(json::parse(text).get_object(), "r");
            ADD_FAILURE() << text;
        } catch (const boost::system::system_error& e) {
            EXPECT_EQ(e.code(), errc::invalid_argument);
            EXPECT_THAT(e.what(), ::testing::HasSubstr(name));
        }
    }
}

}  // namespace
}  // namespace trunkline
