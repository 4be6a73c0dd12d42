#pragma once

#include <trunkline/config.hpp>

#include <boost/json/fwd.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <typeinfo>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN

namespace detail {
/// The shared part of a payload; the rest of the block is private to payload.cpp.
struct payload_head {
    std::atomic<std::uint32_t> references{1};
};
TRUNKLINE_EXPORT void destroy_payload(payload_head*) noexcept;
}  // namespace detail

/// The data of an event: a shared, immutable value with up to three faces, each made only when it
/// is asked for and at most once: a JSON tree, JSON text, and a live C++ object that never leaves
/// the process. Copying costs one atomic increment; every member is safe from any thread.
class TRUNKLINE_EXPORT payload {
public:
    /// Deepest nesting of arrays and objects that is accepted.
    static constexpr std::size_t depth_max = 1000;

    /// No data at all: JavaScript's undefined, which is not null.
    payload() noexcept = default;

    /// Takes a JSON tree. Throws std::invalid_argument when it nests deeper than `depth_max`.
    payload(boost::json::value tree);  // NOLINT(google-explicit-constructor)

    /// Takes JSON text; it is copied, not checked: `tree()` reports what is wrong with it.
    static payload from_json_text(std::string_view text);

    /// Takes a live object. Such an event cannot leave the process: `tree()` and `text()` throw.
    template <class T>
    static payload live(std::shared_ptr<const T> object) {
        return live_object(std::move(object), typeid(T));
    }

    payload(const payload& other) noexcept : head_(other.head_) {
        if (head_ != nullptr) head_->references.fetch_add(1, std::memory_order_relaxed);
    }
    payload(payload&& other) noexcept : head_(std::exchange(other.head_, nullptr)) {}
    payload& operator=(payload other) noexcept {
        std::swap(head_, other.head_);
        return *this;
    }
    ~payload() {
        if (head_ != nullptr && head_->references.fetch_sub(1, std::memory_order_acq_rel) == 1)
            detail::destroy_payload(head_);
    }

    /// True for the default value (undefined).
    bool absent() const noexcept { return head_ == nullptr; }

    /// The JSON tree; null when absent. Numbers are what JavaScript reads: of a text, integers up
    /// to ±(2^53−1) are int64, all others double. Throws boost::system::system_error:
    /// `protocol_error` naming the offset when the text is not JSON or nests too deep,
    /// `not_supported` for a live object.
    const boost::json::value& tree() const;

    /// The JSON text, as JavaScript's JSON.stringify prints it (text given as text is returned as
    /// it came); empty when absent. NaN and infinities are null; integers beyond ±(2^53−1) are
    /// BigInt envelopes. Throws `not_supported` for a live object.
    std::string_view text() const;

    /// The live object, or null when there is none or it is of another type.
    template <class T>
    const T* live_as() const noexcept {
        return static_cast<const T*>(live_pointer(typeid(T)));
    }
    bool is_live() const noexcept;

    /// Memory that byte limits count: the length of the text, or an estimate of the tree's size.
    std::size_t size_bytes() const noexcept;

    /// True when both share one value (identity, not equality).
    friend bool same(const payload& a, const payload& b) noexcept { return a.head_ == b.head_; }

private:
    static payload live_object(std::shared_ptr<const void> object, const std::type_info& type);
    const void* live_pointer(const std::type_info& type) const noexcept;

    detail::payload_head* head_ = nullptr;
};

TRUNKLINE_NAMESPACE_END
