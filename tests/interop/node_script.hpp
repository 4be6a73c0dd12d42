#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace interop {

/// Which Node the tests use: `TRUNKLINE_NODE`, else the one that scripts/node.sh installed, else
/// the one in PATH.
struct node_choice {
    std::string path;     ///< empty: none
    std::string why_not;  ///< the reason then
};

/// Looks once for a Node of at least `major_min`.
const node_choice& node();
constexpr int major_min = 18;

/// Runs a script of this folder with `input` as its standard input and returns the lines of its
/// output. Throws std::runtime_error, with what the script wrote on standard error, when it fails.
std::vector<std::string> run_script(std::string_view script, std::string_view input);

}  // namespace interop
