#pragma once

#include "bench_plan.hpp"

#include <trunkline/pubsub.hpp>

namespace trunkline_cli {

/// Runs a plan on a bus: first a part that is not measured, then the measured one. Blocks until the
/// last event was delivered. Throws boost::system::system_error when the bus refuses an event for
/// another reason than a full queue, which it waits for.
bench_result run_bench(trunkline::pubsub& bus, const bench_plan& plan);

}  // namespace trunkline_cli
