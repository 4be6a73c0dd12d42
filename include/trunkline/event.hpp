#pragma once

#include <trunkline/config.hpp>
#include <trunkline/event_id.hpp>
#include <trunkline/payload.hpp>
#include <trunkline/wall_time.hpp>

#include <boost/json/fwd.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN

namespace detail {

struct event_extension;
struct event_access;

/// What all handles of one event share. Type and run id follow behind it in the same block.
struct event_body {
    static constexpr std::uint64_t no_index = UINT64_MAX;

    std::atomic<std::uint32_t> references{1};
    std::uint32_t generation = 0;  // which life of a retained log the index belongs to; 0: none
    std::uint64_t id_high = 0;
    std::uint64_t id_low = 0;
    std::int64_t created_at_ms = 0;
    std::uint64_t index = no_index;
    payload data;
    event_extension* extension = nullptr;
    std::uint32_t type_size = 0;
    std::uint32_t run_id_size = 0;

    const char* text() const noexcept { return reinterpret_cast<const char*>(this + 1); }
};
static_assert(sizeof(event_body) == 64);

TRUNKLINE_EXPORT void destroy_event(event_body*) noexcept;
TRUNKLINE_EXPORT std::size_t extension_bytes(const event_body&) noexcept;

}  // namespace detail

/// One published event: a 16-byte immutable handle (shared body and delivery attempt). Copying
/// costs one atomic increment. Views live as long as this handle. A default-constructed or
/// moved-from handle is empty: only assignment, destruction and `operator bool` are allowed.
class TRUNKLINE_EXPORT event {
public:
    event() noexcept = default;
    event(const event& other) noexcept : body_(other.body_), attempt_(other.attempt_) {
        if (body_ != nullptr) body_->references.fetch_add(1, std::memory_order_relaxed);
    }
    event(event&& other) noexcept
        : body_(std::exchange(other.body_, nullptr)), attempt_(other.attempt_) {}
    event& operator=(event other) noexcept {
        std::swap(body_, other.body_);
        attempt_ = other.attempt_;
        return *this;
    }
    ~event() {
        if (body_ != nullptr && body_->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
            detail::destroy_event(body_);
    }

    explicit operator bool() const noexcept { return body_ != nullptr; }

    /// What happened; never empty. UTF-8.
    std::string_view type() const noexcept { return {body_->text(), body_->type_size}; }
    /// Which run, thread or stream it belongs to; never empty. UTF-8.
    std::string_view run_id() const noexcept {
        return {body_->text() + body_->type_size, body_->run_id_size};
    }
    /// Assigned by the bus at publish.
    event_id id() const;
    /// Assigned by the bus at publish; UTC, milliseconds.
    wall_time created_at() const noexcept {
        return wall_time{std::chrono::milliseconds{body_->created_at_ms}};
    }
    /// Position in the topic's retained history, when a replay decorator keeps one.
    std::optional<std::uint64_t> index() const noexcept {
        if (body_->index == detail::event_body::no_index) return std::nullopt;
        return body_->index;
    }
    /// Which life of which retained log the index counts in (`logGeneration` on a wire); empty when
    /// nobody said. Publishers set it with `event_draft::extra`.
    std::string_view log_generation() const noexcept;
    const payload& data() const noexcept { return body_->data; }
    /// Fields beyond the ones named here; they travel on unchanged. Null when there are none.
    const boost::json::object* extra() const noexcept;
    /// 1 on the first delivery.
    std::uint32_t delivery_attempt() const noexcept { return attempt_; }
    /// The same event with another attempt number; shares the body.
    event with_attempt(std::uint32_t attempt) const noexcept {
        auto copy = *this;
        copy.attempt_ = attempt;
        return copy;
    }
    /// Memory that byte limits count.
    std::size_t size_bytes() const noexcept {
        return sizeof(detail::event_body) + body_->type_size + body_->run_id_size +
               body_->data.size_bytes() +
               (body_->extension != nullptr ? detail::extension_bytes(*body_) : 0);
    }

    /// True when both handles show one published event (identity of the body, any attempt).
    friend bool same(const event& a, const event& b) noexcept { return a.body_ == b.body_; }

private:
    friend struct detail::event_access;
    friend class event_draft;
    friend class delivery;

    // A delivery that only looks at its event neither counts nor releases it.
    struct unowned {};
    event(const event& other, unowned) noexcept : body_(other.body_), attempt_(other.attempt_) {}
    void abandon() noexcept { body_ = nullptr; }

    detail::event_body* body_ = nullptr;
    std::uint32_t attempt_ = 1;
};
static_assert(sizeof(event) == 16);

/// An event that is not published yet: the sole owner of its body. Move-only; publishing freezes
/// it. A moved-from draft may only be assigned to or destroyed.
class TRUNKLINE_EXPORT event_draft {
public:
    /// `type` and `run_id` must be non-empty UTF-8; publish answers `invalid_argument` otherwise.
    event_draft(std::string_view type, std::string_view run_id, payload data = {});
    event_draft(event_draft&&) noexcept = default;
    event_draft& operator=(event_draft&&) noexcept = default;
    ~event_draft() = default;

    /// Position for buses that pass an index through; a replay decorator overwrites it.
    event_draft&& index(std::uint64_t position) &&;
    /// A field beyond the named ones. Throws std::invalid_argument for a value that nests deeper
    /// than `payload::depth_max`, and for a name that the event already has (`type`, `data`,
    /// `runId`, `id`, `createdAt`, `index`, `deliveryAttempt`).
    event_draft&& extra(std::string_view name, boost::json::value value) &&;
    /// Identity, respected only with `publish_options::keep_identity`.
    event_draft&& id(const event_id& id) &&;
    event_draft&& created_at(wall_time time) &&;
    /// Respected by backends whose spec page says so; in process every publish starts at 1.
    event_draft&& delivery_attempt(std::uint32_t attempt) &&;

    std::string_view type() const noexcept { return event_.type(); }
    std::string_view run_id() const noexcept { return event_.run_id(); }
    const payload& data() const noexcept { return event_.data(); }

    /// A second draft with the same content; the payload is shared.
    event_draft clone() const;

    /// Publishes an event again as it is: id, time, index and body are kept (bridges, decorators).
    /// A setter on the result copies the body first.
    static event_draft forward(event e) noexcept { return event_draft{std::move(e), true}; }

private:
    friend struct detail::event_access;
    event_draft(event e, bool stamped) noexcept : event_(std::move(e)), stamped_(stamped) {}
    void own();

    event event_;
    bool stamped_ = false;  // id and time are final
};

TRUNKLINE_NAMESPACE_END
