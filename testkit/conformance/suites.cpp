#include <trunkline/testkit/conformance.hpp>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

// Linking the suites without running one of them is fine.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(PubsubConformance);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LeaseConformance);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CacheConformance);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(ClockConformance);

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
