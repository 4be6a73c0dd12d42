#pragma once

#include <cstddef>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace tidy {

/// One broken rule.
struct finding {
    std::size_t line;
    std::string rule;
    std::string text;
};
void PrintTo(const finding& f, std::ostream* out);

/// Everything that is wrong with one file. `path` is relative to the root of the repository, with
/// slashes; it decides which rules hold. Pure: reads no file. A line of code may break a rule when
/// it ends in "// tidy: allow" and the reason.
std::vector<finding> check(std::string_view path, std::string_view text);

/// The C++ text with comments and the insides of literals blanked; line breaks stay.
std::string code_only(std::string_view text);

}  // namespace tidy
