#include "base/block_pool.hpp"
#include "contract/tree_size.hpp"
#include "wire/json_parser.hpp"

#include <trunkline/errc.hpp>
#include <trunkline/json_text.hpp>
#include <trunkline/payload.hpp>

#include <boost/json/value.hpp>
#include <boost/system/system_error.hpp>

#include <algorithm>
#include <cstring>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>

TRUNKLINE_NAMESPACE_BEGIN

namespace {

enum class face_state : std::uint8_t { missing, in_work, ready };

// Makes a face at most once: one thread works, others wait; a failure opens it again and reaches
// every caller, because each tries anew.
template <class Make>
void ensure(std::atomic<face_state>& state, Make&& make) {
    auto seen = state.load(std::memory_order_acquire);
    while (seen != face_state::ready) {
        if (seen == face_state::in_work) {
            state.wait(face_state::in_work, std::memory_order_acquire);
            seen = state.load(std::memory_order_acquire);
            continue;
        }
        if (!state.compare_exchange_weak(
                seen, face_state::in_work, std::memory_order_acquire, std::memory_order_acquire
            ))
            continue;
        try {
            make();
        } catch (...) {
            state.store(face_state::missing, std::memory_order_release);
            state.notify_all();
            throw;
        }
        state.store(face_state::ready, std::memory_order_release);
        state.notify_all();
        return;
    }
}

struct live_face {
    std::shared_ptr<const void> object;
    const std::type_info* type;
};

// Depth and an estimate of the memory that a tree takes, in one walk.
std::size_t measure(const boost::json::value& value, std::size_t levels_left) {
    constexpr std::size_t node_bytes = 16;
    constexpr std::size_t pair_bytes = 40;
    switch (value.kind()) {
        case boost::json::kind::string:
            return node_bytes + value.get_string().size();
        case boost::json::kind::array: {
            if (levels_left == 0) break;
            std::size_t bytes = node_bytes;
            for (const auto& item : value.get_array()) bytes += measure(item, levels_left - 1);
            return bytes;
        }
        case boost::json::kind::object: {
            if (levels_left == 0) break;
            std::size_t bytes = node_bytes;
            for (const auto& [name, item] : value.get_object())
                bytes += pair_bytes + name.size() + measure(item, levels_left - 1);
            return bytes;
        }
        default:
            return node_bytes;
    }
    throw std::invalid_argument(
        "payload: data nests deeper than " + std::to_string(payload::depth_max) + " levels"
    );
}

}  // namespace

namespace {

// 56 bytes; a text given as text follows directly behind.
struct block : detail::payload_head {
    std::atomic<face_state> tree_state{face_state::missing};
    std::atomic<face_state> text_state{face_state::missing};
    bool inline_text = false;
    std::size_t size_bytes = 0;
    std::size_t text_size = 0;
    const char* text = nullptr;  // inline, or a std::string's data when `made_text` is set
    boost::json::value* tree = nullptr;
    std::string* made_text = nullptr;
    live_face* live = nullptr;

    std::size_t block_bytes() const noexcept {
        return sizeof(block) + (inline_text ? text_size : 0);
    }
};
static_assert(sizeof(block) <= 64);

block& of(detail::payload_head* head) noexcept {
    return *static_cast<block*>(head);
}

[[noreturn]] void no_such_face(const char* what) {
    throw boost::system::system_error(errc::not_supported, what);
}

}  // namespace

void detail::destroy_payload(payload_head* head) noexcept {
    auto* b = &of(head);
    delete b->tree;
    delete b->made_text;
    delete b->live;
    const auto bytes = b->block_bytes();
    b->~block();
    base::give_block(b, bytes);
}

std::size_t tree_size(const boost::json::value& value) {
    return measure(value, payload::depth_max);
}

payload::payload(boost::json::value tree) {
    const auto bytes = tree_size(tree);
    auto held = std::make_unique<boost::json::value>(std::move(tree));
    auto* b = ::new (base::take_block(sizeof(block))) block;
    b->tree = held.release();
    b->size_bytes = bytes;
    b->tree_state.store(face_state::ready, std::memory_order_relaxed);
    head_ = b;
}

payload payload::from_json_text(std::string_view text) {
    auto* b = ::new (base::take_block(sizeof(block) + text.size())) block;
    auto* copy = reinterpret_cast<char*>(b + 1);
    std::memcpy(copy, text.data(), text.size());
    b->inline_text = true;
    b->text = copy;
    b->text_size = text.size();
    b->size_bytes = text.size();
    b->text_state.store(face_state::ready, std::memory_order_relaxed);
    payload p;
    p.head_ = b;
    return p;
}

payload payload::live_object(std::shared_ptr<const void> object, const std::type_info& type) {
    auto face = std::make_unique<live_face>(live_face{std::move(object), &type});
    auto* b = ::new (base::take_block(sizeof(block))) block;
    b->live = face.release();
    b->size_bytes = sizeof(live_face);
    payload p;
    p.head_ = b;
    return p;
}

const boost::json::value& payload::tree() const {
    static const boost::json::value null;
    if (head_ == nullptr) return null;
    auto& b = of(head_);
    ensure(b.tree_state, [&b] {
        if (b.live != nullptr) no_such_face("payload: a live object has no JSON tree");
        b.tree = new boost::json::value(wire::parse_json({b.text, b.text_size}, depth_max));
    });
    return *b.tree;
}

std::string_view payload::text() const {
    if (head_ == nullptr) return {};
    auto& b = of(head_);
    ensure(b.text_state, [&b] {
        if (b.live != nullptr) no_such_face("payload: a live object has no JSON text");
        auto made = std::make_unique<std::string>();
        append_json(*made, *b.tree);
        b.made_text = made.release();
        b.text = b.made_text->data();
        b.text_size = b.made_text->size();
    });
    return {b.text, b.text_size};
}

const void* payload::live_pointer(const std::type_info& type) const noexcept {
    if (head_ == nullptr) return nullptr;
    const auto* face = of(head_).live;
    return face != nullptr && *face->type == type ? face->object.get() : nullptr;
}

bool payload::is_live() const noexcept {
    return head_ != nullptr && of(head_).live != nullptr;
}

std::size_t payload::size_bytes() const noexcept {
    return head_ == nullptr ? 0 : of(head_).size_bytes;
}

TRUNKLINE_NAMESPACE_END
