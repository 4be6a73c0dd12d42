#include <trunkline/errc.hpp>
#include <trunkline/event.hpp>
#include <trunkline/payload.hpp>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <boost/system/system_error.hpp>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <type_traits>

namespace trunkline {
namespace {

namespace json = boost::json;

json::value nested(std::size_t levels) {
    json::value value;
    for (std::size_t i = 0; i < levels; ++i) {
        json::array outer;
        outer.push_back(std::move(value));
        value = std::move(outer);
    }
    return value;
}

TEST(Payload, AbsentIsNotNull) {
    const payload nothing;
    const payload null{json::value(nullptr)};
    EXPECT_TRUE(nothing.absent());
    EXPECT_EQ(nothing.text(), "");
    EXPECT_TRUE(nothing.tree().is_null());
    EXPECT_FALSE(null.absent());
    EXPECT_EQ(null.text(), "null");
}

TEST(Payload, FacesAreMadeOnceAndShared) {
    const payload p{json::value(json::object{{"a", 1}})};
    const auto copy = p;
    EXPECT_EQ(p.text(), R"({"a":1})");
    EXPECT_EQ(p.text().data(), copy.text().data());
    const auto q = payload::from_json_text(R"({"a":1})");
    EXPECT_EQ(&q.tree(), &payload(q).tree());
    EXPECT_EQ(q.tree().at("a").as_int64(), 1);
    EXPECT_TRUE(same(p, copy));
    EXPECT_FALSE(same(p, q));
}

TEST(Payload, TextIsReturnedAsItCame) {
    EXPECT_EQ(payload::from_json_text(" {\"n\":1.0} ").text(), " {\"n\":1.0} ");
}

TEST(Payload, BadTextIsReportedWithItsOffsetEveryTime) {
    const auto p = payload::from_json_text(R"({"a":tru})");
    for (int i = 0; i < 2; ++i) {
        try {
            p.tree();
            FAIL();
        } catch (const boost::system::system_error& e) {
            EXPECT_EQ(e.code(), errc::protocol_error);
            EXPECT_THAT(e.what(), ::testing::HasSubstr("at byte 5"));
        }
    }
    EXPECT_THROW(payload::from_json_text("").tree(), boost::system::system_error);
    EXPECT_THROW(payload::from_json_text("{} x").tree(), boost::system::system_error);
    EXPECT_EQ(p.text(), R"({"a":tru})");
}

TEST(Payload, DepthIsLimited) {
    EXPECT_NO_THROW(payload{nested(payload::depth_max)});
    try {
        payload{nested(payload::depth_max + 1)};
        FAIL();
    } catch (const std::invalid_argument& e) {
        EXPECT_THAT(e.what(), ::testing::HasSubstr("1000"));
    }
    const auto text = [](std::size_t n) { return std::string(n, '[') + std::string(n, ']'); };
    EXPECT_NO_THROW(payload::from_json_text(text(payload::depth_max)).tree());
    EXPECT_THROW(payload::from_json_text(text(20'000)).tree(), boost::system::system_error);
}

TEST(Payload, LiveObjectsHaveNoOtherFace) {
    const auto object = std::make_shared<const std::string>("engine");
    const auto p = payload::live(object);
    EXPECT_EQ(p.live_as<std::string>(), object.get());
    EXPECT_EQ(p.live_as<int>(), nullptr);
    EXPECT_TRUE(p.is_live());
    for (const auto& face :
         {+[](const payload& x) { x.text(); }, +[](const payload& x) { x.tree(); }}) {
        try {
            face(p);
            FAIL();
        } catch (const boost::system::system_error& e) {
            EXPECT_EQ(e.code(), errc::not_supported);
        }
    }
    EXPECT_EQ(payload{}.live_as<std::string>(), nullptr);
}

TEST(EventDraft, IsNeitherAnAggregateNorCopyable) {
    static_assert(!std::is_aggregate_v<event_draft>);
    static_assert(!std::is_copy_constructible_v<event_draft>);
    static_assert(std::is_nothrow_move_constructible_v<event_draft>);
    static_assert(sizeof(event) == 16);
}

TEST(EventDraft, CloneSharesThePayloadOnly) {
    auto first = event_draft("t", "r", payload::from_json_text("{}")).extra("k", 1);
    auto second = first.clone().extra("k", 2);
    EXPECT_TRUE(same(first.data(), second.data()));
    EXPECT_EQ(first.type(), second.type());
}

TEST(EventDraft, ExtraFieldsCannotTakeAName) {
    for (const auto* name :
         {"type", "data", "runId", "id", "createdAt", "index", "deliveryAttempt"})
        EXPECT_THROW(event_draft("t", "r").extra(name, 1), std::invalid_argument) << name;
}

}  // namespace
}  // namespace trunkline
