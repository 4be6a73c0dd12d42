#include "backends/unix_socket/lease_files.hpp"

#include "backends/unix_socket/json_object.hpp"
#include "base/utf8.hpp"

#include <trunkline/json_text.hpp>

#include <boost/json/object.hpp>
#include <boost/system/system_error.hpp>

#include <cmath>
#include <cstdint>
#include <type_traits>
#include <utility>

TRUNKLINE_NAMESPACE_BEGIN
namespace unix_socket {

namespace {

// The last millisecond that a number in JSON says exactly.
constexpr std::int64_t time_max_ms = (std::int64_t{1} << 53) - 1;

std::int64_t expiry_ms(wall_time now, std::chrono::milliseconds ttl) noexcept {
    const auto start = now.time_since_epoch().count();
    return ttl.count() >= time_max_ms - start ? time_max_ms : start + ttl.count();
}

void check_arguments(std::chrono::milliseconds ttl, std::string_view new_owner) {
    // A name that JSON cannot carry would never be recognised again.
    const bool name = new_owner.size() <= lease_files::owner_bytes_max && base::is_utf8(new_owner);
    if (ttl.count() <= 0 || !name) throw boost::system::system_error(errc::invalid_argument);
}

}  // namespace

std::optional<lease_record> parse_lease_record(std::string_view text) {
    const auto object = read_object(text);
    if (!object) return std::nullopt;
    const auto* owner = object->if_contains("owner");
    const auto* expires = object->if_contains("expiresAt");
    auto process = lease_holder_of(*object);
    if (!process || owner == nullptr || !owner->is_string() || expires == nullptr ||
        !expires->is_number())
        return std::nullopt;
    const auto at = expires->to_number<double>();
    if (!std::isfinite(at)) return std::nullopt;
    return lease_record{std::string(owner->get_string()), at, std::move(*process)};
}

lease_files::lease_files(
    const std::string& directory,
    std::shared_ptr<clock> time,
    logger log,
    lease_environment environment
)
    : time_(time != nullptr ? std::move(time) : system_clock()),
      locks_(directory, std::move(environment), std::move(log)) {}

template <class T, class Work>
lease_files::result<T> lease_files::run(Work work) {
    namespace sys = boost::system;
    if (closed_) return {sys::in_place_error, errc::closed};
    try {
        if constexpr (std::is_void_v<T>) {
            work();
            return {};
        } else {
            return {sys::in_place_value, work()};
        }
    } catch (const sys::system_error& failure) {
        return {sys::in_place_error, failure.code()};
    }
}

std::optional<lease_record> lease_files::read_record(const std::string& lease) const {
    const auto text = locks_.read(locks_.record_path(lease));
    return text ? parse_lease_record(*text) : std::nullopt;
}

bool lease_files::is_live(const lease_record& lease) const {
    const auto now = static_cast<double>(time_->wall().time_since_epoch().count());
    return lease.expires_at_ms > now && locks_.is_alive(lease.process.pid, lease.process.nonce);
}

void lease_files::write_record(const std::string& lease, std::string_view owner, milliseconds ttl) {
    std::string text = R"({"owner":)";
    append_json_string(text, owner);
    text += R"(,"expiresAt":)" + std::to_string(expiry_ms(time_->wall(), ttl));
    text += R"(,"pid":)" + std::to_string(locks_.process().pid()) + R"(,"processNonce":)";
    append_json_string(text, locks_.process().nonce());
    locks_.write(locks_.record_path(lease), text + "}");
}

lease_files::result<lease_answer> lease_files::acquire(
    std::string_view key, std::string_view owner, milliseconds ttl
) {
    return run<lease_answer>([&] {
        check_arguments(ttl, owner);
        const auto lease = sha256_hex(key);
        lease_answer answer;
        locks_.with_lock(lease, [&] {
            const auto held = read_record(lease);
            // The name alone decides: its bearer in another process may take over.
            if (held && held->owner != owner && is_live(*held)) {
                answer = {false, held->owner};
                return;
            }
            write_record(lease, owner, ttl);
            answer = {true, std::string(owner)};
        });
        return answer;
    });
}

lease_files::result<std::optional<std::string>> lease_files::owner(std::string_view key) {
    using answer = std::optional<std::string>;
    return run<answer>([&]() -> answer {
        const auto lease = sha256_hex(key);
        // Records are replaced whole: one that is held, or none, needs no lock to be read.
        auto held = read_record(lease);
        if (!held) return std::nullopt;
        if (is_live(*held)) return std::move(held->owner);
        answer found;
        locks_.with_lock(lease, [&] {
            held = read_record(lease);
            if (!held) return;
            if (is_live(*held))
                found = std::move(held->owner);
            else
                locks_.remove(locks_.record_path(lease));
        });
        return found;
    });
}

lease_files::result<void> lease_files::release(std::string_view key, std::string_view owner) {
    return run<void>([&] {
        const auto lease = sha256_hex(key);
        locks_.with_lock(lease, [&] {
            const auto held = read_record(lease);
            if (held && held->owner == owner) locks_.remove(locks_.record_path(lease));
        });
    });
}

lease_files::result<bool> lease_files::renew(
    std::string_view key, std::string_view owner, milliseconds ttl
) {
    return transfer(key, owner, owner, ttl);
}

lease_files::result<bool> lease_files::transfer(
    std::string_view key, std::string_view from, std::string_view to, milliseconds ttl
) {
    return run<bool>([&] {
        check_arguments(ttl, to);
        const auto lease = sha256_hex(key);
        bool moved = false;
        locks_.with_lock(lease, [&] {
            const auto held = read_record(lease);
            if (!held || held->owner != from || !is_live(*held)) return;
            write_record(lease, to, ttl);
            moved = true;
        });
        return moved;
    });
}

void lease_files::close() noexcept {
    closed_ = true;
    locks_.close();
}

}  // namespace unix_socket
TRUNKLINE_NAMESPACE_END
