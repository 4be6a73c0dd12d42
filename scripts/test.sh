#!/usr/bin/env bash
# ./dev test: four builds and their tests; each phase is run even when an earlier one failed.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$root/scripts/packages.sh"

if [[ "${1:-}" == --full ]]; then
    [[ $# -eq 2 ]] || fail "usage: ./dev test --full NAME"
    need build test
    configure release -DTRUNKLINE_BUILD_TESTS=ON -DTRUNKLINE_TEST_AREAS=soak
    compile release
    cd "$root/build/release"
    TRUNKLINE_FULL=1 exec ctest -L soak -R "$2" --output-on-failure --no-tests=error
elif (($#)); then
    fail "unknown argument: $1 (./dev test takes none, or --full NAME)"
fi

need build test
started=$SECONDS

# Tests against the reference want Node; where it cannot be had, they are skipped and say so.
. "$root/scripts/node.sh"
if node_setup; then export TRUNKLINE_NODE="$node"; fi
names=() times=() verdicts=()
failed=0

# phase NAME COMMAND...: runs it, remembers how long it took and how it ended.
phase() {
    local name="$1" begun=$SECONDS verdict=passed
    shift
    say "== $name"
    if ! "$@"; then
        verdict=FAILED
        failed=1
    fi
    names+=("$name") times+=("$((SECONDS - begun))") verdicts+=("$verdict")
}

# run_tests PRESET [ctest argument...]: the whole report goes to a log, failures to the terminal.
run_tests() {
    local preset="$1" status=0
    shift
    (cd "$root" && ctest --preset "$preset" --parallel "$(nproc)" \
        --output-junit "$logs/ctest-$preset.xml" "$@") >"$logs/ctest-$preset.log" 2>&1 || status=$?
    if ((status)); then
        # Passed tests are a line each: leave them out.
        grep -Ev '^ *[0-9]+/[0-9]+ Test +#.* Passed ' "$logs/ctest-$preset.log" | tail -400
    fi
    closing_line "$preset"
    return "$status"
}

closing_line() { grep -E '^[0-9]+% tests passed, [0-9]+ tests failed out of [0-9]+' "$logs/ctest-$1.log" || true; }

dev_phase() { configure dev && compile dev && run_tests dev; }
tsan_phase() { configure tsan && compile tsan && run_tests tsan; }
install_phase() {
    configure release -DTRUNKLINE_BUILD_TESTS=ON -DTRUNKLINE_TEST_AREAS=install &&
        compile release && run_tests release
}

shared_phase() { configure shared && compile shared && run_tests shared; }

# skipped PRESET: name and reason of each skipped test, from the report.
skipped() {
    [[ -f "$logs/ctest-$1.xml" ]] || return 0
    awk '
        /<testcase / {
            name = $0
            sub(/.*<testcase name="/, "", name)
            sub(/".*/, "", name)
            skipped = ($0 ~ /status="(notrun|disabled)"/)
            reason = ""
            grab = 0
        }
        skipped && grab && reason == "" && $0 !~ /^ *$/ { reason = $0; grab = 0 }
        skipped && /: Skipped$/ { grab = 1 }
        /<\/testcase>/ && skipped {
            gsub(/&quot;/, "\"", reason); gsub(/&lt;/, "<", reason)
            gsub(/&gt;/, ">", reason); gsub(/&amp;/, "\\&", reason)
            sub(/^ +/, "", reason)
            print "  " name ": " (reason == "" ? "no reason given" : reason)
            skipped = 0
        }
    ' "$logs/ctest-$1.xml"
}

# by_reason: what was skipped, a reason a line; of tests with parameters the name alone.
by_reason() {
    awk -F ": " '
        {
            name = $1
            sub(/^ */, "", name)
            if (name ~ /\/.*\//) { sub(/^[^\/]*\//, "", name); sub(/\/[^\/]*$/, "", name) }
            sub(/^[^.]*\./, "", name)
            reason = substr($0, length($1) + 3)
            if (!(reason in count)) order[++reasons] = reason
            ++count[reason]
            if (!((reason, name) in seen)) {
                seen[reason, name] = 1
                names[reason] = names[reason] (names[reason] == "" ? "" : ", ") name
            }
        }
        END {
            for (i = 1; i <= reasons; ++i)
                printf "    %4d  %s: %s\n", count[order[i]], order[i], names[order[i]]
        }
    ' "$logs/skipped.txt"
}

rm -f "$logs"/ctest-*.{log,xml}
phase "all tests, AddressSanitizer and UndefinedBehaviorSanitizer" dev_phase
phase "concurrent tests, ThreadSanitizer" tsan_phase
phase "an installed copy, used by other compilers" install_phase
phase "shared libraries" shared_phase

say "== summary"
for i in "${!names[@]}"; do
    printf '  %-6s  %12s  %s\n' "${verdicts[i]}" "$(minutes "${times[i]}")" "${names[i]}"
done
say "  in all $(minutes $((SECONDS - started)))"
{ skipped dev; skipped tsan; skipped release; skipped shared; } >"$logs/skipped.txt"
skips="$(wc -l <"$logs/skipped.txt")"
say "  skipped: $skips$( ((skips)) && echo ", by reason (one by one: build/log/skipped.txt)")"
by_reason
((failed)) && say "  logs: build/log"
closing_line dev
exit "$failed"
