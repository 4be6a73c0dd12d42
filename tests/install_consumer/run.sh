#!/usr/bin/env bash
# run.sh BUILD_DIR WORK_DIR PROJECT COMPILER: installs BUILD_DIR, then configures, builds and runs the
# project of that name against the installed copy. Of missing_component configuring must fail, and say
# which component there is not.
set -euo pipefail
build="$1" work="$2" project="$3" compiler="$4"
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

if ! command -v "$compiler" >/dev/null; then
    echo "there is no $compiler"
    echo "install.$project: Skipped"
    exit 0
fi
rm -rf "$work"
mkdir -p "$work"
cmake --install "$build" --prefix "$work/prefix" >"$work/install.log"
# Nothing may lead back to the source tree.
if grep -rlF -e "$(cd "$here/../.." && pwd)" --include="*.cmake" --include="*.hpp" "$work/prefix"; then
    echo "the installed files above name the tree they come from"
    exit 1
fi

configure=(
    cmake -S "$here/$project" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release
    -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_PREFIX_PATH="$work/prefix"
)
if [[ "$project" == missing_component ]]; then
    if "${configure[@]}" >"$work/configure.log" 2>&1; then
        echo "a component that does not exist was found"
        exit 1
    fi
    grep -F "has no component: teleport" "$work/configure.log"
    exit
fi
"${configure[@]}"
cmake --build "$work/build"
"$work/build/consumer"
