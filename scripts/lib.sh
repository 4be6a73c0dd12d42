# Shared by ./dev and the scripts beside this file; sourced, never run.
# shellcheck shell=bash

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
logs="$root/build/log"
mkdir -p "$logs"

say() { printf '%s\n' "$*"; }
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# minutes SECONDS: "3 min 07 s"
minutes() { printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); }

# Two compilers at once may need 2.4 GB: fewer where there is less.
jobs() {
    local cores memory
    cores="$(nproc)"
    memory="$(awk '/^MemTotal:/ { print int($2 / 1200000) }' /proc/meminfo)"
    ((memory < 1)) && memory=1
    echo $((memory < cores ? memory : cores))
}

# The project's compiler; where it is not there, the newest one that can build the library.
compiler() {
    local candidate
    for candidate in "${TRUNKLINE_CXX:-}" clang++-19 clang++-{20,18,17,16} clang++ g++-{15,14,13} g++; do
        [[ -n "$candidate" ]] || continue
        if command -v "$candidate" >/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "no C++ compiler found; Trunkline wants clang++-19"
}

# configure PRESET [cmake argument...]
configure() {
    local preset="$1" log
    shift
    log="$logs/configure-$preset.log"
    local options=("-DCMAKE_CXX_COMPILER=$(compiler)")
    # CI is strict and compiles in batches; set both ways, because the cache remembers.
    if [[ "${CI:-}" == true ]]; then
        options+=(-DTRUNKLINE_WERROR=ON)
        [[ "$preset" == lint ]] || options+=(-DTRUNKLINE_UNITY=ON)
    else
        options+=(-DTRUNKLINE_WERROR=OFF)
        [[ "$preset" == release || "$preset" == lint ]] || options+=(-DTRUNKLINE_UNITY=OFF)
    fi
    if ! (cd "$root" && cmake --preset "$preset" "${options[@]}" "$@") >"$log" 2>&1; then
        cat "$log" >&2
        return 1
    fi
}

# compile PRESET [target...]: on a terminal ninja draws its own line; elsewhere one line now and then.
compile() {
    local preset="$1" log status=0 started=$SECONDS
    shift
    log="$logs/build-$preset.log"
    local command=(cmake --build --preset "$preset" --parallel "$(jobs)")
    (($#)) && command+=(--target "$@")
    say "building $preset"
    if [[ -t 1 ]]; then
        (cd "$root" && NINJA_STATUS='[%f/%t, %e s] ' "${command[@]}") || status=$?
    else
        (cd "$root" && NINJA_STATUS='[%f/%t] ' "${command[@]}") >"$log" 2>&1 &
        local builder=$! next=$((SECONDS + 20))
        while kill -0 "$builder" 2>/dev/null; do
            sleep 0.3
            if ((SECONDS >= next)); then
                say "  building $preset: $(grep -o '^\[[0-9/]*\]' "$log" | tail -1) after $(minutes $((SECONDS - started)))"
                next=$((SECONDS + 20))
            fi
        done
        wait "$builder" || status=$?
        if ((status)); then
            # What failed, without the lines of what did not.
            grep -v '^\[[0-9/]*\] \(Building\|Linking\|Re-checking\)' "$log" | tail -150 >&2
        fi
    fi
    if ((status)); then
        say "could not build $preset ($(minutes $((SECONDS - started))))" >&2
    else
        say "built $preset in $(minutes $((SECONDS - started)))"
    fi
    return "$status"
}

# sources: every C++ file of ours, committed or not, relative to the root.
sources() {
    (cd "$root" && git ls-files --cached --others --exclude-standard -- '*.cpp' '*.hpp') |
        while IFS= read -r file; do
            if [[ -f "$root/$file" ]]; then printf '%s\n' "$file"; fi
        done
}
