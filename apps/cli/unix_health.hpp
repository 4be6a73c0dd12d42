#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace trunkline_cli {

enum class severity { info, warning, error };
std::string_view name_of(severity s);

/// One thing that is worth knowing about a bus.
struct finding {
    std::string kind;  ///< for machines: "broker", "stale_socket", …
    severity how_bad = severity::info;
    std::string what;
    std::string fix;  ///< what a person would do; empty: nothing
    /// Does that, where it can do no harm: looks again first, and changes nothing when what was
    /// found is not there any more in the same form. False: not done. Empty: only a person can.
    std::function<bool()> repair;
};

/// Looks at the socket of a bus and the files beside it. The broker, if there is one, sees a
/// connection that is closed without a word. `shared`: the bus is shared with a group, so its
/// members may use directory and socket too.
std::vector<finding> examine_unix_bus(const std::string& path, bool shared);

}  // namespace trunkline_cli
