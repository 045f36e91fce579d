use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::compile::host::tests::cluster;
use crate::model::LocalNode;

/// The rules of a node with this address in the underlay, and these in the pod network.
fn rules(networks: &[&str], ip: &str, gateways: &[&str]) -> Vec<Ruleset> {
    let gateways: Vec<_> = gateways.iter().map(|ip| ip.parse().unwrap()).collect();
    let node = LocalNode {
        name: "node1".into(),
        ip: ip.parse().unwrap(),
        addresses: vec![
            ip.parse().unwrap(),
            "172.30.0.1".parse().unwrap(),
            "2001:db8::7".parse().unwrap(),
        ],
    };
    rulesets(&cluster(networks), &node, &gateways)
}

#[test]
fn the_rules_of_an_ipv4_node() {
    let sets = rules(
        &["10.128.0.0/14", "10.200.0.0/16"],
        "192.168.50.11",
        &["10.128.2.1"],
    );
    assert_eq!(sets.len(), 1);
    assert_eq!(
        sets[0].to_string(),
        "\
*raw
:OPENSHIFT-NOTRACK -
-A OUTPUT -j OPENSHIFT-NOTRACK
-A PREROUTING -j OPENSHIFT-NOTRACK
-A OPENSHIFT-NOTRACK -p udp -m udp --dport 4789 -j CT --notrack
*mangle
:OPENSHIFT-BLOCK-POSTROUTING -
-A POSTROUTING -j OPENSHIFT-BLOCK-POSTROUTING
-A OPENSHIFT-BLOCK-POSTROUTING -d 172.30.0.0/16 ! -o lo -j DROP
-A OPENSHIFT-BLOCK-POSTROUTING -p udp -m udp --dport 4789 -m conntrack --ctdir ORIGINAL -m conntrack ! --ctorigdstport 4789 -j DROP
*nat
:OPENSHIFT-MASQUERADE -
:OPENSHIFT-MASQUERADE-2 -
-A POSTROUTING -j OPENSHIFT-MASQUERADE
-A OPENSHIFT-MASQUERADE -m mark --mark 0x1/0x1 -j RETURN
-A OPENSHIFT-MASQUERADE -s 10.128.0.0/14 -j OPENSHIFT-MASQUERADE-2
-A OPENSHIFT-MASQUERADE -s 10.200.0.0/16 -j OPENSHIFT-MASQUERADE-2
-A OPENSHIFT-MASQUERADE-2 -d 10.128.0.0/14 -j RETURN
-A OPENSHIFT-MASQUERADE-2 -d 10.200.0.0/16 -j RETURN
-A OPENSHIFT-MASQUERADE-2 -j MASQUERADE
*filter
:OPENSHIFT-FIREWALL-ALLOW -
:OPENSHIFT-FIREWALL-ALLOW-2 -
:OPENSHIFT-FIREWALL-DNAT -
:OPENSHIFT-FIREWALL-EGRESS -
:OPENSHIFT-FIREWALL-FORWARD -
:OPENSHIFT-FIREWALL-FORWARD-2 -
:OPENSHIFT-FIREWALL-OUTPUT -
:OPENSHIFT-ADMIN-OUTPUT-RULES -
-A FORWARD -i weft+ ! -o weft+ -j OPENSHIFT-ADMIN-OUTPUT-RULES
-A FORWARD -j OPENSHIFT-FIREWALL-FORWARD
-A FORWARD -j OPENSHIFT-FIREWALL-FORWARD-2
-A INPUT -j OPENSHIFT-FIREWALL-ALLOW
-A INPUT -j OPENSHIFT-FIREWALL-ALLOW-2
-A OUTPUT -j OPENSHIFT-FIREWALL-OUTPUT
-A OPENSHIFT-FIREWALL-ALLOW -p udp -m udp --dport 4789 -m conntrack --ctdir ORIGINAL -m conntrack ! --ctorigdstport 4789 -j DROP
-A OPENSHIFT-FIREWALL-ALLOW -d 127.0.0.0/8 -i weft+ -j DROP
-A OPENSHIFT-FIREWALL-ALLOW -i weft+ -m conntrack --ctstate DNAT -m conntrack --ctdir ORIGINAL -j OPENSHIFT-FIREWALL-EGRESS
-A OPENSHIFT-FIREWALL-ALLOW -p udp -m udp --dport 4789 -j ACCEPT
-A OPENSHIFT-FIREWALL-ALLOW-2 -i weft+ -j ACCEPT
-A OPENSHIFT-FIREWALL-DNAT -m conntrack --ctorigdst 10.128.2.1 -j DROP
-A OPENSHIFT-FIREWALL-DNAT -m conntrack --ctorigdst 192.168.50.11 -m conntrack --ctorigdstport 53 -j DROP
-A OPENSHIFT-FIREWALL-DNAT -j OPENSHIFT-FIREWALL-EGRESS
-A OPENSHIFT-FIREWALL-EGRESS -p tcp -m conntrack --ctorigdst 172.30.0.1 -m conntrack --ctorigdstport 443 -j RETURN
-A OPENSHIFT-FIREWALL-FORWARD -s 10.128.0.0/14 -m conntrack --ctstate INVALID -j DROP
-A OPENSHIFT-FIREWALL-FORWARD -s 10.200.0.0/16 -m conntrack --ctstate INVALID -j DROP
-A OPENSHIFT-FIREWALL-FORWARD -i weft0 -p tcp -m conntrack --ctstate DNAT -m conntrack --ctdir ORIGINAL -j REJECT --reject-with tcp-reset
-A OPENSHIFT-FIREWALL-FORWARD -i weft0 -m conntrack --ctstate DNAT -m conntrack --ctdir ORIGINAL -j REJECT
-A OPENSHIFT-FIREWALL-FORWARD -d 10.128.0.0/14 -j ACCEPT
-A OPENSHIFT-FIREWALL-FORWARD -d 10.200.0.0/16 -j ACCEPT
-A OPENSHIFT-FIREWALL-FORWARD -i weft+ -m conntrack --ctstate DNAT -m conntrack --ctdir ORIGINAL -j OPENSHIFT-FIREWALL-DNAT
-A OPENSHIFT-FIREWALL-FORWARD-2 -d 172.30.0.0/16 ! -o lo -p tcp -j REJECT --reject-with tcp-reset
-A OPENSHIFT-FIREWALL-FORWARD-2 -d 172.30.0.0/16 ! -o lo -j REJECT
-A OPENSHIFT-FIREWALL-FORWARD-2 -s 10.128.0.0/14 -j ACCEPT
-A OPENSHIFT-FIREWALL-FORWARD-2 -s 10.200.0.0/16 -j ACCEPT
-A OPENSHIFT-FIREWALL-OUTPUT -d 172.30.0.0/16 ! -o lo -p tcp -j REJECT --reject-with tcp-reset
-A OPENSHIFT-FIREWALL-OUTPUT -d 172.30.0.0/16 ! -o lo -j REJECT
"
    );
}

/// Where the kernel can ask the data path, and where it cannot: the API server's service is exempt before anything is denied.
#[test]
fn the_data_path_judges_last_what_was_translated() {
    let mut sets = rules(&["10.128.0.0/14", "fd01::/48"], "192.168.50.11", &[]);
    let egress = |set: &Ruleset| {
        let rules = &set.tables[&Table::Filter].chains["OPENSHIFT-FIREWALL-EGRESS"];
        rules.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let exempt =
        "-p tcp -m conntrack --ctorigdst 172.30.0.1 -m conntrack --ctorigdstport 443 -j RETURN";
    assert_eq!(egress(&sets[0]), [exempt]);
    assert_eq!(egress(&sets[1]), [""; 0]);
    let program = "/sys/fs/bpf/weft/v6/programs/after_dnat-0123456789abcdef-01234567";
    for set in &mut sets {
        set.judge(program);
    }
    let ask = format!("-m bpf --object-pinned {program} -j DROP");
    assert_eq!(egress(&sets[0]), [exempt, &ask]);
    assert!(Rule::parse(&ask).is_some());
    assert_eq!(egress(&sets[1]), [ask]);
}

#[test]
fn the_first_address_of_the_first_service_network_is_the_api_servers() {
    let mut network = cluster(&["10.128.0.0/14", "fd01::/48"]);
    let node = LocalNode {
        name: "node1".into(),
        ip: "192.168.50.11".parse().unwrap(),
        addresses: vec![],
    };
    let nets = ["10.96.128.0/17", "fd98:0:1::/112", "10.97.0.0/16"];
    let nets = nets.map(|net| net.parse().unwrap());
    for (first, address) in nets.iter().zip(["10.96.128.1", "fd98:0:1::1", "10.97.0.1"]) {
        let others = nets.iter().filter(|net| *net != first);
        network.services = [first].into_iter().chain(others).copied().collect();
        let sets = rulesets(&network, &node, &[]);
        let text: String = sets.iter().map(ToString::to_string).collect();
        let rule = format!(
            "-A OPENSHIFT-FIREWALL-EGRESS -p tcp -m conntrack --ctorigdst {address} -m conntrack --ctorigdstport 443 -j RETURN"
        );
        assert!(text.contains(&rule), "{text}");
        let all = text.matches("-A OPENSHIFT-FIREWALL-EGRESS").count();
        assert_eq!(all, 1, "{text}");
    }
}

#[test]
fn each_family_holds_only_its_own_networks_and_the_overlay_stands_where_the_underlay_is() {
    let sets = rules(
        &["10.128.0.0/14", "fd01::/48"],
        "192.168.50.11",
        &["10.128.2.1", "fd01:0:0:2::1"],
    );
    let text: Vec<_> = sets.iter().map(ToString::to_string).collect();
    let accepted = "--dport 4789 -j ACCEPT";
    assert!(
        !text[0].contains("fd01") && text[0].contains(accepted),
        "{}",
        text[0]
    );
    assert!(
        !text[1].contains("10.128") && !text[1].contains(accepted) && !text[1].contains("notrack"),
        "{}",
        text[1]
    );
    for rule in [
        "-s fd01::/48 -j OPENSHIFT-MASQUERADE-2",
        "-d ::1/128 -i weft+ -j DROP",
        "--ctorigdst fd01:0:0:2::1 -j DROP",
        "--ctorigdst 2001:db8::7 -m conntrack --ctorigdstport 53 -j DROP",
        // The overlay's device listens in both families.
        "-A OPENSHIFT-BLOCK-POSTROUTING -p udp -m udp --dport 4789 -m conntrack --ctdir ORIGINAL",
        "-A OPENSHIFT-FIREWALL-ALLOW -p udp -m udp --dport 4789 -m conntrack --ctdir ORIGINAL",
    ] {
        assert!(text[1].contains(rule), "{rule}: {}", text[1]);
    }

    // An IPv6 underlay under IPv4 pods: ip6tables must let the overlay in.
    let sets = rules(&["10.128.0.0/14"], "2001:db8::1", &[]);
    assert_eq!(sets[1].family, Family::V6);
    assert!(sets[1].to_string().contains(accepted));
}

#[test]
fn what_iptables_save_prints_differently_is_the_same_rule() {
    for (printed, wanted) in [
        (
            "-p udp -m udp --dport 4789 -j NOTRACK",
            "-p udp --dport 4789 -j CT --notrack",
        ),
        ("-i weft+ ! -o weft+ -j X", "! -o weft+ -i weft+ -j X"),
        ("-s 10.1.0.1/32 -j ACCEPT", "-s 10.1.0.1 -j ACCEPT"),
        ("-m comment --comment \"a \\\"b\\\" c\" -j DROP", "-j DROP"),
        (
            "-m state --state INVALID -j DROP",
            "-m conntrack --ctstate INVALID -j DROP",
        ),
        (
            "-m mark --mark 0x1/0x1 -j RETURN",
            "-m mark --mark 1/1 -j RETURN",
        ),
        (
            "-j REJECT --reject-with icmp6-port-unreachable",
            "-j REJECT",
        ),
        (
            "-m conntrack --ctstate DNAT --ctdir ORIGINAL -j X",
            "-m conntrack --ctdir ORIGINAL -m conntrack --ctstate DNAT -j X",
        ),
        (
            "-m conntrack --ctorigdst 10.1.0.1/32 -j DROP",
            "-m conntrack --ctorigdst 10.1.0.1 -j DROP",
        ),
    ] {
        assert!(Rule::parse(printed).is_some(), "{printed}");
        assert_eq!(Rule::parse(printed), Rule::parse(wanted), "{printed}");
    }
}

#[test]
fn what_we_never_write_is_no_rule_of_ours() {
    for foreign in [
        "-p tcp -m tcp --dport 4789 -j ACCEPT",
        "-p udp -j ACCEPT",
        "-j MASQUERADE --random-fully",
        "! -s 10.0.0.0/8 -j ACCEPT",
        "-i weft+ -g X",
        "-j REJECT --reject-with icmp-host-prohibited",
        "-p tcp -j DROP --reject-with tcp-reset",
        "-m conntrack --ctorigdst 10.1.0.0/16 -j DROP",
        "-m conntrack ! --ctorigdst 10.1.0.1 -j DROP",
        "-m conntrack --ctstate NEW -j ACCEPT",
        "-m conntrack --ctdir REPLY -j ACCEPT",
        "-m bpf ! --object-pinned /sys/fs/bpf/x -j DROP",
        "-m bpf --bytecode \"1,6 0 0 0\" -j DROP",
        "-i",
        "!",
        "",
        "-m comment --comment \"open -j DROP",
        "-j CT",
    ] {
        let parsed = Rule::parse(foreign);
        assert!(parsed.is_none(), "{foreign}: {parsed:?}");
    }
}

fn any_network() -> impl Strategy<Value = IpNet> {
    prop_oneof![
        (any::<[u8; 4]>(), 0u8..=32)
            .prop_map(|(a, len)| IpNet::new(a.into(), len).unwrap().trunc()),
        (any::<[u8; 16]>(), 0u8..=128)
            .prop_map(|(a, len)| IpNet::new(a.into(), len).unwrap().trunc()),
    ]
}

fn any_match() -> impl Strategy<Value = Match> {
    prop_oneof![
        any_network().prop_map(Match::Source),
        any_network().prop_map(Match::Destination),
        "[a-z][a-z0-9.]{0,12}\\+?".prop_map(Match::In),
        "[a-z][a-z0-9.]{0,12}\\+?".prop_map(Match::NotOut),
        any::<u16>().prop_map(Match::UdpPort),
        Just(Match::Tcp),
        Just(Match::Invalid),
        Just(Match::Translated),
        Just(Match::Original),
        any::<IpAddr>().prop_map(Match::AskedFor),
        any::<u16>().prop_map(Match::AskedPort),
        any::<u16>().prop_map(Match::NotAskedPort),
        "(/[a-zA-Z0-9_.:-]{1,12}){1,4}".prop_map(Match::Program),
        (any::<u32>(), any::<u32>()).prop_map(|(value, mask)| Match::Mark { value, mask }),
    ]
}

fn any_target() -> impl Strategy<Value = Target> {
    prop_oneof![
        Just(Target::Accept),
        Just(Target::Drop),
        Just(Target::Reject),
        Just(Target::Reset),
        Just(Target::Return),
        Just(Target::Masquerade),
        Just(Target::NoTrack),
        "OPENSHIFT-[A-Z0-9-]{1,18}".prop_map(Target::Jump),
    ]
}

proptest! {
    #[test]
    fn a_printed_rule_reads_back(m in proptest::collection::vec(any_match(), 0..4), target in any_target()) {
        // iptables takes each kind of condition once.
        let mut kinds = BTreeSet::new();
        let m: Vec<_> = m.into_iter().filter(|m| kinds.insert(format!("{:?}", std::mem::discriminant(m)))).collect();
        let rule = Rule::new(m, target);
        prop_assert_eq!(Rule::parse(&rule.to_string()), Some(rule));
    }

    #[test]
    fn any_text_is_read_without_panic(text in "[ -~]{0,80}") {
        let _rule = Rule::parse(&text);
    }
}
