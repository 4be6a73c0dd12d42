# Node 22 and the reference implementation, for interoperability tests and peer benchmarks; sourced
# after lib.sh and packages.sh, never run. Versions are pinned in tests/interop/package-lock.json.
# shellcheck shell=bash
# shellcheck disable=SC2154  # root and logs come from lib.sh

node_folder="$root/tests/interop"
# shellcheck disable=SC2034  # read by need
packages_node=(nodejs npm)

# node_setup: makes `node` the path of Node 22 with the reference beside it. Where that cannot be
# had it says why and returns 1, and the caller goes on without.
node_setup() {
    local lock="$node_folder/package-lock.json" stamp="$node_folder/node_modules/.complete" sum
    sum="$(sha256sum <"$lock")"
    if [[ ! -f "$stamp" || "$(<"$stamp")" != "$sum" ]]; then
        node_install || return 1
        printf '%s\n' "$sum" >"$stamp"
    fi
    node="$(node_binary)" || return 1
}

# The pinned Node, or where there is none for this machine, one of the same age in PATH.
node_binary() {
    local machine binary
    case "$(uname -m)" in
        x86_64) machine=x64 ;;
        aarch64) machine=arm64 ;;
        *) machine=none ;;
    esac
    for binary in "$node_folder/node_modules/node-linux-$machine/bin/node" "$(command -v node || true)"; do
        if [[ -x "$binary" && "$("$binary" --version 2>/dev/null || true)" == v22.* ]]; then
            printf '%s\n' "$binary"
            return
        fi
    done
    say "no Node 22: there is no package of it for $(uname -m), and none in PATH" >&2
    return 1
}

node_install() {
    local log="$logs/npm.log"
    if ! command -v npm >/dev/null && ! (need node && command -v npm >/dev/null); then
        say "no npm: it is not in PATH and could not be installed" >&2
        return 1
    fi
    say "installing Node 22 and the reference implementation (about 320 MB, tests/interop/node_modules)"
    # Scripts of packages are not needed and not run. Any npm will do: the engine that counts is the
    # Node which is being installed.
    if ! (cd "$node_folder" && npm ci --ignore-scripts --no-audit --no-fund) >"$log" 2>&1 </dev/null; then
        say "no Node 22 and no reference: npm ci failed: $(node_reason "$log")" >&2
        say "  the whole story: build/log/npm.log" >&2
        return 1
    fi
}

# The first line in which npm says what was wrong.
node_reason() {
    local line
    line="$(grep -m 1 -E '^npm (error|ERR!) (code|network|[A-Z])' "$1" || tail -1 "$1")"
    printf '%s' "${line#npm }"
}
