# shellcheck shell=bash disable=SC2034,SC2154
# What `make vagrant` does where objects are files on node1. Part of smoke.sh.

readonly UNITS=(weft-agent weft-controller weft-objects)
# At once.
readonly CLEAN_WITHIN=0

project() { on node1 weft-pod project "$1"; }
pod_network() { on node1 weft pod-network "$@"; }
weft_on() { on "$1" weft "${@:2}"; }
agent_pid() { on "$1" systemctl show --property=MainPID --value weft-agent; }

# Readers look at the folder all the time, and must not see half a file.
put_objects() { # NAME, YAML on standard input
    on node1 sh -c "'cat > /etc/weft/manifests/.$1 && mv /etc/weft/manifests/.$1 /etc/weft/manifests/$1.yaml'"
}
drop_objects() { on node1 rm "/etc/weft/manifests/$1.yaml"; }

add_pods() {
    local pod
    for pod in shop/a:node1 shop/b:node2 bank/c:node2; do
        on "${pod#*:}" weft-pod add "${pod%:*}" > "$scratch/ips" || fail "pod ${pod%:*} on ${pod#*:}"
        mapfile -t "ips_${pod:5:1}" < "$scratch/ips"
    done
    tell_pods
}

# With a boot all pods are gone. What the agent knew of them has to go as well, or their addresses would be lost.
check_reboot() {
    boot_node2 120
    on node2 weft get pods -o json > "$scratch/pods"
    ! grep -q '"shop"\|"bank"' "$scratch/pods" || fail "after its boot node2 still knows pods: $(cat "$scratch/pods")"
    endpoints node2 > "$scratch/files"
    [ ! -s "$scratch/files" ] || fail "after its boot node2 still holds addresses of pods: $(cat "$scratch/files")"
    say 'the pods of before are forgotten, their addresses given back'
    on node1 weft-pod del shop/a
    add_pods
}

prepare() { :; }
check_more() { :; }
tell_more() { :; }
