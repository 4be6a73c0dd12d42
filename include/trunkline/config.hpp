#pragma once

/// Marks what the shared library exports; everything else is hidden.
#if defined(__GNUC__)
#define TRUNKLINE_EXPORT __attribute__((visibility("default")))
#else
#define TRUNKLINE_EXPORT
#endif

/// All names live in an inline namespace, so that two versions can meet in one program without
/// violating the one-definition rule.
#define TRUNKLINE_NAMESPACE_BEGIN \
    namespace trunkline {         \
    inline namespace v0 {
#define TRUNKLINE_NAMESPACE_END \
    }                           \
    }
