#!/usr/bin/env bash
# `make vagrant`: two virtual machines as nodes, traffic between pods over the private network; then a node boots anew and
# all of it is tried again. In the end nothing is left but the boxes and Vagrant's copies of them.
# Needs root, and the packages of `.ci/setup.sh vagrant`. What differs between the modes is in smoke/MODE.sh.
#   WEFT_MODE     manifests: weft as services; kubernetes: a cluster, weft in its pods (manifests)
#   WEFT_KERNEL   6.1, 6.12, or one for each node, as in "6.1 6.12" (6.12)
#   WEFT_DRIVER   kvm or qemu; found out by trying KVM unless it is set
#   WEFT_KEEP     1: the machines are left running (sandbox.sh run vagrant ssh node1; sandbox.sh stop)
set -euo pipefail
cd "$(dirname "$0")"

export WEFT_NODES=2 WEFT_BOX=local WEFT_KERNEL=${WEFT_KERNEL:-6.12} WEFT_MODE=${WEFT_MODE:-manifests}
case $WEFT_MODE in
manifests | kubernetes) ;;
*) echo "vagrant: WEFT_MODE=$WEFT_MODE: manifests or kubernetes is wanted" >&2 && exit 2 ;;
esac
# Addresses of a world outside the cluster, on the sandbox's loopback device: the nodes' default route leads to it.
readonly SANDBOX=${XDG_CACHE_HOME:-$HOME/.cache}/weft/vm/sandbox
readonly NAME_SERVER=198.51.100.53 ALLOWED=198.51.100.7 NAMED=198.51.100.8 DENIED=198.51.100.9
export WEFT_DNS=$NAME_SERVER
started=$SECONDS ips_a=() ips_b=() ips_c=()
scratch=$(mktemp -d)

say() { printf 'vagrant: %4d s  %s\n' $((SECONDS - started)) "$*"; }
fail() {
    say "FAILED: $*" >&2
    exit 1
}

machine_network() {
    ip -json link | sed 's/"[rt]x_[a-z]*": *[0-9]*//g'
    iptables-save 2>/dev/null | sed '/^#/d; s/\[[0-9:]*\]//'
    sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding
}

vagrant() { ./sandbox.sh run vagrant "$@"; }

# Not `vagrant ssh`, which takes seconds to start.
on() { # NODE COMMAND...
    local node=$1
    shift
    ./sandbox.sh run ssh -F "$scratch/ssh" "$node" -- sudo "$@"
}

# shellcheck source=/dev/null
. "smoke/$WEFT_MODE.sh"

# within SECONDS TEXT COMMAND...: until the command succeeds.
within() {
    local seconds=$1 text=$2 deadline=$((SECONDS + $1))
    shift 2
    until "$@" > "$scratch/said" 2>&1; do
        [ $SECONDS -lt "$deadline" ] || {
            cat "$scratch/said" >&2
            fail "$text: not within $seconds s"
        }
        sleep 0.5
    done
    say "$text"
}

boxes() {
    local kernel file kernels
    read -ra kernels <<< "${WEFT_KERNEL//,/ }"
    ./box.sh "${kernels[@]}" > "$scratch/boxes"
    while read -r kernel file; do
        # Vagrant's own copy, and libvirt's copy of that, are remade when the box is another.
        cmp -s "$file" "$SANDBOX/added-$kernel" 2>/dev/null && continue
        vagrant box add --force --provider libvirt --name "weft/debian12-$kernel" "$file"
        ln -f "$file" "$SANDBOX/added-$kernel"
    done < "$scratch/boxes"
}

choose_driver() {
    [ -n "${WEFT_DRIVER:-}" ] || WEFT_DRIVER=$(./sandbox.sh driver "${WEFT_KERNEL%%[, ]*}")
    export WEFT_DRIVER
    say "Linux $WEFT_KERNEL, libvirt's driver is $WEFT_DRIVER"
}

# A few hosts and a name server that every node reaches by its default route.
world() {
    local address
    # There already where the machines of an earlier run were kept.
    [ -z "$(./sandbox.sh run ip address show dev lo to "$NAME_SERVER")" ] || return 0
    for address in "$NAME_SERVER" "$ALLOWED" "$NAMED" "$DENIED"; do
        ./sandbox.sh run ip address replace "$address/32" dev lo
    done
    ./sandbox.sh run dnsmasq --conf-file=/dev/null --pid-file= --no-resolv --no-hosts --bind-interfaces \
        --listen-address="$NAME_SERVER" --local-ttl=5 --address="/www.example.test/$NAMED"
}

up() {
    vagrant up
    vagrant ssh-config > "$scratch/ssh"
    # One connection for each node, since under software emulation the handshake takes longest.
    sed -i "/^Host /a\\  ControlMaster auto\n  ControlPath $scratch/%n\n  ControlPersist 600" "$scratch/ssh"
    say 'both nodes are up'
}

ping_from() { # NODE POD ADDRESS
    on "$1" weft-pod exec "$2" ping -q -c 1 -W 2 "$3"
}
no_ping_from() { ! ping_from "$@" > /dev/null; }

tell_pods() {
    say "pods: shop/a on node1 ${ips_a[*]}, shop/b on node2 ${ips_b[*]}, bank/c on node2 ${ips_c[*]}"
}

# One file for each attachment, which holds its addresses.
endpoints() { on "$1" find /var/lib/weft/endpoints -type f ! -name lock; }

is_clean() {
    weft_on "$1" status > "$scratch/status" || return
    cat "$scratch/status"
    grep -q '^Problems *none' "$scratch/status"
}

clean_status() {
    local node
    for node in node1 node2; do
        within "$CLEAN_WITHIN" "weft status is clean on $node" is_clean "$node"
    done
}

check_isolation() {
    local ip
    for ip in "${ips_b[@]}"; do
        within 30 "shop/a reaches shop/b on the other node: $ip" ping_from node1 shop/a "$ip"
    done
    for ip in "${ips_c[@]}"; do
        no_ping_from node1 shop/a "$ip" || fail "shop/a reaches bank/c, of another project: $ip"
    done
    pod_network join-projects --to=shop bank > /dev/null
    for ip in "${ips_c[@]}"; do
        within 30 "shop/a reaches bank/c, joined: $ip" ping_from node1 shop/a "$ip"
    done
    pod_network isolate-projects bank > /dev/null
    for ip in "${ips_c[@]}"; do
        within 30 "shop/a does not reach bank/c, isolated: $ip" no_ping_from node1 shop/a "$ip"
    done
}

check_egress() {
    ping_from node1 shop/a "$DENIED" > /dev/null || fail "without a policy, shop/a does not reach $DENIED"
    put_objects egress <<END
apiVersion: network.openshift.io/v1
kind: EgressNetworkPolicy
metadata: {name: default, namespace: shop}
spec:
  egress:
  - {type: Allow, to: {cidrSelector: $NAME_SERVER/32}}
  - {type: Allow, to: {cidrSelector: $ALLOWED/32}}
  - {type: Allow, to: {dnsName: www.example.test}}
  - {type: Deny, to: {cidrSelector: 0.0.0.0/0}}
END
    local pod
    for pod in 'node1 shop/a' 'node2 shop/b'; do
        # shellcheck disable=SC2086 # node and pod
        within 30 "${pod#* } does not reach $DENIED, denied" no_ping_from $pod "$DENIED"
        # shellcheck disable=SC2086
        within 10 "${pod#* } reaches $ALLOWED, allowed by address" ping_from $pod "$ALLOWED"
        # shellcheck disable=SC2086
        within 30 "${pod#* } reaches www.example.test, allowed by name" named_from $pod
    done
    ping_from node2 bank/c "$DENIED" > /dev/null || fail "another project's policy keeps bank/c from $DENIED"
    drop_objects egress
    within 30 "shop/a reaches $DENIED again, without the policy" ping_from node1 shop/a "$DENIED"
}

named_from() { # NODE POD: asks the name server, then the address that it told
    local ip
    ip=$(on "$1" weft-pod exec "$2" dig +short +time=2 "@$NAME_SERVER" www.example.test)
    [ "$ip" = "$NAMED" ] && ping_from "$1" "$2" "$ip"
}

other_agent() {
    local pid
    pid=$(agent_pid "$1")
    [ -n "$pid" ] && [ "$pid" != "$2" ] && weft_on "$1" status
}

# What is in the kernel goes on without the agent: of 100 pings none may be lost.
check_kill() {
    local pid pinging
    pid=$(agent_pid node1)
    on node1 weft-pod exec shop/a ping -q -i 0.2 -c 100 -W 5 "${ips_b[0]}" > "$scratch/ping" 2>&1 &
    pinging=$!
    sleep 3
    on node1 kill -KILL "$pid"
    within 60 'the agent was killed, and another one is ready' other_agent node1 "$pid"
    wait "$pinging" || fail "pings while the agent was killed: $(cat "$scratch/ping")"
    grep -q '100 packets transmitted, 100 received' "$scratch/ping" || fail "lost while the agent was killed: $(cat "$scratch/ping")"
    say 'none of 100 pings was lost'
}

boot_node2() {
    vagrant reload node2
    ./sandbox.sh run ssh -F "$scratch/ssh" -O exit node2 2> /dev/null || true
    within "$1" 'node2 was booted anew, and its agent is ready' on node2 weft status
}

ended() {
    local status=$? node
    trap - EXIT
    if [ "${WEFT_KEEP:-}" = 1 ]; then
        say 'the machines are left running: vagrant/sandbox.sh run vagrant ssh node1, vagrant/sandbox.sh stop'
    else
        if [ $status != 0 ] && [ -e "$scratch/ssh" ]; then
            tell_more
            for node in node1 node2; do
                on "$node" journalctl --no-pager -n 40 "${UNITS[@]/#/--unit=}" || true
            done
        fi
        ./sandbox.sh stop
    fi
    rm -rf "$scratch"
    exit $status
}

main() {
    trap ended EXIT
    trap 'exit 130' INT TERM
    machine_network > "$scratch/before"
    boxes
    choose_driver
    world
    up
    prepare
    project shop
    project bank
    add_pods
    check_isolation
    check_egress
    check_more
    check_kill
    clean_status
    check_reboot
    check_isolation
    clean_status
    [ "${WEFT_KEEP:-}" = 1 ] || vagrant destroy --force > /dev/null
    machine_network | diff "$scratch/before" - || fail "the machine's own network changed, see above"
    say 'all is well, and the network of this machine is as it was'
}

main
