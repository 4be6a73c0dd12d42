#include "base/block_pool.hpp"
#include "base/short_text.hpp"
#include "contract/tree_size.hpp"

#include <trunkline/detail/event_access.hpp>
#include <trunkline/event.hpp>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <array>
#include <new>
#include <stdexcept>

TRUNKLINE_NAMESPACE_BEGIN

namespace detail {

struct event_extension {
    std::shared_ptr<const std::string> id_text;
    std::string log_generation;
    boost::json::object fields;
    std::size_t bytes = 0;
};

namespace {

std::size_t body_bytes(std::size_t type_size, std::size_t run_id_size) noexcept {
    return sizeof(event_body) + type_size + run_id_size;
}

event_body* make_body(std::string_view type, std::string_view run_id, payload data) {
    if (type.size() > UINT32_MAX || run_id.size() > UINT32_MAX)
        throw std::invalid_argument("event type or run id of 4 GiB or more");
    auto* body = ::new (base::take_block(body_bytes(type.size(), run_id.size()))) event_body;
    body->data = std::move(data);
    body->type_size = static_cast<std::uint32_t>(type.size());
    body->run_id_size = static_cast<std::uint32_t>(run_id.size());
    auto* text = reinterpret_cast<char*>(body + 1);
    base::copy_text(text, type);
    base::copy_text(text + type.size(), run_id);
    return body;
}

event_extension& extension_of(event_body& body) {
    if (body.extension == nullptr) body.extension = new event_extension;
    return *body.extension;
}

}  // namespace

void destroy_event(event_body* body) noexcept {
    const auto bytes = body_bytes(body->type_size, body->run_id_size);
    delete body->extension;
    body->~event_body();
    base::give_block(body, bytes);
}

std::size_t extension_bytes(const event_body& body) noexcept {
    return body.extension->bytes;
}

void event_access::set_id(event_draft& draft, const event_id& id) {
    draft.own();
    auto& body = *draft.event_.body_;
    body.id_high = id.high();
    body.id_low = id.low();
    if (id.foreign_text() != nullptr)
        extension_of(body).id_text = id.foreign_text();
    else if (body.extension != nullptr)
        body.extension->id_text.reset();
}

void event_access::forget_foreign_id(event_body& body) noexcept {
    body.extension->id_text.reset();
}

void event_access::set_index(event_draft& draft, std::uint64_t index, std::uint32_t generation) {
    draft.own();
    auto& body = *draft.event_.body_;
    body.index = index;
    body.generation = generation;
}

}  // namespace detail

event_id event::id() const {
    event_id id{body_->id_high, body_->id_low};
    if (body_->extension != nullptr) id.text_ = body_->extension->id_text;
    return id;
}

std::string_view event::log_generation() const noexcept {
    const auto* extension = body_->extension;
    return extension == nullptr ? std::string_view() : std::string_view(extension->log_generation);
}

const boost::json::object* event::extra() const noexcept {
    const auto* extension = body_->extension;
    return extension == nullptr || extension->fields.empty() ? nullptr : &extension->fields;
}

event_draft::event_draft(std::string_view type, std::string_view run_id, payload data) {
    event_.body_ = detail::make_body(type, run_id, std::move(data));
}

// A forwarded body is shared: whoever changes it gets a copy first.
void event_draft::own() {
    const auto& old = *event_.body_;
    if (old.references.load(std::memory_order_acquire) == 1) return;
    event copy;
    copy.body_ = detail::make_body(event_.type(), event_.run_id(), old.data);
    auto& body = *copy.body_;
    body.generation = old.generation;
    body.id_high = old.id_high;
    body.id_low = old.id_low;
    body.created_at_ms = old.created_at_ms;
    body.index = old.index;
    if (old.extension != nullptr) body.extension = new detail::event_extension(*old.extension);
    copy.attempt_ = event_.attempt_;
    event_ = std::move(copy);
}

event_draft event_draft::clone() const {
    event_draft copy{event_, stamped_};
    copy.own();
    return copy;
}

event_draft&& event_draft::index(std::uint64_t position) && {
    detail::event_access::set_index(*this, position, 0);
    return std::move(*this);
}

event_draft&& event_draft::extra(std::string_view name, boost::json::value value) && {
    static constexpr std::array<std::string_view, 7> taken = {
        "type", "data", "runId", "id", "createdAt", "index", "deliveryAttempt"
    };
    if (std::find(taken.begin(), taken.end(), name) != taken.end())
        throw std::invalid_argument("extra event field \"" + std::string(name) + "\" is taken");
    const auto bytes = name.size() + tree_size(value);
    own();
    auto& extension = detail::extension_of(*event_.body_);
    if (name == "logGeneration" && value.is_string()) {
        extension.log_generation = value.get_string();
        return std::move(*this);
    }
    extension.fields.insert_or_assign(name, std::move(value));
    extension.bytes += bytes;
    return std::move(*this);
}

event_draft&& event_draft::id(const event_id& id) && {
    detail::event_access::set_id(*this, id);
    return std::move(*this);
}

event_draft&& event_draft::created_at(wall_time time) && {
    own();
    detail::event_access::set_time(*this, time);
    return std::move(*this);
}

event_draft&& event_draft::delivery_attempt(std::uint32_t attempt) && {
    event_.attempt_ = attempt;
    return std::move(*this);
}

TRUNKLINE_NAMESPACE_END
