#pragma once

#include "contract/subscriber.hpp"

#include <trunkline/config.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

class core;

/// A subscription of this process. Topic and group are also kept as the JSON texts that frames
/// have.
class member final : public subscriber {
public:
    member(
        std::weak_ptr<core> bus,
        std::shared_ptr<bus_context> shared,
        std::string_view topic_name,
        handler h,
        const subscribe_options& options
    );

    const std::string& topic_name() const noexcept { return topic_name_; }
    const std::string& topic() const noexcept { return topic_; }
    const std::optional<std::string>& group() const noexcept { return group_; }

    void ready(completion done) override;

    // With the bus's mutex held: whether the broker knows this subscription.
    enum class standing { waiting, announced, refused };
    standing state = standing::waiting;
    error_code problem;
    std::vector<completion> ready_waiters;
    clock::time_point deadline{};  ///< when waiting ends, one way or the other

private:
    std::shared_ptr<member> self() { return std::static_pointer_cast<member>(shared_from_this()); }
    void on_ack(const event& e, std::uint64_t token) noexcept override;
    void on_nack(const event& e, std::uint64_t token) noexcept override;
    void on_drop(const event& e, std::uint64_t token) noexcept override;
    void on_stop() noexcept override;
    void give_back(std::vector<queued_event> events) noexcept override;

    const std::weak_ptr<core> bus_;
    const std::string topic_name_;
    const std::string topic_;
    const std::optional<std::string> group_;
};

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
