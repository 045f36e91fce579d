# shellcheck shell=bash disable=SC2154
# Weft as services, without Kubernetes: objects are files on node1. Part of provision.sh.

readonly OBJECTS=$ETC/manifests

install_weft() {
    local program
    for program in weft weft-cni; do
        install_program "$program" || continue
        restart+=(weft-agent weft-controller)
    done
}

# The interface is named because the default route's is not the underlay's here.
write_config() {
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
        printf -- '---\napiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n'
        for number in "${!addresses[@]}"; do
            printf -- '---\napiVersion: v1\nkind: Node\nmetadata: {name: node%s}\n' "$((number + 1))"
            printf 'status: {addresses: [{type: InternalIP, address: %s}]}\n' "${addresses[number]}"
        done
    } | put "$OBJECTS/lab.yaml" || true
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

make_node() {
    install_weft
    write_config
    unit weft-agent < /weft/deploy/systemd/weft-agent.service
    if [ "$WEFT_NODE" = node1 ]; then serve_objects; else fetch_objects; fi
    start_services "${enabled[@]}"
    wait_until_ready 240 weft-agent
}
