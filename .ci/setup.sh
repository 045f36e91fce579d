#!/usr/bin/env bash
# Finds what weft needs to build, run and test, and installs what is missing: `make setup`.
# `setup.sh vagrant` installs what `make vagrant` needs beside that.
# When nothing is missing it changes nothing, asks no server and takes a fraction of a second.
#
# The eBPF programs need rustc with the source of `core`, and bpf-linker on an LLVM at least as
# new as that rustc's. Two routes lead there, and agent/build.rs takes whichever is complete:
#   debian   packages rustc-web and rust-web-src (Debian 12 has them with its security updates)
#   nightly  a rustup nightly toolchain with the rust-src component
set -euo pipefail
cd "$(dirname "$0")/.."

readonly MIN_RUST=1.95 BPF_LINKER=0.13.0
readonly BUILD_PACKAGES=(gcc libc6-dev make ca-certificates)
readonly RUN_PACKAGES=(iproute2 iptables procps kmod mount)
# What the tests and benchmarks send traffic with and compare against.
readonly TEST_PACKAGES=(g++ iperf3 iputils-ping tcpdump ethtool curl dnsmasq-base bind9-dnsutils
    nftables containernetworking-plugins knot etcd-server unzip podman crun)
# What the virtual machines of `make vm` are made with and run by (docs/vm-lab.md).
readonly VM_PACKAGES=(qemu-system-x86 mmdebstrap busybox-static e2fsprogs xz-utils zstd debian-archive-keyring util-linux)
# What the lab of virtual machines needs (vagrant/); only `setup.sh vagrant` installs it.
readonly VAGRANT_PACKAGES=(vagrant vagrant-libvirt libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils
    mmdebstrap fdisk rsync dnsmasq-base openssh-client)
# What the nodes of a whole cluster run, unless the machine has a runtime of another make (Docker's, say), which they would drive out.
readonly RUNTIME_PACKAGES=(containerd runc)
# Of these, with their services, only the programs are wanted: a name server or a store for the tests is not to serve
# the machine.
declare -rA NO_SERVICES=([knot]=knot [etcd-server]=etcd [podman]=podman [containerd]=containerd [libvirt-daemon-system]=libvirtd)
# What bpf-linker links, beside llvm-N-dev.
readonly LLVM_PACKAGES=(libzstd-dev zlib1g-dev libxml2-dev)

export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/sbin:/sbin"
export DEBIAN_FRONTEND=noninteractive
started=$SECONDS
lists_fresh=no
changed=no

say() { printf 'setup: %s\n' "$*"; }
warn() { printf 'setup: warning: %s\n' "$*" >&2; }
die() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# step TEXT COMMAND...: runs the command, its output shown, and tells how long it took.
step() {
    local text=$1 from=$SECONDS
    shift
    changed=yes
    say "$text"
    # Not left to `set -e`, which does not act where the caller tests the outcome.
    "$@" || return
    say "done in $((SECONDS - from)) s"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    else
        die "needs root for: $*; run 'make setup' as root, or install sudo"
    fi
}

# --- Debian packages -------------------------------------------------------------------------

installed() { dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'; }
candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p'; }
# offered PACKAGE VERSION: whether the package sources have it, at that version or newer.
offered() {
    local found
    found=$(candidate "$1")
    [ -n "$found" ] && [ "$found" != '(none)' ] && at_least "${found#*:}" "$2"
}

refresh_lists() {
    [ "$lists_fresh" = no ] || return 0
    lists_fresh=yes
    step 'reading the package lists (apt-get update), some seconds' as_root apt-get update -q
}

apt_install() { as_root env RUNLEVEL=1 apt-get install -y -q -o Dpkg::Use-Pty=0 --no-install-recommends "$@"; }

# Old lists name package files that the servers no longer have, so a failed install is retried once.
apt_install_fresh() {
    apt_install "$@" && return 0
    [ "$lists_fresh" = no ] || die "apt-get could not install: $*"
    refresh_lists
    apt_install "$@" || die "apt-get could not install: $*"
}

# Before the package comes, its service is made one that systemd will not start, now or at boot; without systemd, run
# level 1 keeps the installation from starting it (apt_install). A service that was there before is its owner's.
keep_off() {
    local package unit
    [ -d /etc/systemd/system ] || return 0
    for package in "${!NO_SERVICES[@]}"; do
        unit=/etc/systemd/system/${NO_SERVICES[$package]}.service
        [[ " $* " != *" $package "* ]] || [ -e "$unit" ] || as_root ln -s /dev/null "$unit"
    done
}

want_packages() {
    local what=$1 package missing=()
    shift
    for package in "$@"; do
        installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    for package in "${missing[@]}"; do
        offered "$package" 0 || refresh_lists
    done
    keep_off "${missing[@]}"
    step "installing Debian packages $what: ${missing[*]}" apt_install_fresh "${missing[@]}"
}

# A machine without apt: the same needs by command, to be met with that system's packages.
want_commands() {
    local command
    have cc || die "no C compiler (cc): install gcc or clang with this system's package manager"
    for command in ip iptables-restore sysctl modprobe; do
        have "$command" || warn "no '$command' found: weft needs it at run time"
    done
    for command in ping iperf3 tcpdump ethtool curl dig dnsmasq knotd nft etcd podman crun containerd runc qemu-system-x86_64 mmdebstrap busybox; do
        have "$command" || warn "no '$command' found: some tests need it"
    done
}

# --- Rust ------------------------------------------------------------------------------------

has_core_source() { [ -d "$1/lib/rustlib/src/rust/library/core" ]; }
debian_rustc() { # version of Debian's rustc when its library source lies beside it
    local version
    [ -x /usr/bin/rustc ] && version=$(/usr/bin/rustc -V | cut -d' ' -f2) || return 1
    has_core_source "$(/usr/bin/rustc --print sysroot)" && at_least "$version" "$MIN_RUST" && echo "$version"
}
nightly_rustc() { # version of the rustup nightly when it has rust-src
    local sysroot
    have rustup && sysroot=$(rustup run nightly rustc --print sysroot 2>/dev/null) || return 1
    has_core_source "$sysroot" && rustup run nightly rustc -V | cut -d' ' -f2
}
llvm_of() { "$@" -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p'; }

want_cargo() {
    local version
    if have rustup; then
        # Proxies of rustup would fetch this by themselves, unless told not to.
        cargo -V >/dev/null 2>&1 ||
            step 'installing the Rust toolchain of rust-toolchain.toml, about a minute' \
                rustup toolchain install "$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)" \
                --profile minimal --component rustfmt --component clippy
    elif ! have cargo; then
        have apt-get || die "no cargo found: install Rust $MIN_RUST or newer from https://rustup.rs"
        offered cargo-web "$MIN_RUST" || refresh_lists
        offered cargo-web "$MIN_RUST" ||
            die "no cargo found, and the package sources have no cargo-web $MIN_RUST or newer:" \
                "enable Debian 12's security updates, or install Rust from https://rustup.rs"
        step 'installing Rust from Debian, some ten seconds' \
            apt_install_fresh cargo-web rustc-web rustfmt-web rust-web-clippy
    fi
    version=$(cargo -V | cut -d' ' -f2)
    at_least "$version" "$MIN_RUST" ||
        die "cargo $version is too old, $MIN_RUST is needed: 'rustup update', or remove it and run this again"
}

# Sets route, rustc_version and llvm (its major version).
want_ebpf_rustc() {
    if rustc_version=$(debian_rustc); then
        route=debian
    elif rustc_version=$(nightly_rustc); then
        route=nightly
    elif have apt-get && { offered rust-web-src "$MIN_RUST" || { refresh_lists && offered rust-web-src "$MIN_RUST"; }; }; then
        step 'installing rustc with its library source for the eBPF programs (60 MB, about half a minute)' \
            apt_install_fresh rustc-web rust-web-src
        rustc_version=$(debian_rustc) || die "rustc-web and rust-web-src are installed, but rustc's sysroot has no lib/rustlib/src/rust/library"
        route=debian
    elif have rustup; then
        step 'installing a nightly toolchain with rust-src for the eBPF programs, about a minute' \
            rustup toolchain install nightly --profile minimal --component rust-src ||
            die "rustup could not install a nightly toolchain with rust-src"
        rustc_version=$(nightly_rustc) || die "the nightly toolchain has no rust-src: rustup component add rust-src --toolchain nightly"
        route=nightly
    else
        die "no way to build the eBPF programs: neither do the package sources have rust-web-src" \
            "$MIN_RUST or newer (Debian 12 with security updates does), nor is there rustup for a nightly toolchain (https://rustup.rs)"
    fi
    if [ "$route" = debian ]; then llvm=$(llvm_of /usr/bin/rustc); else llvm=$(llvm_of rustup run nightly rustc); fi
}

want_bpf_linker() {
    local version prefix
    version=$(bpf-linker --version 2>/dev/null | cut -d' ' -f2) || version=
    [ -z "$version" ] || ! at_least "$version" "$BPF_LINKER" || return 0
    if have apt-get; then
        offered "llvm-$llvm-dev" 0 || installed "llvm-$llvm-dev" || refresh_lists
        ! offered "llvm-$llvm-dev" 0 ||
            want_packages 'that bpf-linker needs' "llvm-$llvm-dev" "libpolly-$llvm-dev" "${LLVM_PACKAGES[@]}" g++
    fi
    for prefix in "${LLVM_PREFIX:-}" "/usr/lib/llvm-$llvm" "$(llvm-config --prefix 2>/dev/null)"; do
        [ -x "$prefix/bin/llvm-config" ] && [ "$("$prefix/bin/llvm-config" --version | cut -d. -f1)" = "$llvm" ] && break
        prefix=
    done
    [ -n "$prefix" ] ||
        die "bpf-linker needs the development files of LLVM $llvm (rustc $rustc_version is built on it): install llvm-$llvm-dev," \
            "or set LLVM_PREFIX to where it lies"
    LLVM_PREFIX=$prefix step "building bpf-linker $BPF_LINKER on LLVM $llvm, one to two minutes" \
        cargo install bpf-linker --version "$BPF_LINKER" --locked --no-default-features --features "llvm-$llvm"
}

# --- The machine -----------------------------------------------------------------------------

want_bpffs() {
    [ "$(stat -f -c %T /sys/fs/bpf 2>/dev/null)" != bpf_fs ] || return 0
    changed=yes
    say 'mounting the BPF file system on /sys/fs/bpf (pinned maps live there)'
    as_root mount -t bpf bpf /sys/fs/bpf ||
        warn 'could not mount it: build and lint work, but demo, test and bench need it'
}

want_vagrant() {
    local init=systemd
    have apt-get || die "the lab of virtual machines is made from Debian packages: ${VAGRANT_PACKAGES[*]}"
    # The package that libvirt's prefers would bring another systemd to a machine without a running one.
    [ -d /run/systemd/system ] || init=sysv
    want_packages 'for virtual machines (100 MB, half a minute)' "libvirt-daemon-system-$init" "${VAGRANT_PACKAGES[@]}"
}

if [ "${1:-}" = vagrant ]; then
    want_vagrant
    exit
fi
if have apt-get; then
    unless_there=()
    { have containerd && have runc; } || unless_there=("${RUNTIME_PACKAGES[@]}")
    # Of any version: it says where modules are fetched from, and so where a newer one is (.ci/kubernetes.sh).
    { have go || [ -x /usr/local/go/bin/go ] || [ -n "${GOPROXY:-}" ]; } || unless_there+=(golang-go)
    want_packages 'to build, run and test' "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" "${TEST_PACKAGES[@]}" \
        "${VM_PACKAGES[@]}" "${unless_there[@]}"
else
    want_commands
fi
want_cargo
want_ebpf_rustc
want_bpf_linker
want_bpffs
[ "$changed" = no ] || say "finished in $((SECONDS - started)) s"
say "ready ($(cargo -V | cut -d' ' -f1,2); eBPF: $route rustc $rustc_version, $(bpf-linker --version))"
