//! HostSubnet and NetNamespace.

use serde_json::json;

use super::super::{cluster_network, fits, host_subnet, net_namespace};
use super::{host, network, object, with};

#[test]
fn host_subnets() {
    let good = host("n1", "192.0.2.1", "10.128.0.0/23");
    let parsed = host_subnet(&good).unwrap();
    assert_eq!(parsed.value.ip.to_string(), "192.0.2.1");
    assert_eq!(parsed.warning, None);
    let both = json!({"subnets": ["10.128.0.0/23", "fd01::/64"], "egressIPs": ["192.0.2.9"], "egressCIDRs": ["192.0.2.0/24"]});
    let parsed = host_subnet(&with(&good, &both)).unwrap();
    assert_eq!(parsed.value.subnets.len(), 2);
    assert_eq!(parsed.warning, None);

    let cases = [
        (
            json!({"host": "n2"}),
            "host: is \"n2\", must be metadata.name, \"n1\"",
        ),
        (json!({"hostIP": ""}), "hostIP"),
        (json!({"hostIP": null}), "hostIP"),
        (
            json!({"hostIP": "127.0.0.1"}),
            "hostIP: 127.0.0.1 cannot be a host's",
        ),
        (json!({"hostIP": "::1"}), "loopback"),
        (json!({"hostIP": "0.0.0.0"}), "hostIP"),
        (json!({"hostIP": "224.0.0.1"}), "multicast"),
        (json!({"hostIP": "::ffff:192.0.2.1"}), "mapped"),
        (json!({"hostIP": "01.2.3.4"}), "hostIP"),
        (json!({"subnet": null}), "subnet: is missing"),
        (json!({"subnet": ""}), "subnet: is missing"),
        (json!({"subnet": "10.128.0.1/23"}), "host bits"),
        (json!({"subnet": "10.128.0.0/31"}), "too small"),
        (json!({"subnets": ["10.128.2.0/23"]}), "subnets[0]"),
        (
            json!({"subnets": ["10.128.0.0/23", "10.128.2.0/23"]}),
            "subnets[1]",
        ),
        (
            json!({"subnets": ["10.128.0.0/23", "fd01::1/64"]}),
            "subnets[1]: fd01::1/64 has host bits",
        ),
        (json!({"egressIP": []}), "egressIP: unknown field"),
    ];
    for (changes, part) in cases {
        let error = host_subnet(&with(&good, &changes)).unwrap_err().to_string();
        assert!(error.contains(part), "{changes} gave {error:?}");
    }
    for changes in [
        json!({"egressIPs": ["x"]}),
        json!({"egressCIDRs": ["10.0.0.1/8"]}),
    ] {
        let parsed = host_subnet(&with(&good, &changes)).unwrap();
        let warning = parsed.warning.unwrap();
        assert!(
            warning.contains("[0]"),
            "a bad egress address cuts nobody off: {warning}"
        );
    }
}

#[test]
fn a_host_subnet_fits_the_cluster_network() {
    let network = cluster_network(&network()).unwrap();
    let cases = [
        ("192.0.2.1", "10.128.0.0/23", None),
        ("192.0.2.1", "10.131.254.0/24", None),
        ("10.128.0.1", "10.128.0.0/23", Some("hostIP")),
        ("172.30.0.9", "10.128.0.0/23", Some("hostIP")),
        ("192.0.2.1", "10.132.0.0/23", Some("subnet")),
        ("192.0.2.1", "10.128.0.0/13", Some("subnet")),
        ("192.0.2.1", "fd01::/64", Some("subnet")),
    ];
    for (ip, subnet, part) in cases {
        let host = host_subnet(&host("n1", ip, subnet)).unwrap().value;
        match (fits(&host, &network), part) {
            (Ok(()), None) => {}
            (Err(error), Some(part)) => assert!(error.to_string().starts_with(part), "{error}"),
            (got, _) => panic!("{ip} {subnet} gave {got:?}"),
        }
    }
}

#[test]
fn net_namespaces() {
    let make = |fields| net_namespace(&object("NetNamespace", "a", fields));
    for netid in [0, 1, 16_777_215] {
        let parsed = make(json!({"netname": "a", "netid": netid})).unwrap();
        assert_eq!(parsed.value.vnid.number(), netid);
    }
    let cases = [
        (
            json!({"netname": "a", "netid": 16_777_216}),
            "netid: is 16777216, must be 0 to 16777215",
        ),
        (json!({"netname": "a", "netid": -1}), "netid"),
        (json!({"netname": "a", "netid": 1.5}), "netid"),
        (json!({"netname": "a", "netid": "7"}), "netid"),
        (json!({"netname": "a"}), "netid"),
        (json!({"netname": "b", "netid": 1}), "netname: is \"b\""),
        (json!({"netid": 1}), "netname"),
        (
            json!({"netname": "a", "netid": 1, "egressIp": []}),
            "egressIp: unknown field",
        ),
    ];
    for (fields, part) in cases {
        let error = make(fields).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let fields = json!({"netname": "a", "netid": 1, "egressIPs": ["192.0.2.7", "x"]});
    let warning = make(fields).unwrap().warning.unwrap();
    assert!(warning.contains("egressIPs[1]"), "{warning}");
    let bad = object("NetNamespace", "A_b", json!({"netname": "A_b", "netid": 1}));
    assert!(
        net_namespace(&bad)
            .unwrap_err()
            .to_string()
            .contains("metadata.name")
    );
}
