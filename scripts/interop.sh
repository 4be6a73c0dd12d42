#!/usr/bin/env bash
# ./dev interop: the tests against the reference implementation and its runtime. Without Node they
# are skipped, and the report says so.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$root/scripts/packages.sh"
. "$root/scripts/node.sh"

(($# == 0)) || fail "usage: ./dev interop"
need build test
if node_setup; then
    say "Node $("$node" --version), @mastra/core $("$node" -p \
        'require(process.argv[1]).version' "$node_folder/node_modules/@mastra/core/package.json")"
    export TRUNKLINE_NODE="$node"
else
    say "going on without: tests that need the reference are skipped"
fi
configure dev
compile dev trunkline_interop_tests
cd "$root/build/dev"
exec ctest -L interop --output-on-failure --no-tests=error
