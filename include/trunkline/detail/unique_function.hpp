#pragma once

#include <trunkline/config.hpp>

#include <cassert>
#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace detail {

template <class Signature, std::size_t Room = 48>
class unique_function;

/// A move-only callable with `Room` bytes in place; larger ones go to the heap. Calling an empty
/// one is a broken precondition.
template <class Result, class... Args, std::size_t Room>
class unique_function<Result(Args...), Room> {
public:
    unique_function() noexcept = default;
    unique_function(std::nullptr_t) noexcept {}

    template <class F>
        requires(!std::is_same_v<std::decay_t<F>, unique_function> && std::is_invocable_r_v<Result, std::decay_t<F>&, Args...>)
    unique_function(F&& f) {
        using callable = std::decay_t<F>;
        if constexpr (fits<callable>()) {
            ::new (static_cast<void*>(room_)) callable(std::forward<F>(f));
            table_ = &in_place<callable>;
        } else {
            ::new (static_cast<void*>(room_)) callable*(new callable(std::forward<F>(f)));
            table_ = &on_heap<callable>;
        }
    }

    unique_function(unique_function&& other) noexcept { take(other); }
    unique_function& operator=(unique_function&& other) noexcept {
        if (this != &other) {
            reset();
            take(other);
        }
        return *this;
    }
    unique_function(const unique_function&) = delete;
    unique_function& operator=(const unique_function&) = delete;
    ~unique_function() { reset(); }

    explicit operator bool() const noexcept { return table_ != nullptr; }

    Result operator()(Args... args) {
        assert(table_ != nullptr);
        return table_->call(room_, std::forward<Args>(args)...);
    }

    void reset() noexcept {
        if (table_ != nullptr) std::exchange(table_, nullptr)->destroy(room_);
    }

private:
    struct table {
        Result (*call)(void*, Args&&...);
        void (*relocate)(void* from, void* to) noexcept;
        void (*destroy)(void*) noexcept;
    };

    template <class F>
    static constexpr bool fits() {
        return sizeof(F) <= Room && alignof(F) <= alignof(std::max_align_t) &&
               std::is_nothrow_move_constructible_v<F>;
    }
    template <class F>
    static constexpr table in_place = {
        [](void* p, Args&&... args) -> Result {
            return std::invoke(*static_cast<F*>(p), std::forward<Args>(args)...);
        },
        [](void* from, void* to) noexcept {
            ::new (to) F(std::move(*static_cast<F*>(from)));
            static_cast<F*>(from)->~F();
        },
        [](void* p) noexcept { static_cast<F*>(p)->~F(); }
    };
    template <class F>
    static constexpr table on_heap = {
        [](void* p, Args&&... args) -> Result {
            return std::invoke(**static_cast<F**>(p), std::forward<Args>(args)...);
        },
        [](void* from, void* to) noexcept { ::new (to) F*(*static_cast<F**>(from)); },
        [](void* p) noexcept { delete *static_cast<F**>(p); }
    };

    void take(unique_function& other) noexcept {
        if (other.table_ == nullptr) return;
        table_ = std::exchange(other.table_, nullptr);
        table_->relocate(other.room_, room_);
    }

    const table* table_ = nullptr;
    alignas(std::max_align_t) std::byte room_[Room < sizeof(void*) ? sizeof(void*) : Room];
};

}  // namespace detail
TRUNKLINE_NAMESPACE_END
