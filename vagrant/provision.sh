#!/usr/bin/env bash
# Makes a virtual machine a node of the lab. The Vagrantfile runs it on each `vagrant up`; run again, it changes only what differs.
#   provision.sh kernel    installs the wanted kernel, which the next boot starts
#   provision.sh node      everything else
# From the Vagrantfile: WEFT_NODE and WEFT_ADDRESS of this node, WEFT_ADDRESSES of all of them in order, WEFT_KERNEL, WEFT_DNS,
# WEFT_MODE (manifests.sh and kubernetes.sh beside this file), and for Kubernetes WEFT_PODS and WEFT_SERVICES, ranges of addresses.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

readonly ETC=/etc/weft UNITS=/etc/systemd/system
read -ra addresses <<< "${WEFT_ADDRESSES//,/ }"
restart=()

say() { printf 'provision: %s\n' "$*"; }
die() {
    say "$*" >&2
    exit 1
}

# put FILE [MODE]: standard input becomes the file, by renaming. True if that changed it.
put() {
    local new
    new=$(mktemp "$(dirname "$1")/.new.XXXXXX")
    cat > "$new"
    chmod "${2:-0644}" "$new"
    if cmp -s "$new" "$1"; then
        rm "$new"
        return 1
    fi
    mv "$new" "$1"
}

install_kernel() {
    local package
    ! uname -r | grep -q "^${WEFT_KERNEL//./\\.}\." || return 0
    # Not the cloud images: they lack the drivers of VirtualBox's disks.
    case $WEFT_KERNEL in
    6.1) package=linux-image-amd64 ;;
    *) package=linux-image-$WEFT_KERNEL-amd64 ;;
    esac
    say "installing $package"
    apt-get update -q
    apt-get install -q -y -o Dpkg::Use-Pty=0 "$package"
}

install_packages() {
    local package missing=() lists=(/weft/vagrant/packages)
    [ "$WEFT_MODE" != kubernetes ] || lists+=(/weft/vagrant/packages.kubernetes)
    while read -r package; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
    done < <(sed -s '/^#/d' "${lists[@]}")
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    apt-get update -q
    apt-get install -q -y -o Dpkg::Use-Pty=0 --no-install-recommends "${missing[@]}"
}

# Each node knows the others by name, and itself by the address that they know: Vagrant has put it on a loopback address.
write_hosts() {
    local number
    {
        sed '/ node[0-9]*\( \|$\)/d; /# the lab/d' /etc/hosts
        for number in "${!addresses[@]}"; do
            echo "${addresses[number]} node$((number + 1)) # the lab"
        done
    } | put /etc/hosts || true
}

# install_program NAME: one of weft's. True if that changed it.
install_program() { put "/usr/local/bin/$1" 0755 < "/weft/bin/$1"; }

interface() {
    ip -o -4 address show to "$WEFT_ADDRESS" | awk '{print $2}' | grep . ||
        die "no interface has $WEFT_ADDRESS: the private network is not up"
}

# unit NAME: standard input becomes it.
unit() {
    put "$UNITS/$1.service" || return 0
    restart+=("$1")
    systemctl daemon-reload
}

# start_services NAME...: also at each boot. Those whose configuration changed are restarted.
start_services() {
    local service
    systemctl --quiet enable "$@"
    for service in "$@"; do
        if [[ " ${restart[*]} " == *" $service "* ]]; then
            systemctl restart --no-block "$service"
        else
            systemctl start --no-block "$service"
        fi
    done
}

# until_done SECONDS TEXT UNIT COMMAND...: until the command succeeds; else the text, and the end of the unit's journal.
until_done() {
    local deadline=$((SECONDS + $1)) text=$2 unit=$3 said
    shift 3
    until said=$("$@" 2>&1); do
        if [ $SECONDS -gt $deadline ]; then
            journalctl --no-pager -n 30 -u "$unit"
            die "$text: ${said:-no answer}; the journal of $unit is above"
        fi
        sleep 1
    done
}

wait_until_ready() { # SECONDS UNIT
    until_done "$1" "weft is not ready on $WEFT_NODE" "$2" weft status
    say "weft is ready on $WEFT_NODE ($WEFT_ADDRESS, Linux $(uname -r)) after $SECONDS s"
}

# What a machine has of one mode stays there.
keep_mode() {
    local before
    mkdir -p "$ETC"
    before=$(cat "$ETC/mode" 2> /dev/null || echo "$WEFT_MODE")
    [ "$before" = "$WEFT_MODE" ] ||
        die "$WEFT_NODE was made with WEFT_MODE=$before: vagrant destroy it before it gets WEFT_MODE=$WEFT_MODE"
    echo "$WEFT_MODE" > "$ETC/mode"
}

case ${1:-} in
kernel) install_kernel ;;
node)
    keep_mode
    install_packages
    write_hosts
    put /usr/local/bin/weft-pod 0755 < /weft/vagrant/pod.sh || true
    # shellcheck source=/dev/null
    . "/weft/vagrant/$WEFT_MODE.sh"
    make_node
    ;;
*) die 'usage: provision.sh kernel|node' ;;
esac
