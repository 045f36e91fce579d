#!/bin/sh
# Mount namespace encapsulation on a machine with systemd as process 1: what mounts cost it outside and inside, whether
# services stay in one namespace whatever restarts, and a real containerd and kubelet with pods. Outside of `make test`.
#
#   tests/vm/kubens.sh [KERNEL]   starts the machine (weft-lab vm, 6.12 by default) and runs this file in it: eight to twelve minutes
#
# It takes containerd and runc of this machine (Debian's packages) and the kubelet that `make programs` built.
# WEFT_LAB names another weft-lab, WEFT_BIN_DIR another folder of weft's programs.
set -u

on_host() {
    set -e
    cd "$(dirname "$0")/../.."
    cache=${WEFT_KUBERNETES:-$HOME/.cache/weft/kubernetes}
    kubelet=$(find "$cache" -name kubelet -type f | head -n 1)
    [ -n "$kubelet" ] || { echo "kubens: no kubelet below $cache: make programs" >&2; exit 1; }
    exec "${WEFT_LAB:-target/release/weft-lab}" vm run --systemd --kernel "${1:-6.12}" --memory 3072 --deadline 3600 \
        --bin-dir "${WEFT_BIN_DIR:-target/release}" --add "tests/vm/kubens.sh" --add "$kubelet" \
        --add /usr/bin/containerd --add /usr/bin/containerd-shim-runc-v2 --add /usr/bin/ctr --add "$(command -v runc)" \
        --add "$(readlink -f "$(ldconfig -p | sed -n 's/.*libseccomp.so.2 .*=> //p' | head -n 1)")=libseccomp.so.2" \
        --add /lib/systemd/system/containerd.service -- sh kubens.sh in-machine
}

failed=0
say() { printf '== %s\n' "$*"; }
# check WHAT COMMAND...: says whether the command succeeds.
check() {
    what=$1
    shift
    if "$@"; then echo "ok      $what"; else echo "FAILED  $what"; failed=1; fi
}
namespace() { readlink "/proc/$1/ns/mnt"; }
pid() { systemctl show --value -p MainPID "$1"; }
of() { namespace "$(pid "$1")"; }
pinned() { findmnt -n -o SOURCE /run/kubens/mnt | sed 's/^nsfs\[\(.*\)\]$/\1/'; }
# until SECONDS COMMAND...: waits for it.
until_true() {
    left=$(($1 * 2))
    shift
    while ! "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 0.5
    done
}
together() { [ "$(of kubelet)" = "$(pinned)" ] && [ "$(of containerd)" = "$(pinned)" ]; }

# An image of one program, as `docker save` writes it.
pause_image() {
    stage=$(mktemp -d)
    mkdir "$stage/root"
    cp "$(command -v busybox)" "$stage/root/busybox"
    tar -C "$stage/root" -cf "$stage/layer.tar" .
    layer=$(sha256sum "$stage/layer.tar" | cut -d ' ' -f 1)
    printf '{"architecture":"amd64","os":"linux","config":{"Entrypoint":["/busybox","sleep","1000000"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$layer" >"$stage/config.json"
    printf '[{"Config":"config.json","RepoTags":["localhost/pause:1"],"Layers":["layer.tar"]}]' >"$stage/manifest.json"
    tar -C "$stage" -cf "$1" manifest.json config.json layer.tar
    rm -r "$stage"
}

node() {
    install -m 755 containerd containerd-shim-runc-v2 ctr runc kubelet weft kubensenter /usr/bin/
    [ -e /usr/lib/x86_64-linux-gnu/libseccomp.so.2 ] || install -m 755 libseccomp.so.2 /usr/lib/x86_64-linux-gnu/
    install -m 644 containerd.service /usr/lib/systemd/system/
    mkdir -p /etc/containerd /etc/kubernetes/manifests /var/lib/kubelet
    cat >/etc/containerd/config.toml <<END
version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
END
    cat >/etc/kubernetes/kubelet.yaml <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
staticPodPath: /etc/kubernetes/manifests
fileCheckFrequency: 1s
failSwapOn: false
cgroupDriver: cgroupfs
enableServer: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
END
    cat >/etc/systemd/system/kubelet.service <<END
[Unit]
After=containerd.service
[Service]
ExecStart=/usr/bin/kubelet --config=/etc/kubernetes/kubelet.yaml
Restart=always
RestartSec=1
KillMode=process
END
    systemctl daemon-reload
}

# pod NUMBER: a static pod with a volume that the kubelet mounts.
pod() {
    cat >"/etc/kubernetes/manifests/pod$1.yaml" <<END
apiVersion: v1
kind: Pod
metadata: {name: pod$1}
spec:
  hostNetwork: true
  containers:
  - {name: a, image: "localhost/pause:1", imagePullPolicy: Never, volumeMounts: [{name: memory, mountPath: /memory}]}
  volumes: [{name: memory, emptyDir: {medium: Memory}}]
END
}
kubelet_mounts() { kubensenter -q findmnt -rn -o TARGET | grep -c '/var/lib/kubelet/pods/'; }
runtime_mounts() { kubensenter -q findmnt -rn -o TARGET | grep -c '/run/containerd/'; }
outside_mounts() { findmnt -rn -o TARGET | grep -c -e /var/lib/kubelet/pods/ -e /run/containerd/; }
no_pods() { [ "$(kubelet_mounts)" = 0 ]; }
has_pods() { [ "$(kubelet_mounts)" -ge "$1" ] && [ "$(ctr -n k8s.io tasks list -q | wc -l)" -ge $((2 * $1)) ]; }

nobody_inside() {
    for link in /proc/[0-9]*/ns/mnt; do
        [ "$(readlink "$link")" != "$(pinned)" ] || return 1
    done
}

# Nanoseconds that process 1 had a processor.
used() { cut -d ' ' -f 1 /proc/1/schedstat; }
# churn STANDING PAIRS: so many mounts that stay, then so many made and removed, twenty pairs each second at most.
churn() {
    mkdir -p /mnt/standing /mnt/paced
    busybox sh -c '
        n=0; while [ $n -lt $1 ]; do mkdir -p /mnt/standing/$n; busybox mount -t tmpfs tmpfs /mnt/standing/$n; n=$((n + 1)); done
        n=0; while [ $n -lt $2 ]; do
            busybox mount -t tmpfs tmpfs /mnt/paced; busybox umount /mnt/paced; busybox sleep 0.05; n=$((n + 1))
        done
        n=0; while [ $n -lt $1 ]; do busybox umount /mnt/standing/$n; n=$((n + 1)); done' churn "$1" "$2"
}
# measure COMMAND...: milliseconds of process 1 meanwhile, the five seconds after it included, in which it catches up.
measure() {
    before=$(used)
    "$@" >/dev/null 2>&1
    sleep 5
    echo $((($(used) - before) / 1000000))
}

in_machine() {
    cd /weft || exit 1
    export PATH="/weft:$PATH"
    node
    say 'install'
    check 'install with systemd running' weft kubens install
    check 'the unit is enabled' [ "$(systemctl is-enabled kubens.service)" = enabled ]
    check 'off: status has no fault' weft kubens status
    systemctl start kubens.service
    check 'kubens.service is active' systemctl is-active --quiet kubens.service
    check 'KUBENSMNT= is written' grep -qx KUBENSMNT=/run/kubens/mnt /run/kubens/env
    systemctl start containerd.service
    until_true 120 ctr version
    pause_image /tmp/pause.tar
    ctr -n k8s.io images import /tmp/pause.tar
    systemctl start kubelet.service
    until_true 60 together
    say 'verification as in the documentation of OpenShift'
    for who in 1 "$(pid kubelet)" "$(pid containerd)"; do
        echo "/proc/$who/ns/mnt $(namespace "$who") $(cat "/proc/$who/comm")"
    done
    check 'kubelet and containerd are in the pinned namespace' together
    check 'process 1 is in another' [ "$(namespace 1)" != "$(pinned)" ]
    kubensenter findmnt -n / 2>&1
    check 'the sample line of the documentation' sh -c 'kubensenter true 2>&1 | grep -qx "kubensenter: Autodetect: kubens.service namespace found at /run/kubens/mnt"'
    check 'a service that is run inside' [ "$(systemd-run -q --wait --pipe kubensenter -q readlink /proc/self/ns/mnt)" = "$(pinned)" ]
    check 'status: nothing is wrong' weft kubens status
    check 'status from the inside is the same' sh -c '[ "$(kubensenter -q weft kubens status -o json | jq .namespaces)" = "$(weft kubens status -o json | jq .namespaces)" ]'
    check 'a start from the inside keeps it' sh -c 'kubensenter -q kubensenter --create 2>&1 | grep -q kept'

    say 'pods starting and stopping'
    for n in 1 2 3; do pod $n; done
    check 'three pods run' until_true 300 has_pods 3
    echo "inside: $(kubelet_mounts) mounts of the kubelet, $(runtime_mounts) of containerd; outside: $(outside_mounts)"
    check 'none of their mounts is outside' [ "$(outside_mounts)" = 0 ]
    rm /etc/kubernetes/manifests/pod1.yaml
    check 'one is gone' until_true 120 sh -c '[ "$(ctr -n k8s.io tasks list -q | wc -l)" = 4 ]'
    check 'still none outside' [ "$(outside_mounts)" = 0 ]

    say 'restarts in any order keep one namespace'
    first=$(pinned)
    for order in 'kubens containerd kubelet' 'kubens kubelet containerd' 'containerd kubens kubelet' \
        'containerd kubelet kubens' 'kubelet kubens containerd' 'kubelet containerd kubens'; do
        for service in $order; do
            # A stop of kubens.service is refused, and the unit fails, while somebody is inside; the start keeps the pin.
            systemctl restart "$service" 2>/dev/null
            check "$service restarted ($order)" until_true 60 together
        done
    done
    check 'it is the first one' [ "$(pinned)" = "$first" ]
    check 'kubens.service is active' systemctl is-active --quiet kubens.service
    systemctl stop kubens.service
    check 'a stop leaves pin and environment file' sh -c '[ -s /run/kubens/env ] && findmnt -n /run/kubens/mnt >/dev/null'
    check 'it says who is inside' sh -c "journalctl -u kubens.service | grep -q '$(pid kubelet) (kubelet)'"
    journalctl -u kubens.service -o cat | grep 'processes are in' | tail -n 1 | cut -c 1-200
    systemctl reset-failed kubens.service
    systemctl start kubens.service

    say 'what is apart is told'
    systemctl stop kubelet.service
    systemd-run -q --unit apart /usr/bin/kubelet --config=/etc/kubernetes/kubelet.yaml
    until_true 30 pidof kubelet
    check 'a kubelet outside is a fault' sh -c '! weft kubens status'
    systemctl stop apart.service
    rm /etc/kubernetes/manifests/*
    systemctl start kubelet.service
    until_true 120 no_pods
    check 'all pods are gone' until_true 120 sh -c '[ -z "$(ctr -n k8s.io tasks list -q)" ]'
    systemctl stop kubelet.service containerd.service

    say "processor time of process 1 ($(systemd --version | head -n 1)), ${STANDING:=150} mounts that stay, ${PAIRS:=150} made and removed"
    export STANDING PAIRS
    # The shell's own file in the place of a function, which kubensenter cannot start.
    outside=$(measure sh /weft/kubens.sh churn "$STANDING" "$PAIRS")
    inside=$(measure kubensenter -q sh /weft/kubens.sh churn "$STANDING" "$PAIRS")
    idle=$(measure sleep 30)
    echo "outside ${outside} ms, inside ${inside} ms, idle for 35 s ${idle} ms"
    check 'outside costs it 2 s at least' [ "$outside" -ge 2000 ]
    check 'inside at most 5 % of that' [ $((inside * 20)) -le "$outside" ]

    say 'stop and removal'
    # Shims end a moment after their containers, and are not the services' to end (KillMode=process).
    check 'nobody is inside' until_true 60 nobody_inside
    systemctl stop kubens.service
    check 'with nobody inside a stop unpins' sh -c '! systemctl is-failed --quiet kubens.service && ! findmnt /run/kubens && [ -z "$(ls /run/kubens)" ]'
    check 'uninstall' weft kubens uninstall
    check 'containerd starts on the host again' sh -c 'systemctl start containerd.service && [ "$(readlink /proc/$(pidof -s containerd)/ns/mnt)" = "$(readlink /proc/1/ns/mnt)" ]'
    if [ "$failed" = 0 ]; then
        say 'passed'
    else
        say 'FAILED; the last of kubens.service:'
        journalctl -u kubens.service -o cat | tail -n 5
    fi
    exit $failed
}

case ${1:-} in
in-machine) in_machine ;;
churn) churn "$2" "$3" ;;
*) on_host "$@" ;;
esac
