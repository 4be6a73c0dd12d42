#pragma once

#include "watch.hpp"

#include <trunkline/errc.hpp>

#include <atomic>
#include <memory>
#include <utility>

namespace trunkline_cli {

/// The answer to one asynchronous question; shared with the completion, which may come when nobody
/// waits any more. What is beside `arrived` may be read once that is set.
template <class Value>
struct answer {
    std::atomic<bool> arrived{false};
    trunkline::error_code ec;
    Value value{};
};
template <>
struct answer<void> {
    std::atomic<bool> arrived{false};
    trunkline::error_code ec;
};

/// The completion that fills it in and wakes whoever waits with `w`.
template <class Value>
auto answer_to(std::shared_ptr<answer<Value>> to, const watch& w) {
    return [to = std::move(to), &w](trunkline::error_code ec, Value value) {
        to->ec = ec;
        to->value = std::move(value);
        to->arrived.store(true);
        w.wake();
    };
}
inline auto answer_to(std::shared_ptr<answer<void>> to, const watch& w) {
    return [to = std::move(to), &w](trunkline::error_code ec) {
        to->ec = ec;
        to->arrived.store(true);
        w.wake();
    };
}

}  // namespace trunkline_cli
