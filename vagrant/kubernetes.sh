# shellcheck shell=bash disable=SC2154
# A node of Kubernetes, with weft deployed by its own manifests. Part of provision.sh.
# Programs, credentials and images are in /weft (weft-lab machine-files made them), etcd and containerd are Debian's.

readonly KUBERNETES=/etc/kubernetes CREDENTIALS=/weft/credentials PROGRAMS=/weft/programs
readonly POD_IMAGE=localhost/agnhost:1
readonly AS_ADMIN=--kubeconfig=$CREDENTIALS/kubeconfig

# daemon NAME ARGUMENT...: a program of Kubernetes as a service. Another build of it makes another unit, and so a restart.
# The API server counts as started when it answers, and the others come after it: beside other work on an emulated
# processor it misses deadlines of its own, and ends.
daemon() {
    local name=$1 after=kube-apiserver.service wait=
    shift
    if [ "$name" = kube-apiserver ]; then
        after=''
        wait="ExecStartPost=/bin/sh -c 'until $PROGRAMS/kubectl $AS_ADMIN --request-timeout=10s get --raw /readyz; do sleep 2; done'"
    fi
    unit "$name" <<< "[Unit]
Description=Kubernetes' $name, built $(stat -c %y "$PROGRAMS/$name")
After=network.target etcd.service containerd.service $after
StartLimitIntervalSec=0

[Service]
ExecStart=$PROGRAMS/$name $*
$wait
TimeoutStartSec=900
Restart=always
RestartSec=2
# What a kubelet started is not its own.
KillMode=process

[Install]
WantedBy=multi-user.target"
}

configure_containerd() {
    mkdir -p /etc/containerd /opt/cni/bin
    cp -u /usr/lib/cni/loopback /opt/cni/bin/
    put /etc/containerd/config.toml <<< "version = 2
[plugins.'io.containerd.grpc.v1.cri']
sandbox_image = '$POD_IMAGE'
[plugins.'io.containerd.grpc.v1.cri'.cni]
bin_dir = '/opt/cni/bin'
conf_dir = '/etc/cni/net.d'
[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc.options]
SystemdCgroup = true" || return 0
    restart+=(containerd)
}

# Nothing is pulled. Where weft's own image is another, its containers end, and the kubelet starts them from the new one.
import_images() {
    local archive mark sum
    for archive in /weft/images/*.tar; do
        mark=$KUBERNETES/$(basename "$archive").imported
        sum=$(sha256sum < "$archive")
        [ "$sum" != "$(cat "$mark" 2> /dev/null)" ] || continue
        say "importing $(basename "$archive")"
        ctr --namespace k8s.io images import "$archive" > /dev/null
        if [ -e "$mark" ] && [ "$(basename "$archive")" = weft.tar ]; then end_weft; fi
        echo "$sum" > "$mark"
    done
}

end_weft() {
    local container
    for container in $(ctr --namespace k8s.io containers list --quiet 'image~=^localhost/weft:'); do
        ctr --namespace k8s.io tasks kill "$container" 2> /dev/null || true
    done
}

# Names are asked of WEFT_DNS, where that is set: by the agents, which have the node's servers, for policies with names.
configure_kubelet() {
    local resolver=/etc/resolv.conf dns
    [ -s "$resolver" ] || resolver=/dev/null
    if [ -n "${WEFT_DNS:-}" ]; then
        resolver=$KUBERNETES/resolv.conf
        tr -s ', ' '\n' <<< "$WEFT_DNS" | sed 's/^/nameserver /' | put "$resolver" || true
    fi
    dns=$(sed -n 's/^ *clusterIP: *//p' /weft/cluster/dns.yaml)
    if put "$KUBERNETES/kubelet.yaml" <<< "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: $CREDENTIALS/ca.crt}}
authorization: {mode: AlwaysAllow}
cgroupDriver: systemd
clusterDNS: [$dns]
clusterDomain: cluster.local
resolvConf: $resolver"; then restart+=(kubelet); fi
    # The address is told: that of the default route's interface is no node's own with VirtualBox.
    daemon kubelet --config=$KUBERNETES/kubelet.yaml "--kubeconfig=$CREDENTIALS/$WEFT_NODE.kubeconfig" \
        "--hostname-override=$WEFT_NODE" "--node-ip=$WEFT_ADDRESS" --housekeeping-interval=1m
}

configure_proxy() {
    if put "$KUBERNETES/kube-proxy.yaml" <<< "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
hostnameOverride: $WEFT_NODE
detectLocalMode: ClusterCIDR
clusterCIDR: $WEFT_PODS
clientConnection: {kubeconfig: $CREDENTIALS/kube-proxy.kubeconfig}"; then restart+=(kube-proxy); fi
    daemon kube-proxy --config=$KUBERNETES/kube-proxy.yaml
}

configure_control_plane() {
    # A write to the disk of an emulated machine takes long, and this one holds nothing that anybody would miss.
    if put /etc/default/etcd <<< 'ETCD_UNSAFE_NO_FSYNC=true'; then restart+=(etcd); fi
    daemon kube-apiserver --etcd-servers=http://127.0.0.1:2379 "--advertise-address=$WEFT_ADDRESS" \
        --tls-cert-file=$CREDENTIALS/apiserver.crt --tls-private-key-file=$CREDENTIALS/apiserver.key \
        --client-ca-file=$CREDENTIALS/ca.crt --token-auth-file=$CREDENTIALS/users.csv --authorization-mode=Node,RBAC \
        --enable-admission-plugins=NodeRestriction --service-account-issuer=https://kubernetes.default.svc \
        --service-account-key-file=$CREDENTIALS/service-account.pub \
        --service-account-signing-key-file=$CREDENTIALS/service-account.key "--service-cluster-ip-range=$WEFT_SERVICES" \
        --kubelet-preferred-address-types=InternalIP --kubelet-client-certificate=$CREDENTIALS/kubelet-client.crt \
        --kubelet-client-key=$CREDENTIALS/kubelet-client.key
    daemon kube-controller-manager $AS_ADMIN --leader-elect=false --root-ca-file=$CREDENTIALS/ca.crt \
        --service-account-private-key-file=$CREDENTIALS/service-account.key --use-service-account-credentials=true
    daemon kube-scheduler $AS_ADMIN --leader-elect=false
    install -d -m 0700 /root/.kube
    ln -sf $PROGRAMS/kubectl /usr/local/bin/kubectl
    ln -sf $CREDENTIALS/kubeconfig /root/.kube/config
}

# Again, where the server took too long for an answer: it may be slow, and applying twice is applying once.
apply() {
    until_done 900 "the objects of $1 cannot be applied" kube-apiserver \
        kubectl apply --server-side --force-conflicts --filename "$1"
}

# The interface is named in the agents' configuration because the default route's is not the underlay's here.
deploy_weft() {
    kubectl kustomize /weft/deploy |
        sed "/^  agent.yaml: |/,/^    source:/ s/^    source:.*/&\n    nodeInterface: $(interface)/" > "$KUBERNETES/weft.yaml"
    grep -q '^    nodeInterface: ' "$KUBERNETES/weft.yaml" || die 'the ConfigMap of weft is not as expected: no nodeInterface in it'
    apply "$KUBERNETES/weft.yaml"
    # Refused until the server has the kind, a moment after its definition.
    apply /weft/vagrant/cluster.yaml
    # Its image is here alone.
    sed '/^      serviceAccountName: coredns/i\      nodeSelector: {kubernetes.io/hostname: node1}' /weft/cluster/dns.yaml > "$KUBERNETES/dns.yaml"
    apply "$KUBERNETES/dns.yaml"
}

# Every project asks the cluster's DNS server.
share_dns() { weft pod-network make-projects-global "$AS_ADMIN" --timeout=60 kube-system; }

start_control_plane() {
    configure_control_plane
    start_services etcd kube-apiserver
    until_done 1800 'the API server does not answer' kube-apiserver systemctl is-active kube-apiserver
    start_services kube-controller-manager kube-scheduler
}

make_node() {
    mkdir -p "$KUBERNETES"
    install_program weft || true
    [ "$WEFT_NODE" != node1 ] || start_control_plane
    configure_containerd
    systemctl --quiet enable containerd
    if [[ " ${restart[*]} " == *' containerd '* ]]; then systemctl restart containerd; else systemctl start containerd; fi
    import_images
    configure_kubelet
    configure_proxy
    start_services kubelet kube-proxy
    [ "$WEFT_NODE" != node1 ] || deploy_weft
    wait_until_ready 1800 kubelet
    [ "$WEFT_NODE" != node1 ] || until_done 900 'project kube-system does not become global' kube-controller-manager share_dns
}
