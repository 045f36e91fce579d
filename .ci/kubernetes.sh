#!/usr/bin/env bash
# Builds what the tests run of Kubernetes from its Go modules (lab/kubernetes/go.mod pins them): `make kubernetes`.
#   .ci/kubernetes.sh [COMMAND...]      default: kube-apiserver kubectl
# COMMAND is one of Kubernetes' own, or agnhost (the program of the pods of its tests), or coredns (a module of its own).
# The programs come to $WEFT_KUBERNETES, else to weft/kubernetes/VERSION in the user's cache; a folder that has them already
# is left as it is, so WEFT_KUBERNETES may name one with programs from elsewhere. The last line of output is that folder.
set -euo pipefail
cd "$(dirname "$0")/../lab/kubernetes"

# Used where there is no Go, or one too old: Go's own module of its toolchain, from the Go proxy, into the same cache.
readonly MIN_GO=1.26 GO=go1.26.8
declare -rA GO_SHA256=(
    [x86_64]=30c2b1bf7dcc88d3eb0a1364e47ddd9128edb3110a30e8a0ef61cd5856b31de7
    [aarch64]=02b36b6787b3ac767668f630e2998df45a3b1f9ffee08d1bf3ef6487cd658d99
)
declare -rA GO_ARCH=([x86_64]=amd64 [aarch64]=arm64)

version=$(sed -n 's|^\s*k8s.io/kubernetes \(v[0-9.]*\)\( //.*\)\?$|\1|p' go.mod)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/weft/kubernetes
bin=${WEFT_KUBERNETES:-$cache/$version}
started=$SECONDS

say() { printf 'kubernetes: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

missing() {
    local command
    for command in "$@"; do
        [ -x "$bin/$command" ] || echo "$command"
    done
}

# The first server of GOPROXY, which may have others after it, `direct` and `off`. Any Go has a setting, also one too old.
proxy() {
    local entry candidate list=${GOPROXY:-}
    for candidate in go /usr/local/go/bin/go; do
        [ -n "$list" ] || list=$("$candidate" env GOPROXY 2>/dev/null) || true
    done
    for entry in ${list//[,|]/ }; do
        case $entry in http://* | https://* | file://*) echo "${entry%/}" && return ;; esac
    done
    return 1
}

fetch_go() {
    local machine module server from=$SECONDS
    machine=$(uname -m)
    [ -n "${GO_SHA256[$machine]:-}" ] || die "no Go $MIN_GO or newer found, and none known for $machine: install one"
    module=v0.0.1-$GO.linux-${GO_ARCH[$machine]}
    server=$(proxy) || die "no Go $MIN_GO or newer found: install one, or set GOPROXY to the URL of a Go module proxy for fetching $GO"
    command -v unzip >/dev/null || die "no Go $MIN_GO or newer found: install one, or unzip for fetching $GO"
    say "no Go $MIN_GO or newer found: fetching $GO (70 MB) from $server"
    curl --fail --silent --show-error --location --output "$scratch/go.zip" "$server/golang.org/toolchain/@v/$module.zip" ||
        die "could not fetch $GO: set GOPROXY to a Go module proxy, or install Go $MIN_GO or newer"
    echo "${GO_SHA256[$machine]}  $scratch/go.zip" | sha256sum --check --quiet - ||
        die "what $server sent as $GO is not what is expected (SHA-256 differs)"
    unzip -q "$scratch/go.zip" -d "$scratch/unpacked"
    # A module's archive keeps no modes.
    chmod +x "$scratch/unpacked/golang.org/toolchain@$module"/{bin/*,pkg/tool/*/*}
    mv "$scratch/unpacked/golang.org/toolchain@$module" "$cache/$GO"
    say "done in $((SECONDS - from)) s"
}

# Sets go to a program new enough.
want_go() {
    local candidate found
    for candidate in "$(command -v go)" /usr/local/go/bin/go "$cache/$GO/bin/go"; do
        found=$("$candidate" env GOVERSION 2>/dev/null) || continue
        if at_least "${found#go}" "$MIN_GO"; then
            go=$candidate
            return
        fi
    done
    fetch_go
    go=$cache/$GO/bin/go
}

# build MODULE PACKAGE...: in one go, so that one program is linked while the next one is compiled. Each comes to its name
# whole.
build() {
    local module=$1 from=$SECONDS number=${version#v} package=k8s.io/component-base/version program
    local major=${number%%.*} minor=${number#*.}
    shift
    say "building ${*##*/}"
    # Without the version, clients take the server for v0.0.0 and some refuse it.
    CGO_ENABLED=0 "$go" build -C "$module" -buildvcs=false -mod=readonly -gcflags=all=-dwarf=false -o "$scratch/" \
        -ldflags "-s -w -X $package.gitVersion=$version -X $package.gitMajor=$major -X $package.gitMinor=${minor%%.*}" \
        "$@" || die "could not be built: ${*##*/}"
    for program in "${@##*/}"; do mv "$scratch/$program" "$bin/$program"; done
    say "built in $((SECONDS - from)) s"
}

build_all() {
    local command packages=()
    for command in "$@"; do
        case $command in
            coredns) ;;
            agnhost) packages+=(k8s.io/kubernetes/test/images/agnhost) ;;
            *) packages+=("k8s.io/kubernetes/cmd/$command") ;;
        esac
    done
    [ ${#packages[@]} = 0 ] || build . "${packages[@]}"
    # Not in the module of Kubernetes: it wants other versions of what both are made of.
    [[ " $* " != *" coredns "* ]] || build coredns weft.test/kubernetes/coredns
}

[ -n "$version" ] || die "lab/kubernetes/go.mod does not say which version"
[ $# -gt 0 ] || set -- kube-apiserver kubectl
if [ -n "$(missing "$@")" ]; then
    mkdir -p "$cache" "$bin"
    # One build at a time: a second caller waits and then finds the programs.
    exec 9>"$cache/lock"
    flock 9
    # On the file system of the programs: each comes to its name whole.
    scratch=$(mktemp -d "$bin/.building-XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    mapfile -t todo < <(missing "$@")
    [ ${#todo[@]} = 0 ] || {
        say "Kubernetes $version comes to $bin; five to ten minutes the first time (2 cores), 3 GB of Go's caches"
        want_go
        build_all "${todo[@]}"
        say "finished in $((SECONDS - started)) s"
    }
fi
echo "$bin"
