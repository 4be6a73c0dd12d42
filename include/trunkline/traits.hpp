#pragma once

#include <trunkline/config.hpp>

#include <string_view>

TRUNKLINE_NAMESPACE_BEGIN

/// What a backend can do; callers adapt to it instead of asking for a class.
struct backend_traits {
    std::string_view name;           ///< "event_emitter", "unix_socket", …
    bool pull = true;                ///< a long-lived worker subscribes
    bool push = false;               ///< events arrive without being asked for
    bool native_batching = false;    ///< honours subscribe_options::batch
    bool offsets = false;            ///< honours subscribe_from_offset
    bool cross_process = false;      ///< other processes can be on the same bus
    bool redelivers_groups = false;  ///< a nack in a group brings the event again
};

/// Numbers since construction; a consistent picture is not promised while the bus is busy.
struct bus_counters {
    unsigned long long published = 0;         ///< accepted publishes
    unsigned long long unheard = 0;           ///< accepted, but nobody subscribed to the topic
    unsigned long long refused = 0;           ///< publishes answered with an error
    unsigned long long delivered = 0;         ///< handler calls started, redeliveries included
    unsigned long long handler_failures = 0;  ///< handlers that threw
    unsigned long long redelivered = 0;       ///< redeliveries after a nack
    unsigned long long exhausted = 0;         ///< events given up after the last attempt
    unsigned long long dropped = 0;           ///< events lost to a stated policy
};

TRUNKLINE_NAMESPACE_END
