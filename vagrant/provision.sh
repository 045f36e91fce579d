#!/usr/bin/env bash
# Makes a virtual machine a node of the lab. The Vagrantfile runs it on each `vagrant up`; run again, it changes only what differs.
#   provision.sh kernel    installs the wanted kernel, which the next boot starts
#   provision.sh node      everything else
# From the Vagrantfile: WEFT_NODE and WEFT_ADDRESS of this node, WEFT_ADDRESSES of all of them in order,
# WEFT_KERNEL, WEFT_DNS.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

readonly ETC=/etc/weft OBJECTS=/etc/weft/manifests UNITS=/etc/systemd/system
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
    local package missing=()
    while read -r package; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing+=("$package")
    done < <(sed '/^#/d' /weft/vagrant/packages)
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

install_programs() {
    local program
    for program in weft weft-cni; do
        put "/usr/local/bin/$program" 0755 < "/weft/bin/$program" || continue
        restart+=(weft-agent weft-controller)
    done
    put /usr/local/bin/weft-pod 0755 < /weft/vagrant/pod.sh || true
}

interface() {
    ip -o -4 address show to "$WEFT_ADDRESS" | awk '{print $2}' | grep . ||
        die "no interface has $WEFT_ADDRESS: the private network is not up"
}

# The interface is named because the default route's is not the underlay's here.
write_config() {
    mkdir -p "$ETC"
    {
        printf 'nodeName: %s\nnodeInterface: %s\nsource: {manifests: %s}\n' "$WEFT_NODE" "$(interface)" "$OBJECTS"
        [ -z "${WEFT_DNS:-}" ] || printf 'dns: {servers: [%s]}\n' "$WEFT_DNS"
    } | put "$ETC/config.yaml" || return 0
    restart+=(weft-agent weft-controller)
}

# What somebody has to say; subnets, project networks and the rest come from the controller.
write_objects() {
    local number
    mkdir -p "$OBJECTS"
    {
        cat /weft/vagrant/cluster.yaml
        for number in "${!addresses[@]}"; do
            printf -- '---\napiVersion: v1\nkind: Node\nmetadata: {name: node%s}\n' "$((number + 1))"
            printf 'status: {addresses: [{type: InternalIP, address: %s}]}\n' "${addresses[number]}"
        done
    } | put "$OBJECTS/lab.yaml" || true
}

# unit NAME: standard input becomes it.
unit() {
    put "$UNITS/$1.service" || return 0
    restart+=("$1")
    systemctl daemon-reload
}

# node1 has the objects and the controller; the others fetch them.
serve_objects() {
    write_objects
    put "$ETC/rsyncd.conf" <<< "use chroot = no
[manifests]
path = $OBJECTS
read only = yes
exclude = .*" || true
    unit weft-objects <<< "[Unit]
Description=weft's manifests, for the other nodes

[Service]
ExecStart=/usr/bin/rsync --daemon --no-detach --address=$WEFT_ADDRESS --config=$ETC/rsyncd.conf
Restart=always

[Install]
WantedBy=multi-user.target"
    unit weft-controller < /weft/deploy/systemd/weft-controller.service
    enabled=(weft-objects weft-controller weft-agent)
}

# Whole files by renaming, and hidden until then: the agent never sees half of one. By content, since two changes within
# a second may leave size and second as they were.
fetch_objects() {
    mkdir -p "$OBJECTS"
    touch "$ETC/follower"
    unit weft-objects <<< "[Unit]
Description=weft's manifests, from node1

[Service]
ExecStart=/bin/sh -c 'while sleep 1; do rsync --recursive --times --checksum --delete --timeout=5 --contimeout=5 rsync://${addresses[0]}/manifests/ $OBJECTS/; done'
Restart=always

[Install]
WantedBy=multi-user.target"
    enabled=(weft-objects weft-agent)
}

start_services() {
    local service
    systemctl --quiet enable "${enabled[@]}"
    for service in "${enabled[@]}"; do
        if [[ " ${restart[*]} " == *" $service "* ]]; then
            systemctl restart --no-block "$service"
        else
            systemctl start --no-block "$service"
        fi
    done
}

wait_until_ready() {
    local deadline=$((SECONDS + 240))
    until weft status > /dev/null 2>&1; do
        if [ $SECONDS -gt $deadline ]; then
            weft status || true
            journalctl --no-pager -n 30 -u weft-agent
            die "weft is not ready on $WEFT_NODE; the journal is above"
        fi
        sleep 1
    done
    say "weft is ready on $WEFT_NODE ($WEFT_ADDRESS, Linux $(uname -r)) after $SECONDS s"
}

case ${1:-} in
kernel) install_kernel ;;
node)
    install_packages
    write_hosts
    install_programs
    write_config
    unit weft-agent < /weft/deploy/systemd/weft-agent.service
    if [ "$WEFT_NODE" = node1 ]; then serve_objects; else fetch_objects; fi
    start_services
    wait_until_ready
    ;;
*) die 'usage: provision.sh kernel|node' ;;
esac
