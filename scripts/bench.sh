#!/usr/bin/env bash
# ./dev bench [--quick]: measures this library and, where Node is to be had, the reference beside it,
# round by round, and prints the medians. Then come the benchmarks of single questions (bench/).
#
# The event is the same on both sides: a number and a text, 135 bytes as JSON, built for each event.
# The reference is warmed up, and of its two rates, awaited one by one and in bursts of 1,000, the
# better one counts. --quick: one round, fewer events, no single questions; for a first impression.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$root/scripts/packages.sh"
. "$root/scripts/node.sh"

rounds=5 events=3000000 hand_over_events=2000000 latency_events=5000
peer_events=300000 peer_cache_events=200000 memory_events=10000000
unix_events=300000 unix_latency_events=3000 peer_unix_events=60000
quick=""
case "${1:-}" in
    --quick)
        quick=1 rounds=1 events=500000 hand_over_events=300000 latency_events=1000
        peer_events=100000 peer_cache_events=30000
        unix_events=100000 unix_latency_events=1000 peer_unix_events=20000
        ;;
    '') ;;
    *) fail "usage: ./dev bench [--quick]" ;;
esac
memory_mb_max=300
run_seconds_max=300

tool="$root/build/release/bin/trunkline"
[[ -x "$tool" ]] || fail "build/release/bin/trunkline is missing: run ./dev bench"
results="$(mktemp -d)"
trap 'rm -rf "$results"' EXIT
# The URL in the environment is for users of the tool, not for this comparison.
unset TRUNKLINE_BUS

failures=0

# measure NAME COMMAND...: appends the line that the command prints to the results of NAME.
measure() {
    local name="$1" status=0
    shift
    timeout "$run_seconds_max" "$@" >>"$results/$name" 2>"$results/stderr" || status=$?
    if ((status)); then
        say "FAILED $name: $* ended with $status" >&2
        tail -5 "$results/stderr" >&2
        failures=$((failures + 1))
    fi
}

ours() { measure "ours-$1" "$tool" bench "${@:2}"; }
theirs() { measure "theirs-$1" "$node" "$root/bench/peer/in_process.mjs" "${@:2}"; }
# The same across processes, on a Unix socket of their own.
unix_ours() { ours "$1" --processes --bus "unix:$results/ours.sock" --events "$unix_events" "${@:2}"; }
unix_peer() { measure "$1" "$node" "$root/bench/peer/unix_socket_run.mjs" "${@:2}" --events "$peer_unix_events"; }
unix_theirs() { unix_peer "theirs-$1" - "${@:2}"; }

# mixed NAME SHAPE: the reference's processes on our broker.
mixed() {
    local path="$results/mixed.sock" broker
    "$tool" broker --bus "unix:$path" >"$results/broker" 2>"$results/stderr" &
    broker=$!
    until grep -q '"role":"broker"' "$results/broker" || ! kill -0 "$broker" 2>/dev/null; do sleep 0.05; done
    unix_peer "ours-$1" "$path" "$2" --broker external --mode await --broker-pid "$broker"
    kill "$broker" 2>/dev/null || true
    wait "$broker" || true
}

# beside_large NAME COMMAND...: measures the command while events of 10 MB pass over the same socket,
# which is neighbour.sock for both.
beside_large() {
    local neighbour received
    "$node" "$root/bench/peer/neighbour.mjs" "$results/neighbour.sock" >"$results/neighbour" &
    neighbour=$!
    "$@"
    kill "$neighbour" 2>/dev/null || true
    wait "$neighbour" 2>/dev/null || true
    received="$(sed -nE 's/.*"received":([0-9]+).*/\1/p' "$results/neighbour")"
    if ((${received:-0} == 0)); then
        say "FAILED beside large events: the neighbour got none of its own" >&2
        failures=$((failures + 1))
    fi
}

# numbers NAME KEY: the values of a field, one a line; null and missing ones are left out.
numbers() {
    [[ -f "$results/$1" ]] || return 0
    sed -nE "s/.*\"$2\":(-?[0-9][0-9.eE+-]*).*/\1/p" "$results/$1"
}

# median NAME KEY: nothing when there are no values.
median() {
    numbers "$1" "$2" | sort -g | awk '
        { v[NR] = $1 }
        END {
            if (NR % 2) print v[(NR + 1) / 2]
            else if (NR) print (v[NR / 2] + v[NR / 2 + 1]) / 2
        }'
}
spread() { numbers "$1" "$2" | sort -g | awk 'NR == 1 { a = $1 } { b = $1 } END { if (NR) print a, b }'; }

# better NAME: which mode of the reference has the higher median rate.
better() {
    local await burst
    await="$(median "theirs-$1-await" events_per_second)"
    burst="$(median "theirs-$1-burst" events_per_second)"
    awk -v a="${await:-0}" -v b="${burst:-0}" 'BEGIN { print (a >= b ? "await" : "burst") }'
}

rate() { awk -v r="${1:-0}" 'BEGIN { if (r >= 1e6) printf "%.2f M/s", r / 1e6; else printf "%.0f k/s", r / 1e3 }'; }
range() { awk -v a="${1:-0}" -v b="${2:-0}" 'BEGIN { printf "%.2f-%.2f", a / 1e6, b / 1e6 }'; }
nanoseconds() { awk -v us="${1:-0}" 'BEGIN { printf "%.0f ns", us * 1000 }'; }
# verdict VALUE FLOOR GOAL: more is better.
verdict() {
    awk -v v="$1" -v f="$2" -v g="$3" 'BEGIN { print (v >= g ? "goal" : v >= f ? "floor" : "BELOW FLOOR") }'
}

row() { printf '  %-26s %10s %10s %7s %10s %6s %8s %6s %10s %6s %6s  %s\n' "$@"; }

# ratio_row TITLE NAME FLOOR GOAL
ratio_row() {
    local title="$1" name="$2" floor="$3" goal="$4" mode own low high cpu peer peer_cpu ratio
    own="$(median "ours-$name" events_per_second)"
    read -r low high < <(spread "ours-$name" events_per_second) || true
    if [[ -z "$own" ]]; then
        row "$title" failed - - - - - - - "${floor}x" "${goal}x" -
        return
    fi
    cpu="$(median "ours-$name" cpu_us_per_event)"
    mode="$(better "$name")"
    peer="$(median "theirs-$name-$mode" events_per_second)"
    if [[ -z "$peer" ]]; then
        row "$title" "$(rate "$own")" "$(range "$low" "$high")" \
            "$(nanoseconds "$cpu")" - - - - - "${floor}x" "${goal}x" "no reference"
        return
    fi
    peer_cpu="$(median "theirs-$name-$mode" cpu_us_per_event)"
    ratio="$(awk -v a="$own" -v b="$peer" 'BEGIN { printf "%.1f", a / b }')"
    row "$title" "$(rate "$own")" "$(range "$low" "$high")" \
        "$(nanoseconds "$cpu")" "$(rate "$peer")" "$mode" "$(nanoseconds "$peer_cpu")" "${ratio}x" \
        "$(awk -v a="$peer_cpu" -v b="$cpu" 'BEGIN { printf "%.1fx", a / b }')" "${floor}x" "${goal}x" \
        "$(verdict "$(awk -v a="$own" -v b="$peer" 'BEGIN { print a / b }')" "$floor" "$goal")"
}

reference=""
if node_setup; then
    reference="Node $("$node" --version), @mastra/core $("$node" -p 'require(process.argv[1]).version' \
        "$node_folder/node_modules/@mastra/core/package.json")"
else
    say "going on without the reference: there will be rates, but no ratios"
fi

for ((round = 1; round <= rounds; round++)); do
    say "round $round of $rounds"
    for shape in one:1 fanout:f4 group:g4; do
        ours "${shape%:*}" --shape "${shape%:*}" --events "$events"
        [[ -n "$reference" ]] || continue
        for mode in await burst; do
            theirs "${shape%:*}-$mode" bus=ee mode="$mode" shape="${shape#*:}" n="$peer_events"
        done
    done
    ours replay --replay --events "$events"
    if [[ -n "$reference" ]]; then
        for mode in await burst; do
            theirs "replay-$mode" bus=cache mode="$mode" shape=1 n="$peer_cache_events"
        done
    fi
    ours queued --dispatch queued --events "$hand_over_events"
    ours latency --dispatch queued --rate 1000 --events "$latency_events"
    [[ -n "$reference" ]] && theirs latency bus=ee mode=lat n="$((latency_events / 2))" warm=500
done
for ((round = 1; round <= rounds; round++)); do
    say "across processes, round $round of $rounds"
    for broker in third publisher subscriber; do
        unix_ours "unix-$broker-await" --shape one --broker-in "$broker" --in-flight 1
        [[ -n "$reference" ]] && unix_theirs "unix-$broker-await-await" one --broker "$broker" --mode await
    done
    unix_ours unix-third-burst --shape one --in-flight 0
    unix_ours unix-fanout --shape fanout --subscribers 4 --in-flight 1
    unix_ours unix-group --shape group --subscribers 4 --in-flight 1
    unix_ours unix-confirmed --shape one --in-flight 64 --confirmed
    ours unix-latency --processes --bus "unix:$results/ours.sock" --shape one --rate 1000 \
        --events "$unix_latency_events"
    [[ -n "$reference" ]] || continue
    unix_theirs unix-third-burst-burst one --broker third --mode burst
    unix_theirs unix-fanout-await fanout --broker third --mode await
    unix_theirs unix-group-await group --broker third --mode await
    unix_theirs unix-latency one --broker third --mode latency
    beside_large ours unix-beside-large --processes --bus "unix:$results/neighbour.sock" \
        --shape one --rate 1000 --events "$unix_latency_events"
    rm -f "$results/neighbour.sock"*
    beside_large measure theirs-unix-beside-large "$node" "$root/bench/peer/unix_socket_run.mjs" \
        "$results/neighbour.sock" one --broker third --mode latency --events "$unix_latency_events"
    rm -f "$results/neighbour.sock"*
    mixed mixed-one one
    mixed mixed-fanout fanout
    # Compared with the reference's processes on a broker of their own.
    cp "$results/theirs-unix-third-await-await" "$results/theirs-mixed-one-await"
    cp "$results/theirs-unix-fanout-await" "$results/theirs-mixed-fanout-await"
done
say "memory: $memory_events events through a topic that keeps 100,000"
ours memory --replay --events "$memory_events"

say ""
say "Medians of $rounds $( ((rounds == 1)) && echo round || echo rounds), min-max in M/s; ${reference:-without the reference}"
row "in one process" trunkline min-max cpu reference mode cpu ratio "cpu ratio" floor goal reached
ratio_row "1 to 1" one 4 6
ratio_row "1 to 4" fanout 5 7
ratio_row "1 to a group of 4" group 7 10
ratio_row "replay decorator, 1 to 1" replay 15 30

own="$(median ours-queued events_per_second)"
read -r low high < <(spread ours-queued events_per_second) || true
row "to another thread, 1 to 1" "$(rate "$own")" "$(range "${low:-0}" "${high:-0}")" \
    "$(nanoseconds "$(median ours-queued cpu_us_per_event)")" - - - - - "1 M/s" "2 M/s" \
    "$(verdict "${own:-0}" 1e6 2e6)"
p50="$(median ours-latency p50_us)"
say ""
printf 'Latency at 1,000 events/s, to another thread: p50 %s us, p99 %s us; goal p50 at most 25 us: %s\n' \
    "${p50:--}" "$(median ours-latency p99_us)" \
    "$(awk -v p="${p50:-1e9}" 'BEGIN { print (p <= 25 ? "reached" : "missed") }')"
if [[ -n "$reference" ]]; then
    # Same thread, and the timer of an event loop: another thing, named for scale.
    printf '  (reference, on its own thread: p50 %.1f us, p99 %.1f us)\n' \
        "$(median theirs-latency p50_us)" "$(median theirs-latency p99_us)"
fi

say ""
row "across processes" trunkline min-max cpu reference mode cpu ratio "cpu ratio" floor goal reached
ratio_row "1 to 1, broker apart" unix-third-await 5 7
ratio_row "1 to 1, broker apart, burst" unix-third-burst 12 20
ratio_row "1 to 1, broker publishes" unix-publisher-await 6 12
ratio_row "1 to 1, broker subscribes" unix-subscriber-await 4 8
ratio_row "1 to 4" unix-fanout 12 20
ratio_row "1 to a group of 4" unix-group 1 5
ratio_row "theirs on our broker, 1" mixed-one 1.3 1.6
ratio_row "theirs on our broker, 4" mixed-fanout 2.5 4
row "1 to 1, confirmed" "$(rate "$(median ours-unix-confirmed events_per_second)")" - \
    "$(nanoseconds "$(median ours-unix-confirmed cpu_us_per_event)")" - - - - - - - -
p50="$(median ours-unix-latency p50_us)"
peer_p50="$(median theirs-unix-latency p50_us)"
printf 'Latency at 1,000 events/s, broker apart: p50 %s us, p99 %s us; reference p50 %s us\n' \
    "${p50:--}" "$(median ours-unix-latency p99_us)" "${peer_p50:--}"
if [[ -n "$peer_p50" && -n "$p50" ]]; then
    printf '  better by %s; floor 2.5x, goal 4x and at most 55 us\n' \
        "$(awk -v a="$peer_p50" -v b="$p50" 'BEGIN { printf "%.1fx", a / b }')"
fi

p99="$(median ours-unix-beside-large p99_us)"
peer_p99="$(median theirs-unix-beside-large p99_us)"
if [[ -n "$peer_p99" && -n "$p99" ]]; then
    printf 'The same beside events of 10 MB: p99 %s us; reference p99 %s us: %s\n' "$p99" "$peer_p99" \
        "$(awk -v a="$peer_p99" -v b="$p99" 'BEGIN { print (b < a) ? "lower" : "NOT LOWER" }')"
fi

peak="$(median ours-memory peak_rss_mb)"
within="$(awk -v p="${peak:-1e9}" -v m="$memory_mb_max" 'BEGIN { print (p < m) ? "yes" : "NO" }')"
say "Memory: peak ${peak:--} MB after $memory_events events, 100,000 kept; below $memory_mb_max MB: $within"
[[ "$within" == yes ]] || failures=$((failures + 1))

runs=0 wrong=0
for file in "$results"/ours-* "$results"/theirs-*; do
    [[ -f "$file" ]] || continue
    name="${file##*/}"
    while read -r delivered expected; do
        runs=$((runs + 1))
        [[ "$delivered" == "$expected" ]] && continue
        wrong=$((wrong + 1))
        say "$name: delivered $delivered, expected $expected"
    done < <(paste <(numbers "$name" delivered) <(numbers "$name" expected))
done
say "Delivered equals expected in $((runs - wrong)) of $runs runs"
((wrong == 0 && runs > 0)) || failures=$((failures + 1))
say "Machine: $(nproc) cores, $(sed -nE 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), load $(cut -d' ' -f1 /proc/loadavg)"

if [[ -z "$quick" ]]; then
    say ""
    say "Single questions, medians of ten repetitions (build/release/bin/bench_*):"
    for program in "$root"/build/release/bin/bench_*; do
        [[ -x "$program" ]] || continue
        if ! "$program" --benchmark_min_time=0.1 >"$results/single" 2>"$results/stderr"; then
            say "FAILED ${program##*/}" >&2
            failures=$((failures + 1))
        fi
        say "${program##*/}"
        grep -E '_median |ERROR|repeats:1/' "$results/single" | sed -E 's/^/  /; s/_median/       /'
    done
fi
((failures == 0)) || fail "$failures of the runs failed"
