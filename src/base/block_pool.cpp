#include "base/block_pool.hpp"

#include <array>
#include <mutex>
#include <new>
#include <utility>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TRUNKLINE_PLAIN_BLOCKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define TRUNKLINE_PLAIN_BLOCKS 1
#endif
#endif

TRUNKLINE_NAMESPACE_BEGIN
namespace base {

#ifdef TRUNKLINE_PLAIN_BLOCKS

// Recycling would hide use after free.
void* take_block(std::size_t bytes) {
    return ::operator new(bytes);
}
void give_block(void* block, std::size_t bytes) noexcept {
    ::operator delete(block, bytes);
}

#else

namespace {

constexpr std::size_t class_step = 64;
constexpr std::size_t class_count = 4;
constexpr std::size_t chain_length = 64;
constexpr std::size_t depot_chains_max = 1024;  // per class: at most 16 MiB of 256-byte blocks

struct free_block {
    free_block* next;
};
struct chain {
    free_block* head = nullptr;
    std::size_t count = 0;
};

class depot {
public:
    bool put(chain& full) noexcept {
        const std::lock_guard lock(mutex_);
        if (used_ == depot_chains_max) return false;
        heads_[used_++] = std::exchange(full, {}).head;
        return true;
    }
    bool take(chain& empty) noexcept {
        const std::lock_guard lock(mutex_);
        if (used_ == 0) return false;
        empty = {heads_[--used_], chain_length};
        return true;
    }

private:
    std::mutex mutex_;
    std::array<free_block*, depot_chains_max> heads_;
    std::size_t used_ = 0;
};

// Never destroyed: threads may end after static destruction has begun.
depot& depot_of(std::size_t cls) {
    static auto* depots = new std::array<depot, class_count>;
    return (*depots)[cls];
}

void free_chain(chain& c, std::size_t cls) noexcept {
    while (c.head != nullptr) {
        auto* next = c.head->next;
        ::operator delete(static_cast<void*>(c.head), (cls + 1) * class_step);
        c.head = next;
    }
    c.count = 0;
}

struct magazine;
// A plain pointer, so that the common case is one load and one comparison.
thread_local constinit magazine* ready_magazine = nullptr;
thread_local constinit bool magazine_gone = false;

// Two chains per class: one in use and one spare, so that a thread which takes and gives around a
// chain boundary does not go to the depot each time.
struct magazine {
    std::array<chain, class_count> current;
    std::array<chain, class_count> spare;

    magazine() noexcept { ready_magazine = this; }
    ~magazine() {
        ready_magazine = nullptr;
        magazine_gone = true;
        for (std::size_t cls = 0; cls < class_count; ++cls) {
            for (auto* c : {&current[cls], &spare[cls]}) {
                if (c->count != chain_length || !depot_of(cls).put(*c)) free_chain(*c, cls);
            }
        }
    }
    magazine(const magazine&) = delete;
    magazine& operator=(const magazine&) = delete;
};

magazine* make_magazine() noexcept {
    if (magazine_gone) return nullptr;
    static thread_local magazine instance;
    return &instance;
}

// Null once this thread's magazine is gone (objects that die later use the heap).
magazine* own_magazine() noexcept {
    if (ready_magazine != nullptr) [[likely]]
        return ready_magazine;
    return make_magazine();
}

}  // namespace

void* take_block(std::size_t bytes) {
    if (bytes > class_step * class_count) return ::operator new(bytes);
    const auto cls = (bytes - 1) / class_step;
    if (auto* m = own_magazine()) {
        auto& current = m->current[cls];
        if (current.head == nullptr) {
            if (m->spare[cls].head != nullptr)
                std::swap(current, m->spare[cls]);
            else
                depot_of(cls).take(current);
        }
        if (current.head != nullptr) {
            --current.count;
            return std::exchange(current.head, current.head->next);
        }
    }
    return ::operator new((cls + 1) * class_step);
}

void give_block(void* block, std::size_t bytes) noexcept {
    if (bytes > class_step * class_count) {
        ::operator delete(block, bytes);
        return;
    }
    const auto cls = (bytes - 1) / class_step;
    auto* m = own_magazine();
    if (m == nullptr) {
        ::operator delete(block, (cls + 1) * class_step);
        return;
    }
    auto& current = m->current[cls];
    if (current.count == chain_length) {
        auto& spare = m->spare[cls];
        if (spare.count == chain_length && !depot_of(cls).put(spare)) free_chain(spare, cls);
        std::swap(current, spare);
        if (current.count == chain_length) free_chain(current, cls);
    }
    current.head = ::new (block) free_block{current.head};
    ++current.count;
}

#endif

}  // namespace base
TRUNKLINE_NAMESPACE_END
