#pragma once

#include "bench_plan.hpp"
#include "exit_code.hpp"

#include <trunkline/pubsub.hpp>

namespace trunkline_cli {

enum class bench_role { publisher, subscriber, broker };

/// One process of a benchmark. Joins the bus, then does what each line of standard input asks for
/// and answers with one line: nothing for `ready`, see `bench_order` for the rest. Ends after `end`
/// or with its input.
exit_code run_bench_worker(trunkline::pubsub& bus, const bench_plan& plan, bench_role role);

/// What a worker is asked for, and answers.
namespace bench_order {
inline constexpr const char* warm_up = "warm up";  ///< publisher; {} when everything has left
inline constexpr const char* begin = "begin";      ///< counting starts anew; {}
inline constexpr const char* send = "send";        ///< publisher; {"started_ns"}
inline constexpr const char* count = "count";      ///< {"delivered"}, what was routed here included
inline constexpr const char* end = "end";  ///< {"cpu_seconds","peak_rss_mb","latencies_ns":[…]}
}  // namespace bench_order

}  // namespace trunkline_cli
