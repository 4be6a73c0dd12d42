#pragma once

#include <trunkline/config.hpp>

#include <boost/system/error_category.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/is_error_code_enum.hpp>

#include <type_traits>

TRUNKLINE_NAMESPACE_BEGIN

using error_code = boost::system::error_code;

/// What can go wrong on a bus. Retry loops ask `is_transient`, never a text.
enum class errc {
    /// The bus (or this subscription) was closed; nothing was sent. Permanent.
    closed = 1,
    /// An argument breaks its documented rule; the log names it. Permanent.
    invalid_argument,
    /// This backend or payload cannot do that. Permanent.
    not_supported,
    /// A stated time limit passed first. Transient.
    timed_out,
    /// A bounded queue had no room; the event reached nobody. Transient.
    queue_full,
    /// The event is larger than the backend carries. Permanent.
    payload_too_large,
    /// The broker went away and retries are used up; delivery is unknown. Transient.
    broker_lost,
    /// The offset is older than what is retained; the answer carries the oldest index. Permanent.
    offset_gone,
    /// The lease is no longer held by the caller. Permanent.
    lease_lost,
    /// Credentials or file modes do not allow it. Permanent.
    permission_denied,
    /// A peer, or a text that claims to be JSON, does not follow its format. Permanent.
    protocol_error,
    /// A blocking call, or an awaited publish into the full queue that only the caller empties,
    /// from inside a handler (a coroutine: until it first suspends). Permanent.
    would_deadlock,
};

/// The category of `errc`; its name is "trunkline".
TRUNKLINE_EXPORT const boost::system::error_category& error_category() noexcept;

inline error_code make_error_code(errc e) noexcept {
    return {static_cast<int>(e), error_category()};
}

/// True when trying again later may succeed: `timed_out`, `queue_full`, `broker_lost`, and the
/// operating system's connection errors. False for everything else, success included.
TRUNKLINE_EXPORT bool is_transient(const error_code& ec) noexcept;

TRUNKLINE_NAMESPACE_END

template <>
struct boost::system::is_error_code_enum<trunkline::errc> : std::true_type {};
