#pragma once

#include "words.hpp"

#include <trunkline/event.hpp>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <string_view>

// The two kinds of event, and the only place that knows how their data looks.
namespace word_count {

inline constexpr std::string_view lines_topic = "lines";
inline constexpr std::string_view counts_topic = "counts";
inline constexpr std::string_view run_id = "word-count";

/// `{"line":7,"text":"…"}`
inline trunkline::event_draft line_event(std::size_t line, std::string_view text) {
    return {"line", run_id, boost::json::value{{"line", line}, {"text", text}}};
}

/// `{"line":7,"words":{"the":2,…}}`
inline trunkline::event_draft counts_event(std::size_t line, const word_counts& words) {
    boost::json::object object;
    for (const auto& [word, count] : words) object.emplace(word, count);
    return {"counts", run_id, boost::json::value{{"line", line}, {"words", std::move(object)}}};
}

inline std::size_t line_of(const trunkline::event& e) {
    return e.data().tree().as_object().at("line").to_number<std::size_t>();
}

inline std::string_view text_of(const trunkline::event& e) {
    return e.data().tree().as_object().at("text").as_string();
}

inline word_counts words_of(const trunkline::event& e) {
    word_counts words;
    for (const auto& [word, count] : e.data().tree().as_object().at("words").as_object())
        words.emplace(word, count.to_number<std::uint64_t>());
    return words;
}

}  // namespace word_count
