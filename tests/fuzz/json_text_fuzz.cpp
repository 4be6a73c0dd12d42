// Any bytes as JSON text: the tree is refused with an error, or prints a text that reads back as
// the same tree.
#include <trunkline/errc.hpp>
#include <trunkline/json_text.hpp>
#include <trunkline/payload.hpp>

#include <boost/json/value.hpp>
#include <boost/system/system_error.hpp>

#include <cstdint>
#include <cstdlib>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using trunkline::payload;
    const auto given = payload::from_json_text({reinterpret_cast<const char*>(data), size});
    try {
        std::string printed;
        trunkline::append_json(printed, given.tree());
        std::string again;
        trunkline::append_json(again, payload::from_json_text(printed).tree());
        if (printed != again) std::abort();
    } catch (const boost::system::system_error& e) {
        if (e.code() != trunkline::errc::protocol_error) std::abort();
    }
    return 0;
}
