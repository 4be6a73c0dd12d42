#pragma once

#include <trunkline/event.hpp>

#include <cstdint>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace detail {

/// The door through which backends and decorators stamp drafts. Not for applications.
struct event_access {
    static bool is_stamped(const event_draft& draft) noexcept { return draft.stamped_; }
    static bool has_identity(const event_draft& draft) noexcept {
        const auto& body = *draft.event_.body_;
        return body.id_high != 0 || body.id_low != 0;
    }
    static bool has_time(const event_draft& draft) noexcept {
        return draft.event_.body_->created_at_ms != 0;
    }
    /// Sets id and time; the draft must not be stamped yet.
    TRUNKLINE_EXPORT static void set_id(event_draft& draft, const event_id& id);
    static void set_random_id(event_draft& draft, std::uint64_t high, std::uint64_t low) noexcept {
        auto& body = *draft.event_.body_;
        body.id_high = high;
        body.id_low = low;
        if (body.extension != nullptr) forget_foreign_id(body);
    }
    static void set_time(event_draft& draft, wall_time time) noexcept {
        draft.event_.body_->created_at_ms = time.time_since_epoch().count();
    }
    static void mark_stamped(event_draft& draft) noexcept { draft.stamped_ = true; }
    /// Index and generation of a retained log; copies the body when it is shared already.
    TRUNKLINE_EXPORT static void set_index(
        event_draft& draft, std::uint64_t index, std::uint32_t generation
    );
    /// Copies the body when it is shared already.
    static void clear_index(event_draft& draft) { set_index(draft, event_body::no_index, 0); }
    static std::uint32_t generation(const event& e) noexcept { return e.body_->generation; }
    static const event& peek(const event_draft& draft) noexcept { return draft.event_; }
    static std::uint32_t attempt(const event_draft& draft) noexcept {
        return draft.event_.attempt_;
    }
    /// Ends the draft: a pointer move.
    static event freeze(event_draft&& draft, std::uint32_t attempt) noexcept {
        draft.event_.attempt_ = attempt;
        return std::move(draft.event_);
    }

private:
    TRUNKLINE_EXPORT static void forget_foreign_id(event_body& body) noexcept;
};

}  // namespace detail
TRUNKLINE_NAMESPACE_END
