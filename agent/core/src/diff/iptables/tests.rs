use super::*;
use crate::{
    compile::{host::tests::cluster, iptables::rulesets},
    model::LocalNode,
};

fn wanted() -> Ruleset {
    let node = LocalNode {
        name: "node1".into(),
        ip: "192.168.50.11".parse().unwrap(),
        addresses: vec![],
    };
    rulesets(
        &cluster(&["10.128.0.0/14"]),
        &node,
        &["10.128.2.1".parse().unwrap()],
    )
    .remove(0)
}

fn ops(save: &str) -> Vec<TableOps> {
    diff(&wanted(), &parse_save(save))
}

/// What the kernel would print once the rules are in.
fn settled() -> String {
    wanted().to_string()
}

fn filter_ops(save: &str) -> TableOps {
    let mut all = ops(save);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].table, Table::Filter);
    all.remove(0)
}

#[test]
fn an_empty_kernel_gets_all_tables_and_a_settled_one_nothing() {
    let tables: Vec<_> = ops("").iter().map(|o| o.table).collect();
    assert_eq!(tables, Table::ALL);
    assert_eq!(ops(&settled()), []);
}

#[test]
fn the_administrators_chain_is_created_but_never_emptied() {
    let text = ops("")[3].to_string();
    assert!(text.contains("-N OPENSHIFT-ADMIN-OUTPUT-RULES\n"), "{text}");
    assert!(!text.contains(":OPENSHIFT-ADMIN"), "{text}");

    let admin = settled() + "-A OPENSHIFT-ADMIN-OUTPUT-RULES -d 203.0.113.7/32 -j DROP\n";
    assert_eq!(ops(&admin), []);
    // The rest of the table is mended around the rules in it.
    let broken = admin.replace("-A OPENSHIFT-FIREWALL-ALLOW-2 -i weft+ -j ACCEPT\n", "");
    let text = filter_ops(&broken).to_string();
    assert!(!text.contains("ADMIN"), "{text}");
}

#[test]
fn an_extra_rule_in_a_chain_of_ours_is_taken_out() {
    let extra = settled() + "-A OPENSHIFT-FIREWALL-FORWARD -j DROP\n";
    let ops = filter_ops(&extra);
    assert_eq!(
        ops.refill.keys().collect::<Vec<_>>(),
        ["OPENSHIFT-FIREWALL-FORWARD"]
    );
    assert_eq!(ops.reasons(), ["filter: chain OPENSHIFT-FIREWALL-FORWARD"]);
    assert!(ops.insert.is_empty());
}

/// The FORWARD chain of the operations on these rules of it, and what it becomes by them.
fn forward(rules: &[&str]) -> Option<Vec<String>> {
    let settled = settled();
    let others = settled.lines().filter(|it| !it.starts_with("-A FORWARD"));
    let others: Vec<_> = others.map(str::to_owned).collect();
    let save = |rules: &[String]| {
        let rules = rules.iter().map(|rule| format!("-A FORWARD {rule}"));
        let lines: Vec<_> = others.iter().cloned().chain(rules).collect();
        lines.join("\n")
    };
    let mut chain: Vec<String> = rules.iter().map(|&rule| rule.to_owned()).collect();
    let mut all = ops(&save(&chain));
    let table = all.pop()?;
    assert_eq!((all.len(), table.table), (0, Table::Filter));
    assert!(table.refill.is_empty() && table.create.is_empty());
    // What iptables-restore does with them.
    for line in table.to_string().lines() {
        if let Some(spec) = line.strip_prefix("-D FORWARD ") {
            let at = chain.iter().position(|rule| rule == spec);
            chain.remove(at.unwrap_or_else(|| panic!("{line} in {chain:?}")));
        } else if let Some(rest) = line.strip_prefix("-I FORWARD ") {
            let (place, rule) = rest.split_once(' ').unwrap();
            chain.insert(place.parse::<usize>().unwrap() - 1, rule.to_owned());
        }
    }
    assert_eq!(ops(&save(&chain)), [], "once is enough: {chain:?}");
    Some(chain)
}

const ADMIN: &str = "-i weft+ ! -o weft+ -j OPENSHIFT-ADMIN-OUTPUT-RULES";
const HEAD: &str = "-j OPENSHIFT-FIREWALL-FORWARD";
const LATER: &str = "-j OPENSHIFT-FIREWALL-FORWARD-2";
const KUBE: &str = "-m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES";
const KUBE_2: &str = "-m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD";
const DOCKER: &str = "-j DOCKER-USER";

#[test]
fn jumps_stand_at_the_top_and_after_the_service_proxys() {
    for settled in [
        &[ADMIN, HEAD, LATER][..],
        &[ADMIN, HEAD, LATER, DOCKER],
        &[ADMIN, HEAD, KUBE, KUBE_2, LATER],
        &[ADMIN, HEAD, DOCKER, KUBE, LATER, "-j ACCEPT"],
        &[ADMIN, HEAD, "-g KUBE-ROUTER-FORWARD", LATER],
    ] {
        assert_eq!(forward(settled), None, "{settled:?}");
    }
    for (name, found, wanted) in [
        ("empty", &[][..], &[ADMIN, HEAD, LATER][..]),
        (
            "kube-proxy starts",
            &[KUBE_2, KUBE, ADMIN, HEAD, LATER, DOCKER],
            &[ADMIN, HEAD, KUBE_2, KUBE, LATER, DOCKER],
        ),
        (
            "one more of its jumps",
            &[KUBE_2, ADMIN, HEAD, KUBE, LATER],
            &[ADMIN, HEAD, KUBE_2, KUBE, LATER],
        ),
        (
            "one of its jumps is after ours",
            &[ADMIN, HEAD, KUBE, LATER, DOCKER, KUBE_2],
            &[ADMIN, HEAD, KUBE, DOCKER, KUBE_2, LATER],
        ),
        (
            "kube-proxy is cleaned up",
            &[ADMIN, HEAD, DOCKER, LATER],
            &[ADMIN, HEAD, LATER, DOCKER],
        ),
        (
            "another tool at the top",
            &[DOCKER, ADMIN, HEAD, KUBE, LATER],
            &[ADMIN, HEAD, DOCKER, KUBE, LATER],
        ),
        (
            "another tool between them",
            &[ADMIN, DOCKER, HEAD, KUBE, LATER],
            &[ADMIN, HEAD, DOCKER, KUBE, LATER],
        ),
        (
            "another tool before the later one",
            &[ADMIN, HEAD, KUBE, DOCKER, LATER],
            &[ADMIN, HEAD, KUBE, LATER, DOCKER],
        ),
        ("twice", &[ADMIN, HEAD, LATER, LATER], &[ADMIN, HEAD, LATER]),
        (
            "in another order",
            &[HEAD, ADMIN, LATER],
            &[ADMIN, HEAD, LATER],
        ),
        (
            "another condition",
            &["-i weft+ -j OPENSHIFT-ADMIN-OUTPUT-RULES", HEAD, LATER],
            &[ADMIN, HEAD, LATER],
        ),
        // Or as an older version left them.
        ("missing", &[ADMIN, HEAD, KUBE], &[ADMIN, HEAD, KUBE, LATER]),
        // No jump of the service proxy, whatever it says of itself.
        (
            "a comment",
            &[ADMIN, HEAD, "-m comment --comment \"-j KUBE-X\" -j DOCKER"],
            &[
                ADMIN,
                HEAD,
                LATER,
                "-m comment --comment \"-j KUBE-X\" -j DOCKER",
            ],
        ),
    ] {
        assert_eq!(
            forward(found).as_deref(),
            Some(&wanted.iter().map(|&r| r.to_owned()).collect::<Vec<_>>()[..]),
            "{name}"
        );
    }
}

#[test]
fn counters_comments_and_other_tables_do_not_matter() {
    let save: String = settled()
        .lines()
        .map(|l| match l.strip_prefix("-A ") {
            Some(rest) => format!("[12:3456] -A {rest} -m comment --comment \"by -A hand\"\n"),
            None => format!("{l}\n"),
        })
        .collect();
    let save = format!(
        "# Generated\n*security\n:OPENSHIFT-NOTRACK -\n-A OPENSHIFT-NOTRACK -j DROP\nCOMMIT\n{save}COMMIT\n"
    );
    assert_eq!(ops(&save), []);
}

#[test]
fn a_rule_that_asks_a_program_tells_which() {
    let asked = |rule: &str| {
        let save = format!("*filter\n:OPENSHIFT-FIREWALL-EGRESS - [0:0]\n{rule}\nCOMMIT\n");
        program_asked(&parse_save(&save))
    };
    let pin = "/sys/fs/bpf/weft/v6/programs/after_dnat-0123456789abcdef-01234567";
    let rule = format!("-A OPENSHIFT-FIREWALL-EGRESS -m bpf --object-pinned {pin} -j DROP");
    assert_eq!(asked(&rule).as_deref(), Some(pin));
    assert_eq!(asked("-A OPENSHIFT-FIREWALL-EGRESS -j DROP"), None);
    assert_eq!(asked(""), None);
}
