#pragma once

#include <trunkline/config.hpp>
#include <trunkline/testkit/backend_spec.hpp>
#include <trunkline/testkit/features.hpp>
#include <trunkline/testkit/rig.hpp>

#include <gtest/gtest.h>

#include <memory>

/// Ends a test as skipped unless the backend under test has the feature, or has it not.
#define TRUNKLINE_REQUIRES(feature) \
    GTEST_AMBIGUOUS_ELSE_BLOCKER_   \
    if (this->features().feature) { \
    } else                          \
        GTEST_SKIP() << "off: " #feature
#define TRUNKLINE_REQUIRES_OFF(feature) \
    GTEST_AMBIGUOUS_ELSE_BLOCKER_       \
    if (!this->features().feature) {    \
    } else                              \
        GTEST_SKIP() << "on: " #feature

/// Says which edge case of the event bus contract a test pins, in reports and in failures.
#define TRUNKLINE_PUBSUB_ROW(number)     \
    SCOPED_TRACE("pubsub row " #number); \
    testing::Test::RecordProperty("pubsub_row_" #number, "yes")

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

/// The suites that every backend, lease provider, cache and clock has to pass. Link the target
/// `trunkline::conformance` (objects, so that no test gets lost) and instantiate, for example
///
///     using trunkline::testkit::PubsubConformance;
///     INSTANTIATE_TEST_SUITE_P(
///         MyBackend,
///         PubsubConformance,
///         testing::Values(trunkline::testkit::backend_spec{
///             .name = "Defaults",
///             .features = {.cross_instance = true},
///             .open =
///                 [] {
///                     return std::make_unique<trunkline::testkit::virtual_rig>(
///                         [](const trunkline::testkit::rig_environment& e) {
///                             return std::make_shared<my_pubsub>(e.executor, e.clock);
///                         });
///                 }}),
///         trunkline::testkit::spec_name<trunkline::testkit::backend_spec>);
///
/// in a file of your own; gtest_main or your own main runs them. Use `wall_rig` for a bus that
/// needs a server. Tests for what the flags switch off skip and say so.
class PubsubConformance : public testing::TestWithParam<backend_spec> {
protected:
    const pubsub_features& features() const { return GetParam().features; }
    std::unique_ptr<rig> open() { return GetParam().open(); }
};

/// For the leases of a bus; takes the same specs as PubsubConformance.
class LeaseConformance : public testing::TestWithParam<backend_spec> {
protected:
    const pubsub_features& features() const { return GetParam().features; }
    std::unique_ptr<rig> open() { return GetParam().open(); }
};

class CacheConformance : public testing::TestWithParam<cache_spec> {
protected:
    const cache_spec& features() const { return GetParam(); }
    cache_rig open() { return GetParam().open(); }
};

class ClockConformance : public testing::TestWithParam<clock_spec> {
protected:
    std::unique_ptr<test_loop> open() { return GetParam().open(); }
};

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
