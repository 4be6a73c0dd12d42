#pragma once

#include "bench_plan.hpp"

#include <string>
#include <vector>

namespace trunkline_cli {

/// Which process of a benchmark is the broker: the one that joins first.
enum class bench_broker { publisher, subscriber, third };

/// How many processes such a benchmark has, besides the one that leads it.
std::size_t bench_process_count(const bench_plan& plan, bench_broker broker_in) noexcept;

/// Runs a plan with a process for the publisher and for each subscriber. `arguments` are those that
/// start any of them, without `--role`. Throws when one of them fails, or when the bus has a broker
/// already.
bench_result run_bench_processes(
    const std::vector<std::string>& arguments, const bench_plan& plan, bench_broker broker_in
);

}  // namespace trunkline_cli
