//! ClusterNetwork.

use serde_json::{Value, json};
use weft_core::model::{Mode, NetworkEntry};

use super::super::cluster_network;
use super::{network, with};

#[test]
fn a_cluster_network_has_defaults() {
    let network = cluster_network(&network()).unwrap();
    assert_eq!(network.mode, Mode::Multitenant);
    let cidr = "10.128.0.0/14".parse().unwrap();
    assert_eq!(network.networks, [NetworkEntry { cidr, host_bits: 9 }]);
    assert_eq!(network.services, ["172.30.0.0/16".parse().unwrap()]);
    assert_eq!((network.vxlan_port, network.mtu), (4789, 1450));
}

#[test]
fn good_cluster_networks() {
    let dual = json!([{"CIDR": "10.128.0.0/14", "hostSubnetLength": 9},
                      {"CIDR": "fd01::/48", "hostSubnetLength": 64}]);
    let cases = [
        json!({"pluginName": "Subnet"}),
        json!({"pluginName": "multitenant"}),
        json!({"pluginName": "redhat/OpenShift-OVS-subnet"}),
        json!({"network": "10.128.0.0/14", "hostsubnetlength": 9}),
        json!({"network": "", "hostsubnetlength": null}),
        json!({"clusterNetworks": [], "network": "10.0.0.0/8", "hostsubnetlength": 8}),
        json!({"vxlanPort": 1}),
        json!({"vxlanPort": 65535, "mtu": 65535}),
        json!({"mtu": 576}),
        json!({"clusterNetworks": dual, "mtu": 1280}),
        json!({"clusterNetworks": dual, "serviceNetworks": ["172.30.0.0/16", "fd02::/112"]}),
        json!({"clusterNetworks": [{"CIDR": "10.0.0.0/24", "hostSubnetLength": 8}]}),
        json!({"clusterNetworks": [{"CIDR": "10.0.0.0/24", "hostSubnetLength": 2}]}),
        json!({"serviceNetwork": "fd02::/112"}),
    ];
    for changes in cases {
        let made = cluster_network(&with(&network(), &changes));
        assert!(made.is_ok(), "{changes} gave {made:?}");
    }
    let mut annotated = network();
    annotated.set_annotation("anything", Some("goes"));
    annotated.value["metadata"]["generation"] = json!(3);
    assert!(
        cluster_network(&annotated).is_ok(),
        "metadata is Kubernetes' own"
    );
}

#[test]
fn bad_cluster_networks_are_refused_with_the_field() {
    let entry = |cidr: &str, length: i64| json!({"CIDR": cidr, "hostSubnetLength": length});
    let entries = |entries: &[Value]| json!({ "clusterNetworks": entries });
    let cases = [
        (json!({"clusterNetworks": []}), "clusterNetworks: is empty"),
        (json!({"clusterNetworks": 1}), "clusterNetworks"),
        (
            entries(&[entry("10.128.0.1/14", 9)]),
            "clusterNetworks[0].CIDR: 10.128.0.1/14 has host bits set",
        ),
        (
            entries(&[entry("10.128.0.0", 9)]),
            "clusterNetworks[0].CIDR",
        ),
        (
            entries(&[entry("010.128.0.0/14", 9)]),
            "clusterNetworks[0].CIDR",
        ),
        (
            entries(&[entry("10.128.0.0/33", 9)]),
            "clusterNetworks[0].CIDR",
        ),
        (
            entries(&[entry("10.128.0.0/14", 1)]),
            "clusterNetworks[0].hostSubnetLength: is 1, must be 2 to 18",
        ),
        (
            entries(&[entry("10.128.0.0/14", 19)]),
            "clusterNetworks[0].hostSubnetLength",
        ),
        (
            entries(&[entry("10.128.0.0/14", -1)]),
            "clusterNetworks[0].hostSubnetLength",
        ),
        (
            entries(&[entry("10.128.0.0/14", 300)]),
            "clusterNetworks[0].hostSubnetLength",
        ),
        (
            entries(&[entry("10.0.0.0/31", 2)]),
            "clusterNetworks[0].hostSubnetLength",
        ),
        (
            entries(&[entry("10.128.0.0/14", 9), entry("10.128.0.0/16", 9)]),
            "clusterNetworks[1].CIDR: 10.128.0.0/16 overlaps 10.128.0.0/14",
        ),
        (
            entries(&[entry("172.0.0.0/8", 9)]),
            "overlaps the service range",
        ),
        (
            entries(&[entry("fd01::/48", 81)]),
            "clusterNetworks[0].hostSubnetLength",
        ),
        (entries(&[entry("::ffff:10.0.0.0/104", 8)]), "IPv4-mapped"),
        (entries(&[entry("127.0.0.0/8", 8)]), "loopback"),
        (entries(&[entry("169.254.0.0/16", 8)]), "link-local"),
        (entries(&[entry("0.0.0.0/0", 8)]), "0.0.0.0/8"),
        (entries(&[entry("fe80::/64", 8)]), "link-local"),
        (
            entries(&[json!({"cidr": "10.0.0.0/8", "hostSubnetLength": 9})]),
            "clusterNetworks[0].cidr: unknown field",
        ),
        (
            entries(&[json!({"CIDR": "10.0.0.0/8"})]),
            "hostSubnetLength",
        ),
        (
            json!({"network": "10.0.0.0/8"}),
            "network: is 10.0.0.0/8, must be clusterNetworks[0].CIDR",
        ),
        (json!({"hostsubnetlength": 8}), "hostsubnetlength: is 8"),
        (
            json!({"clusterNetworks": null, "network": "10.0.0.0/8"}),
            "clusterNetworks: is empty",
        ),
        (
            json!({"clusterNetworks": null, "network": "10.0.0.1/8", "hostsubnetlength": 8}),
            "network: 10.0.0.1/8 has host bits",
        ),
        (
            json!({"serviceNetwork": "172.30.0.1/16"}),
            "serviceNetwork: 172.30.0.1/16 has host bits",
        ),
        (json!({"serviceNetwork": null}), "serviceNetwork"),
        (
            json!({"serviceNetworks": ["172.31.0.0/16"]}),
            "serviceNetworks[0]: is 172.31.0.0/16, must be serviceNetwork",
        ),
        (
            json!({"serviceNetworks": ["172.30.0.0/16", "172.31.0.0/16"]}),
            "serviceNetworks[1]: 172.31.0.0/16 is a second range",
        ),
        (json!({"serviceNetworks": []}), "serviceNetworks: is empty"),
        (
            json!({"pluginName": "redhat/openshift-ovs-networkpolicy"}),
            "not supported yet",
        ),
        (
            json!({"pluginName": "ovn"}),
            "pluginName: \"ovn\" is unknown",
        ),
        (json!({"pluginName": null}), "pluginName"),
        (
            json!({"vxlanPort": 0}),
            "vxlanPort: is 0, must be 1 to 65535",
        ),
        (json!({"vxlanPort": 65536}), "vxlanPort"),
        (json!({"vxlanPort": "4789"}), "vxlanPort"),
        (json!({"mtu": 575}), "mtu: is 575, must be 576"),
        (json!({"mtu": 65536}), "mtu"),
        (
            json!({"mtu": 1279, "clusterNetworks": [entry("fd01::/48", 64)]}),
            "mtu: is 1279",
        ),
        (json!({"colour": "red"}), "colour: unknown field"),
    ];
    for (changes, part) in cases {
        let error = cluster_network(&with(&network(), &changes));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(part), "{changes} gave {error:?}");
    }
    let mut legacy = network();
    legacy.api_version = "v1".into();
    let error = cluster_network(&legacy).unwrap_err().to_string();
    assert!(error.contains("apiVersion"), "{error}");
}
