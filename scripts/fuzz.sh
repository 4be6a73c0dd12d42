#!/usr/bin/env bash
# ./dev fuzz [SECONDS]: every target of tests/fuzz in turn. What it learns stays in build/fuzz/corpus;
# tests/fuzz/corpus/NAME, where it exists, is where it starts.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$root/scripts/packages.sh"

limit="${1:-60}"
[[ "$limit" =~ ^[0-9]+$ ]] || fail "usage: ./dev fuzz [SECONDS]"
need build test
configure fuzz
compile fuzz

status=0
found=0
for source in "$root"/tests/fuzz/*_fuzz.cpp; do
    [[ -f "$source" ]] || continue
    found=1
    name="$(basename "$source" .cpp)"
    work="$root/build/fuzz/corpus/$name"
    mkdir -p "$work"
    seeds=()
    [[ -d "$root/tests/fuzz/corpus/$name" ]] && seeds=("$root/tests/fuzz/corpus/$name")
    say "== $name for $limit s"
    if ! "$root/build/fuzz/bin/$name" -max_total_time="$limit" -print_final_stats=1 -timeout=10 \
        -artifact_prefix="$root/build/fuzz/$name-" "$work" "${seeds[@]}" >"$logs/$name.log" 2>&1; then
        status=1
        tail -60 "$logs/$name.log" >&2
        say "$name FAILED; the input is build/fuzz/$name-*"
    else
        grep -E '^stat::(number_of_executed_units|peak_rss_mb)' "$logs/$name.log" || true
    fi
done
((found)) || say "there are no fuzz targets"
exit "$status"
