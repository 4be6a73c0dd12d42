#!/usr/bin/env bash
# ./dev lint [--all]: everything that can be said about the sources without running them. The slow
# checks look at what changed since the default branch, or with --all at every file.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$root/scripts/packages.sh"

all=""
case "${1:-}" in
    --all) all=1 ;;
    '') ;;
    *) fail "usage: ./dev lint [--all]" ;;
esac
need build test format lint
cd "$root"
files_max=24
failed=0

check() {
    local name="$1" begun=$SECONDS
    shift
    if "$@"; then
        say "ok      $name ($((SECONDS - begun)) s)"
    else
        say "FAILED  $name ($((SECONDS - begun)) s)"
        failed=1
    fi
}

scripts() {
    printf '%s\n' dev .ci/run
    git ls-files --cached --others --exclude-standard -- '*.sh'
}

# changed: C++ sources that differ from the default branch, committed or not; on the default branch
# itself those of the last commit; with no history at all a few.
changed() {
    local base='' ref
    if [[ -n "$all" ]]; then
        sources | grep '\.cpp$'
        return
    fi
    for ref in origin/main main; do
        git rev-parse --verify --quiet "$ref" >/dev/null || continue
        base="$(git merge-base HEAD "$ref" 2>/dev/null || true)"
        break
    done
    if [[ -z "$base" || "$base" == "$(git rev-parse HEAD)" ]]; then
        base="$(git rev-parse --verify --quiet HEAD~1 || true)"
    fi
    if [[ -z "$base" ]]; then
        sources | grep '^src/.*\.cpp$' | head -5
        return
    fi
    {
        git diff --name-only --diff-filter=d "$base" -- '*.cpp'
        git ls-files --others --exclude-standard -- '*.cpp'
    } | sort -u
}

formatting() {
    local bad
    bad="$(sources | xargs -r -d '\n' clang-format-19 --dry-run -Werror 2>&1 |
        grep -oE '^[^ :]+:[0-9]+:[0-9]+: error' | cut -d: -f1 | sort | uniq -c || true)"
    [[ -z "$bad" ]] && return
    say "$bad"
    return 1
}

shell_syntax() {
    local file status=0
    while IFS= read -r file; do
        [[ -f "$file" ]] || continue
        bash -n "$file" || status=1
    done < <(scripts)
    if command -v shellcheck >/dev/null; then
        scripts | xargs -r -d '\n' shellcheck || status=1
    fi
    return "$status"
}

# Each public header stands alone.
headers_clang() { compile lint all_verify_interface_header_sets; }

# Users may well have GCC 12, which is stricter in places.
headers_gcc() {
    local header
    for header in include/trunkline/*.hpp testkit/include/trunkline/testkit/*.hpp; do
        if [[ -f "$header" ]]; then say "#include <trunkline/${header#*/trunkline/}>"; fi
    done | g++ -std=c++20 -Wall -Wextra -Wshadow -Werror -fsyntax-only -DBOOST_ASIO_SEPARATE_COMPILATION \
        -Iinclude -Itestkit/include -x c++ -
}

# Only files that are compiled have a command to check them with.
compiled() {
    local file
    while IFS= read -r file; do
        if grep -qF "\"$root/$file\"" build/lint/compile_commands.json; then printf '%s\n' "$file"; fi
    done
}

static_analysis() {
    ((${#slow[@]})) || return 0
    printf '%s\n' "${slow[@]}" |
        xargs -r -d '\n' -n 1 -P "$(jobs)" clang-tidy-19 -p build/lint --quiet 2>"$logs/clang-tidy.log"
}

# GCC 12 frees twice what is built by a brace list, a capturing lambda or a class-type ?: in one
# expression with co_await. Name it first, or, where it is a harmless hit, say so on the line or the one
# above: "// co_await: harmless".
coroutine_expressions() {
    local file status=0 hit line
    local with=()
    for file in "${slow[@]}"; do
        if grep -q co_await "$file"; then with+=("$file"); fi
    done
    ((${#with[@]})) || return 0
    while IFS= read -r hit; do
        file="${hit%%:*}"
        line="${hit#*:}"
        line="${line%%:*}"
        if ! sed -n "$((line > 1 ? line - 1 : 1)),${line}p" "$file" | grep -q '// co_await: harmless'; then
            say "${file#"$root"/}:$line: name the braces, lambda or choice before the co_await"
            status=1
        fi
    done < <(
        printf '%s\n' "${with[@]}" |
            xargs -d '\n' -n 1 -P "$(jobs)" clang-query-19 -p build/lint -f scripts/coroutines.query 2>/dev/null |
            grep -oE '^/[^:]+:[0-9]+:[0-9]+: note: "root" binds here' | sort -u
    )
    return "$status"
}

check "formatting (./dev format repairs it)" formatting
check "shell scripts" shell_syntax
if configure lint; then
    check "public headers alone, Clang" headers_clang
    check "public headers, GCC" headers_gcc
    mapfile -t slow < <(changed | compiled)
    if [[ -z "$all" && ${#slow[@]} -gt $files_max ]]; then
        say "note    ${#slow[@]} files changed: the slow checks look at $files_max of them; --all for the rest"
        slow=("${slow[@]:0:files_max}")
    fi
    check "coroutine expressions, ${#slow[@]} files" coroutine_expressions
    check "clang-tidy, ${#slow[@]} files" static_analysis
else
    failed=1
fi
exit "$failed"
