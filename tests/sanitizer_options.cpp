// What the sanitizers do in our test programs, however they are started. Linked into each of them.
// Without a sanitizer nobody calls these.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
extern "C" {

__attribute__((visibility("default"), used)) const char* __asan_default_options() {
    return "detect_stack_use_after_return=1:strict_string_checks=1" TRUNKLINE_SYMBOLIZER_OPTION;
}

__attribute__((visibility("default"), used)) const char* __ubsan_default_options() {
    return "print_stacktrace=1" TRUNKLINE_SYMBOLIZER_OPTION;
}

__attribute__((visibility("default"), used)) const char* __tsan_default_options() {
    return "halt_on_error=1:second_deadlock_stack=1" TRUNKLINE_SYMBOLIZER_OPTION;
}

}  // extern "C"
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
