#include "backends/unix_socket/frames.hpp"
#include "wire/json_parser.hpp"

#include <trunkline/detail/event_access.hpp>
#include <trunkline/errc.hpp>
#include <trunkline/json_text.hpp>
#include <trunkline/tagged.hpp>
#include <trunkline/wall_time.hpp>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <boost/system/system_error.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace trunkline {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using unix_socket::event_text;
using unix_socket::frame;
using unix_socket::frame_kind;
using unix_socket::frame_scanner;
using unix_socket::read_event;

constexpr std::int64_t now_ms = 1'700'000'000'123;
constexpr std::string_view undefined_text = R"({"__m_codec__":"Undefined"})";
constexpr std::string_view fixed_id = "22ad751f-56df-4d18-a88b-0ff8d6f8ca99";

// Frames as the reference writes them.
constexpr std::array<std::string_view, 9> recorded = {
    R"({"type":"subscribe","topic":"t","group":{"__m_codec__":"Undefined"}})",
    R"({"type":"subscribe","topic":"t","group":"g"})",
    R"({"type":"subscribed","topic":"t"})",
    R"({"type":"subscribed","topic":"t","group":"g"})",
    R"({"type":"unsubscribe","topic":"t","group":"g"})",
    R"({"type":"publish","topic":"t","event":{"type":"k","runId":"r","data":{"a":{"__m_codec__":"Undefined"},"b":[{"__m_codec__":"Undefined"},null]}},"localOnly":{"__m_codec__":"Undefined"}})",
    R"({"type":"publish","topic":"t","event":{"type":"k","runId":"r","data":{"__m_codec__":"Map","v":[["a",1],[{"k":1},{"__m_codec__":"Date","v":"1970-01-01T00:00:00.000Z"}],["f",null],["u",{"__m_codec__":"Undefined"}]]}},"localOnly":{"__m_codec__":"Undefined"}})",
    R"({"type":"publish","topic":"t","event":{"type":"k","runId":"r","data":{"__m_codec__":"Error","v":{"name":"TypeError","message":"boom","stack":"STACK","cause":{"name":"Error","message":"inner","stack":"S2"},"code":"E1","when":"1970-01-01T00:00:00.000Z","m":{}}}},"localOnly":{"__m_codec__":"Undefined"}})",
    R"({"type":"event","topic":"t","event":{"type":"x","runId":"r","data":1,"id":"22ad751f-56df-4d18-a88b-0ff8d6f8ca99","createdAt":{"__m_codec__":"Date","v":"2026-11-22T07:04:46.198Z"},"deliveryAttempt":1,"index":3,"zz":1},"group":"g"})",
};

// One of each kind of value that JSON has no word for.
constexpr std::array<std::string_view, 9> tagged_values = {
    R"({"__m_codec__":"Undefined"})",
    R"({"__m_codec__":"Date","v":"2023-11-14T22:13:20.123Z"})",
    R"({"__m_codec__":"BigInt","v":"12345678901234567890"})",
    R"({"__m_codec__":"RegExp","v":{"source":"a\\/b.*","flags":"gi"}})",
    R"({"__m_codec__":"URL","v":"https://ex.com/a%20b?q=%C3%A9"})",
    R"({"__m_codec__":"Map","v":[["k",{"__m_codec__":"Set","v":[]}]]})",
    R"({"__m_codec__":"Set","v":[1,"two"]})",
    R"({"__m_codec__":"Error","v":{"name":"TypeError","message":"boom","stack":"...","cause":{},"code":"E1"}})",
    R"({"__m_codec__":"Class","n":"DefaultStepResult","v":{"content":[]}})",
};

class Scan {
public:
    explicit Scan(std::string line) : line_(std::move(line)), found_(scanner_.scan(line_)) {}
    explicit operator bool() const { return found_ != nullptr; }
    const frame* operator->() const { return found_; }
    const frame& operator*() const { return *found_; }

private:
    std::string line_;
    frame_scanner scanner_;
    const frame* found_;
};

std::string event_line(std::string_view members) {
    return R"({"type":"event","topic":"t","event":{)" + std::string(members) + "}}";
}

std::optional<event> event_of(std::string_view members) {
    const Scan f(event_line(members));
    return f ? read_event(f->event, now_ms) : std::nullopt;
}

std::vector<std::string> kept(const event_text& e) {
    return {e.kept.begin(), e.kept.begin() + static_cast<std::ptrdiff_t>(e.kept_count)};
}

std::string members_of(const event& e) {
    std::string out;
    unix_socket::append_event_members(out, e);
    return out;
}

event draft_event(std::string_view type, std::string_view run_id, payload data) {
    return detail::event_access::freeze(event_draft(type, run_id, std::move(data)), 1);
}

errc error_of_members(const event& e) {
    std::string out = "before";
    try {
        unix_socket::append_event_members(out, e);
    } catch (const boost::system::system_error& problem) {
        EXPECT_EQ(out, "before");
        return static_cast<errc>(problem.code().value());
    }
    return {};
}

// --- frames --------------------------------------------------------------------------------------

TEST(UnixSocketFrames, MembershipFramesOfTheReferenceAreUnderstood) {
    const std::array<frame_kind, 5> kinds = {
        frame_kind::subscribe,
        frame_kind::subscribe,
        frame_kind::subscribed,
        frame_kind::subscribed,
        frame_kind::unsubscribe,
    };
    const std::array<bool, 5> grouped = {false, true, false, true, true};
    for (std::size_t i = 0; i < kinds.size(); ++i) {
        const Scan f{std::string(recorded[i])};
        ASSERT_TRUE(f) << recorded[i];
        EXPECT_EQ(f->kind, kinds[i]);
        EXPECT_EQ(f->topic, R"("t")");
        EXPECT_EQ(f->has_group, grouped[i]);
        EXPECT_EQ(f->group, grouped[i] ? R"("g")" : "");
    }
    const Scan f(R"({"type":"unsubscribed","topic":"t"})");
    ASSERT_TRUE(f);
    EXPECT_EQ(f->kind, frame_kind::unsubscribed);
}

TEST(UnixSocketFrames, PublishFramesOfTheReferenceAreWrittenAgainByteForByte) {
    for (std::size_t i = 5; i < 8; ++i) {
        const Scan f{std::string(recorded[i])};
        ASSERT_TRUE(f) << recorded[i];
        EXPECT_EQ(f->kind, frame_kind::publish);
        EXPECT_FALSE(f->local_only);
        EXPECT_EQ(f->event.type, R"("k")");
        EXPECT_EQ(f->event.run_id, R"("r")");
        EXPECT_EQ(f->event.id, "");
        EXPECT_FALSE(f->event.extra);
        const auto e = read_event(f->event, now_ms);
        ASSERT_TRUE(e);
        const auto again = R"({"type":"publish","topic":"t","event":{)" + members_of(*e) +
                           R"(},"localOnly":)" + std::string(undefined_text) + "}";
        EXPECT_EQ(again, recorded[i]);
    }
}

TEST(UnixSocketFrames, TheEventFrameOfTheReferenceIsReadWhole) {
    const Scan f{std::string(recorded[8])};
    ASSERT_TRUE(f);
    EXPECT_EQ(f->kind, frame_kind::event);
    EXPECT_EQ(f->group, R"("g")");
    EXPECT_TRUE(f->event.extra);
    EXPECT_THAT(
        kept(f->event), ElementsAre(R"("type":"x","runId":"r","data":1)", R"("index":3,"zz":1)")
    );
    const auto e = read_event(f->event, now_ms);
    ASSERT_TRUE(e);
    EXPECT_EQ(e->type(), "x");
    EXPECT_EQ(e->run_id(), "r");
    EXPECT_EQ(e->data().text(), "1");
    EXPECT_EQ(e->id().text(), fixed_id);
    EXPECT_EQ(iso_text(e->created_at()), "2026-11-22T07:04:46.198Z");
    EXPECT_EQ(e->delivery_attempt(), 1);
    EXPECT_EQ(e->index(), 3);
    ASSERT_NE(e->extra(), nullptr);
    EXPECT_EQ(*e->extra(), (boost::json::object{{"zz", 1}}));
}

// What a broker makes of a published event: the kept members and its own three.
TEST(UnixSocketFrames, KeptMembersAndAStampMakeTheEventThatIsSentOn) {
    const Scan f(
        R"({"type":"publish","topic":"t","event":{"type":"x","runId":"r","data":1,"id":"mine","index":3,"deliveryAttempt":9,"zz":1}})"
    );
    ASSERT_TRUE(f);
    std::string out = "{";
    for (const auto& stretch : kept(f->event)) out.append(stretch).push_back(',');
    unix_socket::append_stamp(out, fixed_id, 1'795'331'086'198);
    out.push_back('}');
    EXPECT_EQ(
        out,
        R"({"type":"x","runId":"r","data":1,"index":3,"zz":1,"id":"22ad751f-56df-4d18-a88b-0ff8d6f8ca99","createdAt":{"__m_codec__":"Date","v":"2026-11-22T07:04:46.198Z"},"deliveryAttempt":1})"
    );
}

TEST(UnixSocketFrames, StampsEscapeForeignIdsAndKnowEveryYear) {
    std::string out;
    unix_socket::append_stamp(out, "a\"b", 0);
    EXPECT_EQ(
        out,
        R"("id":"a\"b","createdAt":{"__m_codec__":"Date","v":"1970-01-01T00:00:00.000Z"},"deliveryAttempt":1)"
    );
    out.clear();
    unix_socket::append_stamp(out, "x", 253'402'300'800'000);
    EXPECT_THAT(out, ::testing::HasSubstr(R"("v":"+010000-01-01T00:00:00.000Z")"));
}

TEST(UnixSocketFrames, LinesThatAreNoObjectAreIgnored) {
    for (const auto* line :
         {"",
          " ",
          "1",
          "null",
          "\"x\"",
          "[]",
          "[{\"type\":\"subscribe\",\"topic\":\"t\"}]",
          "{",
          "{}}",
          "hello",
          R"({"type":"subscribe","topic":"t"} x)",
          R"({"type":"subscribe","topic":"t",})",
          R"({'type':'subscribe','topic':'t'})",
          "\xef\xbb\xbf{\"type\":\"subscribe\",\"topic\":\"t\"}"})
        EXPECT_FALSE(Scan(line)) << line;
}

TEST(UnixSocketFrames, ATypeIsAString) {
    for (const auto* line :
         {"{}",
          R"({"topic":"t"})",
          R"({"type":1,"topic":"t"})",
          R"({"type":null,"topic":"t"})",
          R"({"type":["subscribe"],"topic":"t"})"})
        EXPECT_FALSE(Scan(line)) << line;
}

TEST(UnixSocketFrames, UnknownTypesAreToldFromExtensions) {
    const auto kind = [](std::string_view type) {
        const Scan f(R"({"type":")" + std::string(type) + R"(","id":"i","x":[1]})");
        EXPECT_TRUE(f) << type;
        return f ? f->kind : frame_kind::event;
    };
    EXPECT_EQ(kind("ack"), frame_kind::unknown);
    EXPECT_EQ(kind("nack"), frame_kind::unknown);
    EXPECT_EQ(kind(""), frame_kind::unknown);
    EXPECT_EQ(kind("Subscribe"), frame_kind::unknown);
    EXPECT_EQ(kind("trunkline"), frame_kind::unknown);
    EXPECT_EQ(kind("trunkline."), frame_kind::extension);
    EXPECT_EQ(kind("trunkline.hello"), frame_kind::extension);
    EXPECT_EQ(kind("trunkline.received"), frame_kind::received);
    EXPECT_EQ(kind("trunkline.confirmed"), frame_kind::confirmed);
}

TEST(UnixSocketFrames, TypesAndNamesMayBeSpelledWithEscapes) {
    const Scan f(R"({"\u0074ype":"sub\u0073cribe","topi\u0063":"t"})");
    ASSERT_TRUE(f);
    EXPECT_EQ(f->kind, frame_kind::subscribe);
    EXPECT_EQ(f->topic, R"("t")");
}

TEST(UnixSocketFrames, AFrameWithoutAStringTopicIsIgnored) {
    for (const auto* kind :
         {"subscribe", "unsubscribe", "subscribed", "unsubscribed", "publish", "event"}) {
        const auto head = R"({"type":")" + std::string(kind) + R"(","event":{"type":"x"})";
        EXPECT_FALSE(Scan(head + "}")) << kind;
        for (const auto* topic :
             {"1", "null", "true", "{}", "[\"t\"]", R"({"__m_codec__":"Undefined"})"})
            EXPECT_FALSE(Scan(head + R"(,"topic":)" + topic + "}")) << kind << topic;
        EXPECT_TRUE(Scan(head + R"(,"topic":"t"})")) << kind;
        EXPECT_TRUE(Scan(head + R"(,"topic":""})")) << kind;
    }
}

TEST(UnixSocketFrames, GroupsThatMeanNone) {
    for (const auto* group :
         {"null",
          R"({"__m_codec__":"Undefined"})",
          R"({ "__m_codec__" : "Undefined" })",
          R"({"__m_codec__":"\u0055ndefined"})",
          R"({"__m_code\u0063__":"Undefined"})",
          R"({"v":1,"__m_codec__":"Undefined"})",
          R"({"__m_codec__":1,"__m_codec__":"Undefined"})"}) {
        const Scan f(R"({"type":"subscribe","topic":"t","group":)" + std::string(group) + "}");
        ASSERT_TRUE(f) << group;
        EXPECT_FALSE(f->has_group) << group;
        EXPECT_EQ(f->group, "") << group;
    }
}

TEST(UnixSocketFrames, GroupsThatAreNoStringsAreNotSupported) {
    for (const auto* group :
         {"1",
          "false",
          "[]",
          "{}",
          R"({"a":"Undefined"})",
          R"({"__m_codec__":"undefined"})",
          R"({"__m_codec__":["Undefined"]})",
          R"({"__m_codec__":"Undefined","__m_codec__":"Date"})",
          R"([{"__m_codec__":"Undefined"}])"})
        EXPECT_FALSE(Scan(R"({"type":"subscribe","topic":"t","group":)" + std::string(group) + "}"))
            << group;
    const Scan empty(R"({"type":"subscribe","topic":"t","group":""})");
    ASSERT_TRUE(empty);
    EXPECT_TRUE(empty->has_group);
    EXPECT_EQ(empty->group, R"("")");
}

TEST(UnixSocketFrames, LocalOnlyIsTrueOrNot) {
    const auto local_only = [](std::string_view value) {
        const Scan f(
            R"({"type":"publish","topic":"t","event":{},"localOnly":)" + std::string(value) + "}"
        );
        EXPECT_TRUE(f) << value;
        return f && f->local_only;
    };
    EXPECT_TRUE(local_only("true"));
    for (const auto* value : {"false", "null", "1", "\"true\"", R"({"__m_codec__":"Undefined"})"})
        EXPECT_FALSE(local_only(value)) << value;
    EXPECT_FALSE(Scan(R"({"type":"publish","topic":"t","event":{}})")->local_only);
}

TEST(UnixSocketFrames, EqualNamesHaveOneSpelling) {
    const auto topic = [](std::string_view text) {
        const Scan f(
            R"({"type":"subscribe","group":)" + std::string(text) + R"(,"topic":)" +
            std::string(text) + "}"
        );
        EXPECT_TRUE(f) << text;
        if (!f) return std::string();
        EXPECT_EQ(f->topic, f->group);
        return std::string(f->topic);
    };
    EXPECT_EQ(topic(R"("a\u002Fb\/c")"), R"("a/b/c")");
    EXPECT_EQ(topic(R"("\u00e9\uD83D\ude00")"), "\"\xc3\xa9\xf0\x9f\x98\x80\"");
    EXPECT_EQ(topic(R"("\u000a\u0022\u005c\u0001")"), R"("\n\"\\\u0001")");
    EXPECT_EQ(topic(R"("\uD800x")"), R"("\ud800x")");
    EXPECT_EQ(topic("\"\xe2\x80\xa8\x7f\""), "\"\xe2\x80\xa8\x7f\"");
    EXPECT_EQ(topic(R"("\u2028")"), "\"\xe2\x80\xa8\"");
}

TEST(UnixSocketFrames, FieldsOfTrunklineMembers) {
    const Scan f(
        R"({"type":"publish","topic":"t","event":{},"id":"abc","createdAt":17,"confirm":42,"resent":true})"
    );
    ASSERT_TRUE(f);
    EXPECT_EQ(f->id, "abc");
    EXPECT_EQ(f->created_at, "17");
    EXPECT_EQ(f->number, 42);
    EXPECT_TRUE(f->resent);
    EXPECT_EQ(Scan(R"({"type":"trunkline.received","number":7})")->number, 7);
    EXPECT_EQ(
        Scan(R"({"type":"trunkline.confirmed","number":9007199254740991})")->number,
        9007199254740991U
    );
}

TEST(UnixSocketFrames, OddFieldsOfTrunklineMembersCountAsAbsent) {
    const auto number = [](std::string_view value) {
        const Scan f(R"({"type":"trunkline.received","number":)" + std::string(value) + "}");
        EXPECT_TRUE(f) << value;
        return f ? f->number : 1;
    };
    for (const auto* odd : {"-1", "1.5", "\"1\"", "null", "9007199254740992", "1e300", "{}"})
        EXPECT_EQ(number(odd), 0) << odd;
    EXPECT_EQ(number("12.0"), 12);
    EXPECT_EQ(number("1e3"), 1000);
    // A field that only another kind has means nothing.
    EXPECT_EQ(Scan(R"({"type":"publish","topic":"t","event":{},"number":5})")->number, 0);
    EXPECT_EQ(Scan(R"({"type":"trunkline.received","confirm":5})")->number, 0);
    const auto id = [](std::string_view value) {
        const Scan f(
            R"({"type":"publish","topic":"t","event":{},"id":)" + std::string(value) + "}"
        );
        return std::string(f->id);
    };
    EXPECT_EQ(id("1"), "");
    EXPECT_EQ(id(R"("a\"b")"), "");
    EXPECT_EQ(id('"' + std::string(128, 'x') + '"'), std::string(128, 'x'));
    EXPECT_EQ(id('"' + std::string(129, 'x') + '"'), "");
}

TEST(UnixSocketFrames, OfEqualNamesTheLastOneCounts) {
    const Scan f(
        R"({"type":"event","type":"publish","topic":1,"topic":"t","group":"g","group":null,)"
        R"("event":{"type":"no","zz":1},"localOnly":true,"localOnly":false,"event":{"type":"a","type":"b","data":1,"data":2,"index":1,"index":2}})"
    );
    ASSERT_TRUE(f);
    EXPECT_EQ(f->kind, frame_kind::publish);
    EXPECT_EQ(f->topic, R"("t")");
    EXPECT_FALSE(f->has_group);
    EXPECT_FALSE(f->local_only);
    EXPECT_FALSE(f->event.extra);
    const auto e = read_event(f->event, now_ms);
    ASSERT_TRUE(e);
    EXPECT_EQ(e->type(), "b");
    EXPECT_EQ(e->data().text(), "2");
    EXPECT_EQ(e->index(), 2);
    EXPECT_FALSE(Scan(R"({"type":"publish","topic":"t","event":{"type":"a"},"event":5})"));
    EXPECT_TRUE(Scan(R"({"type":"publish","topic":"t","event":5,"event":{"type":"a"}})"));
}

TEST(UnixSocketFrames, AFrameWithoutAnEventObjectIsIgnored) {
    for (const auto* kind : {"publish", "event"}) {
        const auto head = R"({"type":")" + std::string(kind) + R"(","topic":"t")";
        EXPECT_FALSE(Scan(head + "}"));
        for (const auto* e : {"1", "null", "\"abc\"", "[]", "[{}]", "true"})
            EXPECT_FALSE(Scan(head + R"(,"event":)" + e + "}")) << e;
        EXPECT_TRUE(Scan(head + R"(,"event":{}})"));
    }
}

TEST(UnixSocketFrames, PrototypeKeysAreNotThere) {
    const Scan f(
        R"({"__proto__":{"type":"x"},"type":"publish","topic":"t","event":{"__proto__":1,"type":"a","\u005f_proto__":2,"zz":3}})"
    );
    ASSERT_TRUE(f);
    EXPECT_THAT(kept(f->event), ElementsAre(R"("type":"a")", R"("zz":3)"));
    const auto e = read_event(f->event, now_ms);
    ASSERT_TRUE(e);
    EXPECT_EQ(*e->extra(), (boost::json::object{{"zz", 3}}));
    const Scan only(event_line(R"("type":"a","__proto__":{"b":1})"));
    EXPECT_FALSE(only->event.extra);
    EXPECT_EQ(read_event(only->event, now_ms)->extra(), nullptr);
}

TEST(UnixSocketFrames, KeptMembersAreStretchesOfTheLine) {
    const auto stretches = [](std::string_view members) {
        const Scan f(event_line(members));
        return f ? kept(f->event) : std::vector<std::string>{"ignored"};
    };
    EXPECT_THAT(stretches(""), IsEmpty());
    EXPECT_THAT(stretches(R"("id":1,"createdAt":2,"deliveryAttempt":3)"), IsEmpty());
    EXPECT_THAT(
        stretches(R"( "type" : "a" , "b" : [ 1 ] , "id":1 )"),
        ElementsAre(R"("type" : "a" , "b" : [ 1 ])")
    );
    EXPECT_THAT(
        stretches(R"("a":1,"id":1,"b":2,"id":2,"c":3,"id":3,"d":4)"),
        ElementsAre(R"("a":1)", R"("b":2)", R"("c":3)", R"("d":4)")
    );
    EXPECT_THAT(stretches(R"("a":1,"\u0069d":1,"b":2)"), ElementsAre(R"("a":1)", R"("b":2)"));
}

TEST(UnixSocketFrames, TooManyStretchesBecomeOne) {
    frame_scanner scanner;
    const auto line = event_line(
        R"("a":1,"id":1,"b":2,"id":2,"c":3,"c2":4,"id":3,"d":4,"id":4,"e":5,"f":6,"id":5)"
    );
    const auto* f = scanner.scan(line);
    ASSERT_NE(f, nullptr);
    EXPECT_THAT(kept(f->event), ElementsAre(R"("a":1,"b":2,"c":3,"c2":4,"d":4,"e":5,"f":6)"));
    EXPECT_EQ(f->event.id, "5");
    EXPECT_EQ(
        f->event.object, line.substr(line.find("{\"a\""), line.size() - line.find("{\"a\"") - 1)
    );
    // Nothing of it is left in the next frame.
    const auto next = event_line(R"("a":1)");
    EXPECT_THAT(kept(scanner.scan(next)->event), ElementsAre(R"("a":1)"));
}

TEST(UnixSocketFrames, AScannerForgetsTheLineBefore) {
    frame_scanner scanner;
    ASSERT_NE(
        scanner.scan(
            R"({"type":"publish","topic":"t","group":"g","event":{"type":"x","id":"i"},"localOnly":true,"id":"x","createdAt":1,"confirm":3,"resent":true})"
        ),
        nullptr
    );
    const auto* f = scanner.scan(R"({"type":"publish","topic":"u","event":{}})");
    ASSERT_NE(f, nullptr);
    EXPECT_FALSE(f->has_group);
    EXPECT_EQ(f->group, "");
    EXPECT_FALSE(f->local_only);
    EXPECT_EQ(f->id, "");
    EXPECT_EQ(f->created_at, "");
    EXPECT_EQ(f->number, 0);
    EXPECT_FALSE(f->resent);
    EXPECT_EQ(f->event.type, "");
    EXPECT_EQ(f->event.id, "");
    EXPECT_EQ(scanner.scan(R"({"topic":"u"})"), nullptr);
}

TEST(UnixSocketFrames, ACarriageReturnBeforeTheEndIsWhiteSpace) {
    for (const auto line : recorded) EXPECT_TRUE(Scan(std::string(line) + "\r")) << line;
}

TEST(UnixSocketFrames, DeepFramesAreIgnored) {
    const auto frame_of = [](std::size_t levels) {
        return R"({"type":"publish","topic":"t","event":{"type":"x","data":)" +
               std::string(levels, '[') + std::string(levels, ']') + "}}";
    };
    const Scan deepest(frame_of(payload::depth_max));
    ASSERT_TRUE(deepest);
    const auto e = read_event(deepest->event, now_ms);
    ASSERT_TRUE(e);
    EXPECT_TRUE(e->data().tree().is_array());
    for (const std::size_t levels :
         {payload::depth_max + 1, std::size_t{20000}, std::size_t{100000}})
        EXPECT_FALSE(Scan(frame_of(levels))) << levels;
    EXPECT_FALSE(Scan(
        R"({"type":"publish","topic":"t","event":{"type":"x","data":)" + std::string(100000, '[')
    ));
    EXPECT_FALSE(Scan(
        R"({"type":"subscribe","topic":"t","x":)" + std::string(2000, '[') +
        std::string(2000, ']') + "}"
    ));
}

TEST(UnixSocketFrames, NoPartOfAFrameIsAFrame) {
    for (const auto line : recorded) {
        for (std::size_t cut = 0; cut < line.size(); ++cut)
            EXPECT_FALSE(Scan(std::string(line.substr(0, cut)))) << line.substr(0, cut);
        EXPECT_FALSE(Scan(std::string(line) + std::string(line)));
    }
}

// --- bytes that are no UTF-8 ---------------------------------------------------------------------

TEST(UnixSocketFrames, BrokenCharactersAreReplacedAsDecodersDo) {
    const std::string r = "\xef\xbf\xbd";
    const auto data_of = [](std::string_view bytes) {
        const auto e = event_of(R"("type":"x","data":")" + std::string(bytes) + "\"");
        EXPECT_TRUE(e);
        if (!e) return std::string();
        const auto text = e->data().text();
        return std::string(text.substr(1, text.size() - 2));
    };
    EXPECT_EQ(data_of("a\x80z"), "a" + r + "z");
    EXPECT_EQ(data_of("\xff\xfe"), r + r);
    EXPECT_EQ(data_of("\xc0\xaf"), r + r);                  // overlong
    EXPECT_EQ(data_of("\xe0\x80\xaf"), r + r + r);          // overlong
    EXPECT_EQ(data_of("\xed\xa0\x80"), r + r + r);          // a surrogate
    EXPECT_EQ(data_of("\xf4\x90\x80\x80"), r + r + r + r);  // beyond Unicode
    EXPECT_EQ(data_of("\xe2\x82z"), r + "z");               // one character cut short
    EXPECT_EQ(data_of("\xf0\x9f\x98z"), r + "z");
    EXPECT_EQ(data_of("\xf0\x9fz"), r + "z");
    EXPECT_EQ(data_of("\xf0z"), r + "z");
    EXPECT_EQ(data_of("\xe2\x82\xe2\x82\xac"), r + "\xe2\x82\xac");
    EXPECT_EQ(data_of("\xc3"), r);
    EXPECT_EQ(data_of("\xc3\xa9"), "\xc3\xa9");
}

TEST(UnixSocketFrames, BrokenCharactersInNamesAndTopics) {
    const Scan f("{\"type\":\"subscribe\",\"topic\":\"t\xff\",\"x\xc3\":1}");
    ASSERT_TRUE(f);
    EXPECT_EQ(f->topic, "\"t\xef\xbf\xbd\"");
    EXPECT_FALSE(Scan("{\"type\":\"subscribe\",\"topic\":\"t\"}\xff"));
    EXPECT_FALSE(Scan("{\"type\":\"subscribe\",\"topic\":\"t\"\xe2\x82"));
}

// --- events --------------------------------------------------------------------------------------

TEST(UnixSocketEvents, TaggedValuesPassThroughInBothDirections) {
    for (const auto value : tagged_values) {
        for (const auto& text :
             {std::string(value),
              "[" + std::string(value) + "]",
              R"({"k":)" + std::string(value) + "}"}) {
            if (text == undefined_text) continue;
            const auto members = members_of(draft_event("x", "r", payload::from_json_text(text)));
            EXPECT_EQ(members, R"("type":"x","runId":"r","data":)" + text);
            const auto from_tree =
                members_of(draft_event("x", "r", payload(wire::parse_json(text, 10))));
            EXPECT_EQ(from_tree, members);
            const auto e = event_of(members);
            ASSERT_TRUE(e) << text;
            EXPECT_EQ(e->data().text(), text);
        }
    }
}

TEST(UnixSocketEvents, ValuesThatNoDecoderUnderstandsPassThroughToo) {
    for (const auto* text :
         {R"({"__m_codec__":"Date","v":"no date"})",
          R"({"__m_codec__":"Date","v":null})",
          R"({"__m_codec__":"BigInt","v":"12x"})",
          R"({"__m_codec__":"Map","v":[1]})",
          R"({"__m_codec__":"Class","n":"Unheard"})",
          R"({"__m_codec__":"Other","v":1})",
          R"({"__m_codec__":7})",
          R"("\ud800")",
          "1.50",
          "-0",
          "1e400",
          "12345678901234567890",
          R"({"a":1,"a":2})"}) {
        const auto e = event_of(R"("type":"x","data":)" + std::string(text));
        ASSERT_TRUE(e) << text;
        EXPECT_EQ(e->data().text(), text);
        EXPECT_EQ(members_of(*e), R"("type":"x","runId":"","data":)" + std::string(text));
    }
}

TEST(UnixSocketEvents, DataMayBeAbsent) {
    for (const auto* members :
         {R"("type":"x")",
          R"("type":"x","data":{"__m_codec__":"Undefined"})",
          R"("type":"x","data":{ "__m_codec__" : "Undefined" })",
          R"("type":"x","data":{"__m_codec__":"\u0055ndefined"})"}) {
        const auto e = event_of(members);
        ASSERT_TRUE(e) << members;
        EXPECT_TRUE(e->data().absent()) << members;
    }
    EXPECT_EQ(event_of(R"("type":"x","data":null)")->data().text(), "null");
    EXPECT_EQ(event_of(R"("type":"x","data":"Undefined")")->data().text(), R"("Undefined")");
    EXPECT_FALSE(event_of(R"("type":"x","data":{"a":{"__m_codec__":"Undefined"}})")->data().absent()
    );
    EXPECT_EQ(
        members_of(draft_event("x", "r", {})),
        R"("type":"x","runId":"r","data":{"__m_codec__":"Undefined"})"
    );
}

TEST(UnixSocketEvents, ATypeIsANonEmptyString) {
    for (const auto* members :
         {"", R"("runId":"r")", R"("type":"")", R"("type":1)", R"("type":null)", R"("type":{})"})
        EXPECT_FALSE(event_of(members)) << members;
    EXPECT_EQ(event_of(R"("type":"a\u00e9\n")")->type(), "a\xc3\xa9\n");
}

TEST(UnixSocketEvents, ARunIdThatIsNoStringIsEmpty) {
    for (const auto* run_id : {"1", "null", R"({"__m_codec__":"Undefined"})", R"("")"})
        EXPECT_EQ(event_of(R"("type":"x","runId":)" + std::string(run_id))->run_id(), "") << run_id;
    EXPECT_EQ(event_of(R"("type":"x","runId":"a\/b")")->run_id(), "a/b");
}

TEST(UnixSocketEvents, EventsAreStamped) {
    auto draft = event_draft::forward(*event_of(R"("type":"x","id":"a","index":1)"));
    EXPECT_TRUE(detail::event_access::is_stamped(draft));
    const auto e = *event_of(R"("type":"x","index":1)");
    EXPECT_EQ(detail::event_access::generation(e), 0);
}

TEST(UnixSocketEvents, IdsAreKeptOrMade) {
    const auto id = [](std::string_view value) {
        return event_of(R"("type":"x","id":)" + std::string(value))->id();
    };
    EXPECT_EQ(id('"' + std::string(fixed_id) + '"').text(), fixed_id);
    EXPECT_EQ(id(R"("order-7")").text(), "order-7");
    EXPECT_EQ(id(R"("a\u0062\"")").text(), "ab\"");
    for (const auto* odd : {"1", "null", "{}", R"("")"}) {
        EXPECT_FALSE(id(odd).is_nil()) << odd;
        EXPECT_NE(id(odd), id(odd)) << odd;
    }
    EXPECT_FALSE(event_of(R"("type":"x")")->id().is_nil());
}

TEST(UnixSocketEvents, TimesAreReadOrNow) {
    const auto time = [](std::string_view value) {
        return iso_text(event_of(R"("type":"x","createdAt":)" + std::string(value))->created_at());
    };
    EXPECT_EQ(
        time(R"({"__m_codec__":"Date","v":"2026-11-22T07:04:46.198Z"})"), "2026-11-22T07:04:46.198Z"
    );
    EXPECT_EQ(
        time(R"( { "__m_codec__" : "Date", "v" : "2026-11-22T07:04:46.198Z" })"),
        "2026-11-22T07:04:46.198Z"
    );
    EXPECT_EQ(
        time(R"({"v":"2026-11-22T07:04:46Z","__m_codec__":"Date"})"), "2026-11-22T07:04:46.000Z"
    );
    EXPECT_EQ(
        time(R"({"__m_codec__":"Date","v":"+012026-11-22T07:04:46.198Z"})"),
        "+012026-11-22T07:04:46.198Z"
    );
    EXPECT_EQ(time(R"("2026-11-22T07:04:46.198Z")"), "2026-11-22T07:04:46.198Z");
    EXPECT_EQ(time(R"("2026\u002d11-22T07:04:46.198Z")"), "2026-11-22T07:04:46.198Z");
    const auto now = iso_text(wall_time{std::chrono::milliseconds{now_ms}});
    for (const auto* odd :
         {"1",
          "null",
          "[]",
          "{}",
          R"("")",
          R"("yesterday")",
          R"({"__m_codec__":"Date"})",
          R"({"__m_codec__":"Date","v":"no"})",
          R"({"__m_codec__":"Date","v":"2026-13-22T07:04:46.198Z"})",
          R"({"__m_codec__":"Date","v":7})",
          R"({"__m_codec__":"Undefined"})",
          R"({"__m_codec__":"Date","v":"\ud800"})"})
        EXPECT_EQ(time(odd), now) << odd;
    EXPECT_EQ(iso_text(event_of(R"("type":"x")")->created_at()), now);
}

TEST(UnixSocketEvents, AttemptsCountFromOne) {
    const auto attempt = [](std::string_view value) {
        return event_of(R"("type":"x","deliveryAttempt":)" + std::string(value))
            ->delivery_attempt();
    };
    EXPECT_EQ(attempt("1"), 1);
    EXPECT_EQ(attempt("7"), 7);
    EXPECT_EQ(attempt("4294967295"), 4294967295U);
    EXPECT_EQ(attempt("3.0"), 3);
    for (const auto* odd : {"0", "-1", "1.5", "4294967296", "1e300", "null", "\"2\"", "[]"})
        EXPECT_EQ(attempt(odd), 1) << odd;
    EXPECT_EQ(event_of(R"("type":"x")")->delivery_attempt(), 1);
}

TEST(UnixSocketEvents, IndexesAreExactIntegers) {
    const auto index = [](std::string_view value) {
        return event_of(R"("type":"x","index":)" + std::string(value))->index();
    };
    EXPECT_EQ(index("0"), 0);
    EXPECT_EQ(index("-0"), 0);
    EXPECT_EQ(index("9007199254740991"), 9007199254740991U);
    EXPECT_EQ(index("2e1"), 20);
    for (const auto* odd :
         {"-1", "0.5", "9007199254740992", "18446744073709551616", "1e999", "null", "\"1\"", "{}"})
        EXPECT_EQ(index(odd), std::nullopt) << odd;
    EXPECT_EQ(event_of(R"("type":"x")")->index(), std::nullopt);
}

TEST(UnixSocketEvents, OtherFieldsTravelOn) {
    const auto e = event_of(
        R"("a":{"b":[1,2.5]},"type":"x","runId":"r","index":5,"\u0063":"d","__proto__":1,"a":7)"
    );
    ASSERT_TRUE(e);
    ASSERT_NE(e->extra(), nullptr);
    EXPECT_EQ(*e->extra(), (boost::json::object{{"a", 7}, {"c", "d"}}));
    EXPECT_EQ(
        members_of(*e),
        R"("type":"x","runId":"r","data":{"__m_codec__":"Undefined"},"a":7,"c":"d","index":5)"
    );
}

TEST(UnixSocketEvents, AFieldThatNoTreeCanHoldDoesNotCostTheEvent) {
    const auto e = event_of(R"("type":"x","data":"\ud800","bad":"\udfff","good":1)");
    ASSERT_TRUE(e);
    EXPECT_EQ(e->data().text(), R"("\ud800")");
    EXPECT_EQ(*e->extra(), (boost::json::object{{"good", 1}}));
}

TEST(UnixSocketEvents, PrototypeKeysAreDroppedAtEveryDepth) {
    const auto data = [](std::string_view text) {
        const auto e = event_of(R"("type":"x","data":)" + std::string(text));
        EXPECT_TRUE(e) << text;
        return e ? std::string(e->data().text()) : std::string();
    };
    EXPECT_EQ(data(R"({"b":1,"__proto__":{"x":1},"a":2,"c":3})"), R"({"b":1,"a":2,"c":3})");
    EXPECT_EQ(data(R"([{"a":[{"__proto__":1}]}])"), R"([{"a":[{}]}])");
    EXPECT_EQ(data(R"({"\u005F_proto__":1,"a":"__proto__"})"), R"({"a":"__proto__"})");
    EXPECT_EQ(data(R"("\u005c")"), R"("\\")");
    const auto e = event_of(R"("type":"x","zz":{"__proto__":1,"y":2})");
    EXPECT_EQ(*e->extra(), (boost::json::object{{"zz", {{"y", 2}}}}));
}

TEST(UnixSocketEvents, EverythingWrittenIsReadBack) {
    auto draft = event_draft("t\"y\n", "r\xc3\xa9", payload::from_json_text("[1]"));
    draft = std::move(draft).extra("e x", {{"y", nullptr}}).index(12);
    const auto written = detail::event_access::freeze(std::move(draft), 1);
    const auto e = event_of(members_of(written));
    ASSERT_TRUE(e);
    EXPECT_EQ(e->type(), written.type());
    EXPECT_EQ(e->run_id(), written.run_id());
    EXPECT_EQ(e->data().text(), "[1]");
    EXPECT_EQ(*e->extra(), *written.extra());
    EXPECT_EQ(e->index(), 12);
}

TEST(UnixSocketEvents, LoneSurrogatesAreWrittenBackTheSameWay) {
    const auto e = event_of(R"("type":"a\ud800","runId":"\udc00","data":["\ud801"])");
    ASSERT_TRUE(e);
    EXPECT_EQ(members_of(*e), R"("type":"a\ud800","runId":"\udc00","data":["\ud801"])");
}

TEST(UnixSocketEvents, ALivePayloadCannotBeWritten) {
    const auto live = payload::live(std::make_shared<const int>(5));
    EXPECT_EQ(error_of_members(draft_event("x", "r", live)), errc::not_supported);
}

TEST(UnixSocketEvents, APayloadTextThatIsNoJsonIsRefused) {
    const std::string deep(payload::depth_max + 1, '[');
    for (const auto& text :
         {std::string(),
          std::string(" "),
          std::string("{"),
          std::string("1 2"),
          std::string("nope"),
          std::string(R"(1},"topic":"other","event":{"type":"x")"),
          deep + std::string(deep.size(), ']')})
        EXPECT_EQ(
            error_of_members(draft_event("x", "r", payload::from_json_text(text))),
            errc::protocol_error
        ) << text.substr(0, 50);
}

TEST(UnixSocketEvents, LineBreaksInAPayloadTextDoNotEndTheFrame) {
    const auto e = draft_event("x", "r", payload::from_json_text("{\n\t\"a\" :\r\n[1,\n2]}\n"));
    const auto members = members_of(e);
    EXPECT_EQ(members, "\"type\":\"x\",\"runId\":\"r\",\"data\":{ \t\"a\" :\r [1, 2]} ");
    EXPECT_EQ(event_of(members)->data().tree(), e.data().tree());
}

TEST(UnixSocketEvents, MutatedFramesNeverHarm) {
    std::mt19937 random(5);
    frame_scanner scanner;
    int understood = 0;
    for (int round = 0; round < 20000; ++round) {
        std::string line(recorded[random() % recorded.size()]);
        for (auto edits = 1 + random() % 3; edits > 0; --edits) {
            const auto at = random() % line.size();
            if (random() % 2 == 0)
                line[at] = static_cast<char>(random());
            else
                line.insert(at, line.substr(random() % line.size(), random() % 12));
        }
        const auto* f = scanner.scan(line);
        if (f == nullptr) continue;
        ++understood;
        const auto e = read_event(f->event, now_ms);
        if (!e || line.find("__proto__") != std::string::npos) continue;
        const auto again = event_of(members_of(*e));
        ASSERT_TRUE(again) << line;
        EXPECT_EQ(again->data().text(), e->data().text());
        EXPECT_EQ(again->type(), e->type());
    }
    EXPECT_GT(understood, 1000);
}

}  // namespace
}  // namespace trunkline
