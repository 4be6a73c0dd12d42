#pragma once

// The parser's header costs seconds; most files need its name only.
// NOLINTBEGIN(readability-identifier-naming)
namespace CLI {
class App;
}
// NOLINTEND(readability-identifier-naming)
