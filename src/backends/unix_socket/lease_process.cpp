#include "backends/unix_socket/lease_process.hpp"

#include "backends/unix_socket/json_object.hpp"

#include <trunkline/event_id.hpp>

#include <boost/json/value.hpp>

#include <atomic>
#include <cmath>
#include <memory>
#include <unistd.h>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

lease_process& lease_process::current() {
    struct entry {
        lease_process process;
        entry* parent;  // keeps what came before a fork reachable
    };
    // No mutex: a fork may happen at any moment.
    static std::atomic<entry*> newest{nullptr};
    auto* known = newest.load(std::memory_order_acquire);
    const auto pid = ::getpid();
    if (known != nullptr && known->process.pid() == pid) return known->process;
    auto made = std::unique_ptr<entry>(new entry{{pid, event_id::random().text()}, known});
    if (newest.compare_exchange_strong(known, made.get(), std::memory_order_acq_rel))
        return made.release()->process;
    return known->process;  // another thread of this process was faster
}

void lease_process::open(const std::string& instance) {
    const std::lock_guard lock(mutex_);
    instances_.insert(instance);
}

void lease_process::close(const std::string& instance) {
    const std::lock_guard lock(mutex_);
    instances_.erase(instance);
}

bool lease_process::is_open(const std::string& instance) const {
    const std::lock_guard lock(mutex_);
    return instances_.contains(instance);
}

std::size_t lease_process::open_count() const {
    const std::lock_guard lock(mutex_);
    return instances_.size();
}

std::optional<lease_holder> lease_holder_of(const boost::json::object& from) {
    constexpr double exact_integer_max = 9007199254740991.0;
    const auto* pid = from.if_contains("pid");
    const auto* nonce = from.if_contains("processNonce");
    if (pid == nullptr || !pid->is_number() || nonce == nullptr || !nonce->is_string())
        return std::nullopt;
    const auto number = pid->to_number<double>();
    if (std::trunc(number) != number || std::abs(number) > exact_integer_max) return std::nullopt;
    lease_holder holder{
        static_cast<std::int64_t>(number), std::string(nonce->get_string()), std::string()
    };
    if (const auto* token = from.if_contains("token"); token != nullptr && token->is_string())
        holder.token = std::string(token->get_string());
    return holder;
}

std::optional<lease_holder> parse_lease_holder(std::string_view text) {
    const auto object = read_object(text);
    return object ? lease_holder_of(*object) : std::nullopt;
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
