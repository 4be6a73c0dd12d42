# What has to be installed, in one place; sourced, never run.
# shellcheck shell=bash

packages_build=(
    g++ cmake ninja-build pkg-config ccache lld clang-19
    libboost1.81-dev libboost-json1.81-dev libboost-system1.81-dev libboost-url1.81-dev
    libcli11-dev libssl-dev
)
packages_bench=(libbenchmark-dev)
packages_test=(
    libgtest-dev libgmock-dev librapidcheck-dev libbenchmark-dev libclang-rt-19-dev llvm-19
)
packages_format=(clang-format-19)
packages_lint=(clang-tidy-19 clang-tools-19)

# missing PACKAGE...: those that are not installed, one a line.
missing() {
    local package installed
    installed=" $(dpkg-query -W -f='${Package}=${db:Status-Status} ' "$@" 2>/dev/null || true)"
    for package in "$@"; do
        [[ "$installed" == *" $package=installed "* ]] || printf '%s\n' "$package"
    done
}

# need GROUP...: installs what is missing of the groups build, bench, test, format, lint.
need() {
    local group wanted=() lacking
    for group in "$@"; do
        local -n list="packages_$group"
        wanted+=("${list[@]}")
    done

    local system version
    system="$(. /etc/os-release 2>/dev/null && echo "${ID:-unknown}")" || system=unknown
    version="$(. /etc/os-release 2>/dev/null && echo "${VERSION_ID:-}")" || version=
    if [[ "$system" != debian || "$version" != 12 ]]; then
        say "This is ${system} ${version}, not Debian 12: nothing is installed for you."
        say "Going on with what is there. On Debian 12 it would be these packages:"
        say "  ${wanted[*]}"
        return
    fi

    mapfile -t lacking < <(missing "${wanted[@]}")
    ((${#lacking[@]})) || return 0

    if [[ " ${lacking[*]} " == *" libboost1.81-dev "* && -z "$(missing libboost1.74-dev)" ]]; then
        say "Boost 1.74 (libboost1.74-dev) is installed; Trunkline needs 1.81, and Debian lets only one of" >&2
        say "them be there. When nothing of yours needs the old one, remove it and run this again:" >&2
        say "  apt-get remove libboost1.74-dev" >&2
        exit 2
    fi

    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300)
    local line="apt-get update && apt-get install --yes --no-install-recommends ${lacking[*]}"
    local log="$logs/apt.log"
    if ((EUID != 0)); then
        if ! command -v sudo >/dev/null; then
            say "These packages are missing, and there is neither root nor sudo to install them. Run as root:" >&2
            say "  $line" >&2
            exit 2
        fi
        apt=(sudo "${apt[@]}")
    fi
    say "installing ${#lacking[@]} packages: ${lacking[*]}"
    local try
    for try in 1 2; do
        if "${apt[@]}" update >"$log" 2>&1 &&
            "${apt[@]}" install --yes --no-install-recommends "${lacking[@]}" >>"$log" 2>&1; then
            return 0
        fi
        ((try == 1)) && sleep 5
    done
    tail -30 "$log" >&2
    say "The packages could not be installed. By hand, as root:" >&2
    say "  $line" >&2
    exit 2
}
