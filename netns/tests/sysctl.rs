//! Kernel settings of a network namespace; needs root.

use weft_netns::{NetNs, sysctl};

#[test]
fn a_sysctl_is_the_namespaces_own() {
    let key = "net.ipv4.ip_default_ttl";
    let outside = sysctl::read(key).unwrap();
    let value = if outside == "77" { "78" } else { "77" };
    let ns = NetNs::create().unwrap();
    let inside = ns.run(|| sysctl::write(key, value).and_then(|()| sysctl::read(key)));
    assert_eq!(inside.unwrap().unwrap(), value);
    assert_eq!(
        sysctl::read(key).unwrap(),
        outside,
        "the machine's value is as before"
    );
    assert_eq!(
        ns.run(|| sysctl::read(key)).unwrap().unwrap(),
        value,
        "and it lasts"
    );
}

#[test]
fn a_sysctl_that_is_not_there_or_takes_no_such_value_is_named() {
    let ns = NetNs::create().unwrap();
    let missing = ns
        .run(|| sysctl::write("net.ipv4.conf.eth9.forwarding", "1"))
        .unwrap();
    let missing = missing.unwrap_err().to_string();
    let wanted = "write \"1\" to sysctl net.ipv4.conf.eth9.forwarding: No such file or directory";
    assert!(missing.starts_with(wanted), "{missing}");
    let refused = ns
        .run(|| sysctl::write("net.ipv4.ip_default_ttl", "many"))
        .unwrap();
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("net.ipv4.ip_default_ttl: Invalid argument"),
        "{refused}"
    );
    let missing = ns
        .run(|| sysctl::read("net.ipv4.no_such_key"))
        .unwrap()
        .unwrap_err();
    assert!(matches!(missing, sysctl::Error::Read { .. }), "{missing}");
}
