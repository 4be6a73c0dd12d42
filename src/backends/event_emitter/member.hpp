#pragma once

#include "backends/event_emitter/core.hpp"
#include "contract/subscriber.hpp"

#include <memory>
#include <optional>
#include <string>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace event_emitter {

/// A subscription of the in-process bus; it outlives the bus when deliveries are still held.
class member final : public subscriber {
public:
    member(
        std::weak_ptr<core> bus,
        std::shared_ptr<bus_context> shared,
        std::string_view topic_name,
        handler h,
        const subscribe_options& options,
        mode how,
        std::uint32_t life
    )
        : subscriber(
              std::move(shared), std::move(h), options, how, options.group().has_value(), true
          ),
          bus_(std::move(bus)),
          topic_(topic_name),
          group_(options.group()),
          life_(life) {}

    const std::string& topic_name() const noexcept { return topic_; }
    const std::optional<std::string>& group_name() const noexcept { return group_; }
    /// The bus's count of closes when this subscribed: what closed before is over.
    std::uint32_t life() const noexcept { return life_; }

private:
    std::shared_ptr<member> self() { return std::static_pointer_cast<member>(shared_from_this()); }
    void on_nack(const event& e, std::uint64_t) noexcept override {
        if (!group_) return;  // in process a fan-out event is not redelivered
        if (const auto bus = bus_.lock()) bus->redeliver(self(), e);
    }
    void on_stop() noexcept override {
        if (const auto bus = bus_.lock()) bus->leave(self());
    }
    void give_back(std::vector<queued_event> events) noexcept override {
        if (!group_) return;  // they were this subscription's own
        if (const auto bus = bus_.lock()) bus->give_back(self(), std::move(events));
    }

    const std::weak_ptr<core> bus_;
    const std::string topic_;
    const std::optional<std::string> group_;
    const std::uint32_t life_;
};

}  // namespace event_emitter
TRUNKLINE_NAMESPACE_END
