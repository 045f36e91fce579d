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
    rulesets(&cluster(&["10.128.0.0/14"]), &node).remove(0)
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
    assert_eq!(tables, [Table::Raw, Table::Nat, Table::Filter]);
    assert_eq!(ops(&settled()), []);
}

#[test]
fn the_administrators_chain_is_created_but_never_emptied() {
    let text = ops("")[2].to_string();
    assert!(text.contains("-N OPENSHIFT-ADMIN-OUTPUT-RULES\n"), "{text}");
    assert!(!text.contains(":OPENSHIFT-ADMIN"), "{text}");

    let admin = settled() + "-A OPENSHIFT-ADMIN-OUTPUT-RULES -d 203.0.113.7/32 -j DROP\n";
    assert_eq!(ops(&admin), []);
    // The rest of the table is mended around the rules in it.
    let broken = admin.replace("-A OPENSHIFT-FIREWALL-ALLOW -i weft+ -j ACCEPT\n", "");
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
    assert!(ops.first.is_empty());
}

#[test]
fn jumps_return_to_the_top_once_and_in_order() {
    let line = "-A FORWARD -i weft+ ! -o weft+ -j OPENSHIFT-ADMIN-OUTPUT-RULES\n";
    let other = "-A FORWARD -j KUBE-FORWARD\n";
    for (name, save) in [
        (
            "below another",
            settled().replace(line, &format!("{other}{line}")),
        ),
        ("twice", settled() + line),
        ("missing", settled().replace(line, other)),
        (
            "between them",
            settled().replace(line, &format!("{line}{other}")),
        ),
        ("other condition", settled().replace("! -o weft+ ", "")),
    ] {
        let ops = filter_ops(&save);
        let text = ops.to_string();
        assert!(
            ops.refill.is_empty() && ops.create.is_empty(),
            "{name}: {text}"
        );
        assert!(!text.contains("KUBE"), "{name}: {text}");
        let present = save.matches("-A FORWARD").count() - save.matches(other).count();
        assert_eq!(
            text.matches("-D FORWARD").count(),
            present,
            "{name}: {text}"
        );
        // Inserted from last to first, each at the top.
        let inserts: Vec<_> = text.lines().filter(|l| l.starts_with("-I ")).collect();
        assert_eq!(
            inserts,
            [
                "-I FORWARD 1 -j OPENSHIFT-FIREWALL-FORWARD",
                "-I FORWARD 1 -i weft+ ! -o weft+ -j OPENSHIFT-ADMIN-OUTPUT-RULES"
            ],
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
        "# Generated\n*mangle\n:OPENSHIFT-NOTRACK -\n-A OPENSHIFT-NOTRACK -j DROP\nCOMMIT\n{save}COMMIT\n"
    );
    assert_eq!(ops(&save), []);
}
