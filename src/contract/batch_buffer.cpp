#include "contract/batch_buffer.hpp"

#include "base/time.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN

bool batch_buffer::push(queued_event item, time_point now) {
    const bool immediate = item.immediate;
    if (!first_queued_) first_queued_ = now;
    events_.push_back(std::move(item));
    const bool past_floor = !floor_ || now >= *floor_;
    if (immediate && past_floor) return true;
    if (events_.size() >= options_.max_buffer_size()) return true;
    const bool sized = options_.max_size() && events_.size() >= *options_.max_size();
    if (sized && past_floor) return true;
    if (immediate || sized) {
        arm(*floor_);
    } else if (options_.max_wait()) {
        const auto deadline = base::saturating_add(*first_queued_, *options_.max_wait());
        arm(floor_ ? std::max(deadline, *floor_) : deadline);
    }
    return false;
}

std::vector<queued_event> batch_buffer::begin_flush() {
    first_queued_.reset();
    armed_.reset();
    return std::exchange(events_, {});
}

batch_buffer::choice batch_buffer::choose(std::vector<queued_event> snapshot) const {
    choice result;
    if (options_.coalesce()) {
        std::vector<event> given;
        given.reserve(snapshot.size());
        for (const auto& item : snapshot) given.push_back(item.e);
        const auto kept = options_.coalesce()(std::move(given));
        // The answer must be a subset by identity, in order: one pass with two fingers.
        auto wanted = kept.begin();
        for (auto& item : snapshot) {
            if (wanted != kept.end() && *wanted && same(*wanted, item.e)) {
                result.deliver.push_back(std::move(item));
                ++wanted;
            } else {
                result.coalesced.push_back(std::move(item));
            }
        }
        if (wanted != kept.end()) {
            result.violation = true;
            for (auto* part : {&result.deliver, &result.coalesced}) {
                std::move(part->begin(), part->end(), std::back_inserter(result.lost));
                part->clear();
            }
        }
    } else {
        result.deliver = std::move(snapshot);
    }
    overflow(result.deliver, result.lost);
    return result;
}

void batch_buffer::end_flush(time_point now) {
    floor_ = base::saturating_add(now, options_.min_interval());
    // What was queued meanwhile keeps its place in time.
    if (armed_) armed_ = std::max(*armed_, *floor_);
}

std::vector<queued_event> batch_buffer::shed() {
    std::vector<queued_event> dropped;
    overflow(events_, dropped);
    return dropped;
}

void batch_buffer::arm(time_point when) {
    armed_ = armed_ ? std::min(*armed_, when) : when;
}

void batch_buffer::overflow(std::vector<queued_event>& kept, std::vector<queued_event>& dropped)
    const {
    if (kept.size() <= options_.max_buffer_size()) return;
    auto excess = kept.size() - options_.max_buffer_size();
    const bool newest = options_.overflow() == batch_overflow::drop_newest;
    if (newest) std::reverse(kept.begin(), kept.end());
    std::vector<queued_event> rest;
    rest.reserve(kept.size());
    for (auto& item : kept) {
        const bool drop = excess > 0 && !item.immediate;
        if (drop) --excess;
        (drop ? dropped : rest).push_back(std::move(item));
    }
    if (newest) std::reverse(rest.begin(), rest.end());
    kept = std::move(rest);
}

TRUNKLINE_NAMESPACE_END
