#!/usr/bin/env bash
# A libvirtd of its own, in network, mount and process namespaces: the machine's links, rules and sysctls stay as they are,
# and nothing outlives it. Needs root, and the packages of `.ci/setup.sh vagrant`.
#   sandbox.sh run COMMAND...   runs the command inside; starts the sandbox if there is none
#   sandbox.sh stop             ends it, with all its machines
#   sandbox.sh driver KERNEL    kvm, or qemu where KVM is missing or cannot run that kernel (its box is there)
# Vagrant's files and the machines' disks are in ~/.cache/weft/vm/sandbox.
set -euo pipefail
self=$(readlink -f "$0")
readonly HOME_DIR=${XDG_CACHE_HOME:-$HOME/.cache}/weft/vm
readonly DIR=$HOME_DIR/sandbox
# What libvirt writes; each gets a folder of the sandbox in its place.
readonly FOLDERS=(/etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt /run/libvirt)

say() { printf 'sandbox: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}

# The first process inside, as this machine numbers it: a child of the one that keeps the sandbox.
first() {
    local keeper
    keeper=$(cat "$DIR/pid" 2>/dev/null) || return 1
    # The number may be another process's by now.
    tr '\0' ' ' < "/proc/$keeper/cmdline" 2>/dev/null | grep -qF "$self inside" || return 1
    pgrep --parent "$keeper"
}

enter() {
    local pid
    pid=$(first) || die 'it is not running'
    nsenter --target "$pid" --net --mount --pid --wd="$PWD" -- env LIBVIRT_DEFAULT_URI=qemu:///system \
        VAGRANT_HOME="$DIR/vagrant.d" VAGRANT_DOTFILE_PATH="$DIR/dotfile" VAGRANT_DEFAULT_PROVIDER=libvirt \
        VAGRANT_CHECKPOINT_DISABLE=1 "$@"
}

configure_libvirt() {
    # No daemon for logs, no security modules and no control groups in here; everything is root's.
    cat > /etc/libvirt/qemu.conf <<'CONF'
stdio_handler = "file"
security_driver = "none"
namespaces = []
cgroup_controllers = []
remember_owner = 0
user = "root"
group = "root"
CONF
    cat > /etc/libvirt/libvirtd.conf <<'CONF'
auth_unix_ro = "none"
auth_unix_rw = "none"
CONF
}

# The first process of the sandbox. It stays to collect the machines' processes when they end.
inside() {
    local folder
    ip link set lo up
    # That of the new network namespace.
    mount -t sysfs sysfs /sys
    for folder in "${FOLDERS[@]}"; do
        mkdir -p "$folder" "$DIR/root$folder"
        mount --bind "$DIR/root$folder" "$folder"
    done
    configure_libvirt
    libvirtd --timeout 0 > "$DIR/libvirtd.log" 2>&1 &
    while :; do wait -n || sleep 1; done
}

start() {
    [ "$(id -u)" = 0 ] || die 'needs root'
    command -v libvirtd vagrant > /dev/null || die 'libvirtd and vagrant are missing: .ci/setup.sh vagrant installs them'
    # What an earlier one left: its machines went with it.
    rm -rf "$DIR/root" "$DIR/dotfile"
    mkdir -p "$DIR/vagrant.d" "$DIR/dotfile"
    setsid unshare --net --mount --pid --fork --kill-child --mount-proc "$self" inside < /dev/null > "$DIR/log" 2>&1 &
    echo $! > "$DIR/pid"
    local deadline=$((SECONDS + 30))
    until first > /dev/null && enter virsh version > /dev/null 2>&1; do
        [ $SECONDS -le $deadline ] || die "libvirtd does not answer: $DIR/log, $DIR/libvirtd.log"
        sleep 0.2
    done
}

stop() {
    local keeper deadline=$((SECONDS + 10))
    first > /dev/null || return 0
    keeper=$(cat "$DIR/pid")
    # It passes no other signal on; with it everything inside ends.
    kill -KILL "$keeper"
    while [ -e "/proc/$keeper" ] && [ $SECONDS -le $deadline ]; do sleep 0.1; done
    rm -rf "$DIR/root" "$DIR/dotfile" "$DIR/pid"
}

# A /dev/kvm says little: there are some that run only kernels made for them. So one is booted as far as it gets without a disk.
driver() {
    local kernel
    kernel=$(find "$HOME_DIR/boxes" -name "$1-*.vmlinuz" | head -n 1)
    if [ -w /dev/kvm ] && [ -n "$kernel" ] && timeout 15 qemu-system-x86_64 -accel kvm -cpu host -m 256 -display none -no-reboot \
        -serial stdio -monitor none -kernel "$kernel" -append 'console=ttyS0 panic=-1' 2>/dev/null < /dev/null |
        grep -q 'Unable to mount root fs'; then
        echo kvm
    else
        echo qemu
    fi
}

case ${1:-} in
run)
    first > /dev/null || start
    shift
    enter "$@"
    ;;
stop) stop ;;
driver) driver "${2:?}" ;;
inside) inside ;;
*) sed -n '4,6s/^# *//p' "$0" >&2 && exit 2 ;;
esac
