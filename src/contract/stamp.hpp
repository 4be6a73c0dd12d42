#pragma once

#include "base/random.hpp"
#include "base/time.hpp"

#include <trunkline/clock.hpp>
#include <trunkline/detail/event_access.hpp>
#include <trunkline/event.hpp>
#include <trunkline/options.hpp>

#include <functional>

TRUNKLINE_NAMESPACE_BEGIN

/// Gives a draft what it lacks: a fresh id and the time, unless it was stamped before or brings its
/// own and `options` say to keep them. `time` null: the system's clock, read directly.
inline void stamp_draft(
    event_draft& draft,
    const publish_options& options,
    const clock* time,
    const std::function<event_id()>& id_source
) {
    using access = detail::event_access;
    if (access::is_stamped(draft)) return;
    const bool keep = options.keep_identity();
    if (!keep || !access::has_identity(draft)) {
        if (id_source) {
            access::set_id(draft, id_source());
        } else {
            const auto bits = base::fresh_uuid();
            access::set_random_id(draft, bits.high, bits.low);
        }
    }
    if (!keep || !access::has_time(draft))
        access::set_time(draft, time == nullptr ? base::system_wall() : time->wall());
    access::mark_stamped(draft);
}

TRUNKLINE_NAMESPACE_END
