#include <trunkline/testkit/backend_spec.hpp>

#include <ostream>

TRUNKLINE_NAMESPACE_BEGIN
namespace testkit {

void PrintTo(const backend_spec& spec, std::ostream* out) {
    *out << spec.name;
}
void PrintTo(const cache_spec& spec, std::ostream* out) {
    *out << spec.name;
}
void PrintTo(const clock_spec& spec, std::ostream* out) {
    *out << spec.name;
}

}  // namespace testkit
TRUNKLINE_NAMESPACE_END
