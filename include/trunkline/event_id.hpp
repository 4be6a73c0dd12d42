#pragma once

#include <trunkline/config.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

TRUNKLINE_NAMESPACE_BEGIN

/// The identity of an event: 128 bits, shown as a UUID. An id of a peer that is no canonical UUID
/// keeps its own text. The default value is the nil UUID and means "not assigned".
/// It is not a secret: never use one as a token.
class TRUNKLINE_EXPORT event_id {
public:
    event_id() noexcept = default;
    event_id(std::uint64_t high, std::uint64_t low) noexcept : high_(high), low_(low) {}

    /// Takes any text: canonical lower-case UUIDs are packed, everything else is kept verbatim.
    static event_id from_text(std::string_view text);

    /// A fresh version 4 UUID from a per-thread generator seeded by the system; safe after fork().
    static event_id random() noexcept;

    /// Lower-case UUID text (36 characters), or the peer's own text.
    std::string text() const;

    bool is_nil() const noexcept { return high_ == 0 && low_ == 0 && text_ == nullptr; }
    std::uint64_t high() const noexcept { return high_; }
    std::uint64_t low() const noexcept { return low_; }
    /// The peer's own text, or null when the id is a UUID.
    const std::shared_ptr<const std::string>& foreign_text() const noexcept { return text_; }

    friend bool operator==(const event_id& a, const event_id& b) noexcept {
        if (a.high_ != b.high_ || a.low_ != b.low_) return false;
        if (a.text_ == nullptr || b.text_ == nullptr) return a.text_ == b.text_;
        return *a.text_ == *b.text_;
    }

private:
    std::uint64_t high_ = 0;
    std::uint64_t low_ = 0;  // with a foreign text: its hash in low_, zero in high_
    std::shared_ptr<const std::string> text_;

    friend class event;
};

TRUNKLINE_NAMESPACE_END

template <>
struct std::hash<trunkline::event_id> {
    std::size_t operator()(const trunkline::event_id& id) const noexcept {
        return static_cast<std::size_t>(id.low() ^ (id.high() * 0x9e3779b97f4a7c15ULL));
    }
};
