#!/usr/bin/env bash
# Pods on a node without Kubernetes: network namespaces, attached by weft's CNI plugin as a container runtime does it.
# On the nodes it is the command weft-pod. With Kubernetes it only runs commands in pods' network namespaces: `exec`.
#   weft-pod project NAME              a project (a Namespace object); on node1, from where objects go to all nodes
#   weft-pod add NAMESPACE/NAME        prints the pod's addresses
#   weft-pod exec NAMESPACE/NAME CMD...
#   weft-pod del NAMESPACE/NAME
#   weft-pod list
set -euo pipefail

readonly OBJECTS=/etc/weft/manifests CONFLIST=/etc/cni/net.d/10-weft.conflist
# Forgotten at a reboot, as the namespaces are.
readonly PODS=/run/weft-pod

die() {
    printf 'weft-pod: %s\n' "$*" >&2
    exit 1
}

usage() {
    sed -n '4,8s/^# *//p' "$0" >&2
    exit 2
}

split() { # NAMESPACE/NAME: sets namespace, name, netns
    [[ $1 =~ ^([a-z0-9-]+)/([a-z0-9.-]+)$ ]] || die "$1 is no NAMESPACE/NAME"
    namespace=${BASH_REMATCH[1]} name=${BASH_REMATCH[2]}
    netns=pod_${namespace}_$name
}

project() {
    local file=$OBJECTS/project-$1.yaml
    [ -e "$OBJECTS/lab.yaml" ] || die "there are no manifests here: this is no node of the lab"
    [ ! -e /etc/weft/follower ] || die "objects are written on node1, from where the other nodes fetch them"
    [[ $1 =~ ^[a-z0-9-]+$ ]] || die "$1 is no name of a project"
    # Readers look at the directory all the time, and must not see half a file.
    printf 'apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n' "$1" > "$OBJECTS/.project-$1"
    mv "$OBJECTS/.project-$1" "$file"
}

cni() { # ADD|DEL
    [ -e "$CONFLIST" ] || die "$CONFLIST is missing: the agent was never ready (weft status)"
    CNI_COMMAND=$1 CNI_CONTAINERID=$(< "$PODS/$netns") CNI_NETNS=/run/netns/$netns CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin \
        CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=$namespace;K8S_POD_NAME=$name;K8S_POD_INFRA_CONTAINER_ID=$(< "$PODS/$netns")" \
        /opt/cni/bin/weft-cni <<< '{"cniVersion": "1.0.0", "name": "weft", "type": "weft-cni"}'
}

add() {
    split "$1"
    mkdir -p "$PODS"
    [ ! -e "$PODS/$netns" ] || die "$1 is there already"
    tr -d - < /proc/sys/kernel/random/uuid > "$PODS/$netns"
    ip netns add "$netns"
    if ! cni ADD > "$PODS/.result"; then
        cat "$PODS/.result" >&2
        cni DEL > /dev/null || true
        forget
        die "$1 was not attached"
    fi
    ip netns exec "$netns" ip -o address show dev eth0 scope global | awk '{sub("/.*", "", $4); print $4}'
}

forget() {
    ip netns del "$netns"
    rm -f "$PODS/$netns"
}

del() {
    split "$1"
    [ -e "$PODS/$netns" ] || die "there is no pod $1 on this node"
    cni DEL
    forget
}

run() {
    local pod=$1 pid
    split "$1"
    shift
    [ "${1:-}" != -- ] || shift
    [ $# -gt 0 ] || usage
    if [ -e "/run/netns/$netns" ]; then exec ip netns exec "$netns" "$@"; fi
    pid=$(sandbox_pid) || die "there is no pod $pod on this node"
    exec nsenter --target "$pid" --net -- "$@"
}

# The process that keeps a pod's namespaces, as containerd has it.
sandbox_pid() {
    local id
    command -v ctr > /dev/null || return 1
    for id in $(ctr --namespace k8s.io containers list --quiet \
        "labels.\"io.cri-containerd.kind\"==sandbox,labels.\"io.kubernetes.pod.namespace\"==$namespace,labels.\"io.kubernetes.pod.name\"==$name"); do
        # One that ended has none.
        cat "/run/containerd/io.containerd.runtime.v2.task/k8s.io/$id/init.pid" 2> /dev/null && return
    done
    return 1
}

case "${1:-} $#" in
'project 2') project "$2" ;;
'add 2') add "$2" ;;
'del 2') del "$2" ;;
'list 1') ! cd "$PODS" 2>/dev/null || printf '%s\n' pod_* | sed -n 's|^pod_\([^_]*\)_|\1/|p' ;;
'exec 1' | 'exec 2') usage ;;
'exec '*) run "${@:2}" ;;
*) usage ;;
esac
