#pragma once

#include <trunkline/config.hpp>
#include <trunkline/server_cache.hpp>
#include <trunkline/testkit/features.hpp>
#include <trunkline/testkit/rig.hpp>
#include <trunkline/testkit/test_loop.hpp>

#include <gtest/gtest.h>

#include <functional>
#include <iosfwd>
#include <memory>
#include <string>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

/// One configuration of one backend, as PubsubConformance and LeaseConformance take it. `name` is
/// part of test names: letters and digits only.
struct backend_spec {
    std::string name;
    pubsub_features features;
    std::function<std::unique_ptr<rig>()> open;
};

/// A cache under test and the time it lives in.
struct cache_rig {
    std::unique_ptr<test_loop> loop;
    std::shared_ptr<server_cache> cache;
};

/// One configuration of one cache. A limit of 0 means that there is none worth testing.
struct cache_spec {
    std::string name;
    /// Life of a key after its last write; 0: for ever.
    std::chrono::milliseconds ttl{0};
    /// Keys it holds.
    std::size_t keys_max = 0;
    /// Events that one log keeps at least, and at most (chunks may go as a whole).
    std::size_t events_min = 0;
    std::size_t events_max = 0;
    std::function<cache_rig()> open;
};

/// One clock, as ClockConformance takes it: the loop brings the clock and an executor.
struct clock_spec {
    std::string name;
    std::function<std::unique_ptr<test_loop>()> open;
};

TRUNKLINE_EXPORT void PrintTo(const backend_spec& spec, std::ostream* out);
TRUNKLINE_EXPORT void PrintTo(const cache_spec& spec, std::ostream* out);
TRUNKLINE_EXPORT void PrintTo(const clock_spec& spec, std::ostream* out);

/// The last argument of INSTANTIATE_TEST_SUITE_P for any of the suites.
template <class Spec>
std::string spec_name(const testing::TestParamInfo<Spec>& info) {
    return info.param.name;
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
