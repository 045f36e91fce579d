# shellcheck shell=bash disable=SC2034,SC2154
# What `make vagrant` does with a cluster: pods, services and policies are made by kubectl. Part of smoke.sh.

readonly UNITS=(kubelet kube-proxy containerd kube-apiserver kube-controller-manager kube-scheduler etcd)
# An API server on an emulated processor may be silent for minutes, and weft says so.
readonly CLEAN_WITHIN=180
readonly CLUSTER=$SANDBOX/dotfile/cluster
# Both run on this machine, not in the emulated ones: the API server is in reach of the sandbox.
readonly AS_ADMIN=(./sandbox.sh run env "KUBECONFIG=$CLUSTER/credentials/kubeconfig" "KUBECACHEDIR=$scratch/kubectl")

kubectl() { "${AS_ADMIN[@]}" "$CLUSTER/programs/kubectl" "$@"; }

# Again, where the server of an emulated machine took too long: to be joined or isolated twice is the same as once.
pod_network() {
    local deadline=$((SECONDS + 180))
    until "${AS_ADMIN[@]}" "${WEFT_BIN_DIR:-../target/release}/weft" pod-network "$1" --timeout=60 "${@:2}"; do
        [ $SECONDS -lt $deadline ] || return 1
    done
}

weft_on() { # NODE ARGUMENT...: in the agent's container, as an operator does it
    local pod
    pod=$(kubectl -n weft get pods -l app.kubernetes.io/component=agent --field-selector "spec.nodeName=$1" -o name)
    kubectl -n weft exec "$pod" -c agent -- weft "${@:2}"
}

agent_pid() { on "$1" pgrep --full "'^[^ ]*weft agent '"; }

# A pod that comes before its account is refused.
project() {
    kubectl create namespace "$1" > /dev/null
    within 120 "project $1" kubectl -n "$1" get serviceaccount default
}

put_objects() { # NAME, YAML on standard input
    cat > "$scratch/$1.yaml"
    kubectl apply -f "$scratch/$1.yaml" > /dev/null
}
drop_objects() { kubectl delete -f "$scratch/$1.yaml" > /dev/null; }

pod_object() { # NAMESPACE NAME NODE
    cat << END
---
apiVersion: v1
kind: Pod
metadata: {name: $2, namespace: $1, labels: {app: $2}}
spec:
  nodeSelector: {kubernetes.io/hostname: $3}
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: localhost/agnhost:1
    imagePullPolicy: Never
    args: [netexec, --http-port=8080]
    readinessProbe: {httpGet: {port: 8080, path: /healthz}, periodSeconds: 2, timeoutSeconds: 10}
END
}

add_pods() {
    { pod_object shop a node1 && pod_object shop b node2 && pod_object bank c node2; } | put_objects pods
    kubectl -n shop wait --for=condition=Ready --timeout=300s pod/a pod/b > /dev/null
    kubectl -n bank wait --for=condition=Ready --timeout=300s pod/c > /dev/null
    read_pods
}

read_pods() {
    local pod
    for pod in shop/a shop/b bank/c; do
        kubectl -n "${pod%/*}" get pod "${pod#*/}" -o 'jsonpath={range .status.podIPs[*]}{.ip}{"\n"}{end}' > "$scratch/ips"
        [ "$(wc -l < "$scratch/ips")" = 2 ] || fail "pod $pod has not an IPv4 and an IPv6 address: $(cat "$scratch/ips")"
        mapfile -t "ips_${pod:5:1}" < "$scratch/ips"
    done
    tell_pods
}

served() { # NODE POD ADDRESS: the name of the pod that answers
    on "$1" weft-pod exec "$2" timeout 10 bash -c \
        "'exec 3<>/dev/tcp/$3/80 && printf \"GET /hostname HTTP/1.0\\r\\n\\r\\n\" >&3 && cat <&3'" | tail -n 1
}
served_by_b() { [ "$(served "$@")" = b ]; }
not_served() { ! served "$@" | grep .; }
named_in_cluster() { # NODE POD NAME ADDRESS
    [ "$(on "$1" weft-pod exec "$2" dig +short +time=2 "@$(sed -n 's/^ *clusterIP: *//p' "$CLUSTER/dns.yaml")" "$3")" = "$4" ]
}

# Services are kube-proxy's; whether their pods may be reached is weft's to say.
check_more() {
    local ip
    kubectl -n shop expose pod b --name=web --port=80 --target-port=8080 > /dev/null
    ip=$(kubectl -n shop get service web -o 'jsonpath={.spec.clusterIP}')
    within 60 "shop/a reaches service shop/web, a pod on the other node: $ip" served_by_b node1 shop/a "$ip"
    kubectl -n shop exec a -- /agnhost connect --timeout=10s "$ip:80" || fail "shop/a does not reach service shop/web ($ip) from its container"
    within 10 'bank/c does not reach it, of another project' not_served node2 bank/c "$ip"
    within 120 'the name server of the cluster, whose project is global, tells its address' \
        named_in_cluster node1 shop/a web.shop.svc.cluster.local "$ip"
}

restarted() { # POD
    kubectl -n "${1%/*}" get pod "${1#*/}" -o 'jsonpath={.status.containerStatuses[0].restartCount}{.status.containerStatuses[0].ready}' |
        grep -x '[1-9][0-9]*true'
}

# One attachment for each pod with a network of its own.
only_present() { # NODE
    kubectl get pods -A --field-selector "spec.nodeName=$1" -o custom-columns=HOST:.spec.hostNetwork,ID:.metadata.uid --no-headers |
        grep '^<none>' > "$scratch/present"
    endpoints "$1" > "$scratch/files"
    cat "$scratch/present" "$scratch/files"
    [ "$(wc -l < "$scratch/present")" = "$(wc -l < "$scratch/files")" ]
}

# Pods' objects outlive the boot, and the kubelet makes the pods anew. What the agent knew of those of before has to go.
check_reboot() {
    boot_node2 400
    within 300 'shop/b runs again' restarted shop/b
    within 300 'bank/c runs again' restarted bank/c
    read_pods
    within 60 'node2 holds addresses for the pods that are there, and no others' only_present node2
    within 60 "shop/a reaches shop/b on the other node: ${ips_b[0]}" ping_from node1 shop/a "${ips_b[0]}"
    drop_objects pods
    add_pods
}

prepare() {
    within 60 'both nodes are ready' kubectl wait --for=condition=Ready --timeout=50s node/node1 node/node2
    kubectl get nodes -o wide
}

tell_more() { kubectl get nodes,pods -A -o wide || true; }
