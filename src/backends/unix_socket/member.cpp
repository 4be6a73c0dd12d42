#include "backends/unix_socket/member.hpp"

#include "backends/unix_socket/core.hpp"

#include <trunkline/json_text.hpp>

#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

namespace {

std::string json_string(std::string_view text) {
    std::string out;
    append_json_string(out, text);
    return out;
}

}  // namespace

member::member(
    std::weak_ptr<core> bus,
    std::shared_ptr<bus_context> shared,
    std::string_view topic_name,
    handler h,
    const subscribe_options& options
)
    : subscriber(
          std::move(shared),
          std::move(h),
          subscribe_options(options).no_batch(),  // not on this backend
          mode::queued,
          true,
          false
      ),
      bus_(std::move(bus)),
      topic_name_(topic_name),
      topic_(json_string(topic_name)),
      group_(options.group() ? std::optional(json_string(*options.group())) : std::nullopt) {}

void member::ready(completion done) {
    if (const auto bus = bus_.lock())
        bus->when_ready(self(), std::move(done));
    else
        done(errc::closed);
}

void member::on_ack(const event&, std::uint64_t token) noexcept {
    if (token == 0) return;
    if (const auto bus = bus_.lock()) bus->settled(token);
}

void member::on_drop(const event& e, std::uint64_t token) noexcept {
    on_ack(e, token);
}

void member::on_nack(const event& e, std::uint64_t token) noexcept {
    if (const auto bus = bus_.lock()) bus->redeliver(self(), e, token);
}

void member::on_stop() noexcept {
    if (const auto bus = bus_.lock()) bus->leave(self());
}

void member::give_back(std::vector<queued_event> events) noexcept {
    if (!group_) return;  // they were this subscription's own
    if (const auto bus = bus_.lock()) bus->give_back(self(), std::move(events));
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
