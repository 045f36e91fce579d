//! Rules are written whole, compared by meaning, and repaired.

use weft_agent::apply::iptables::{Iptables, IptablesReport};
use weft_netns::NetNs;

use crate::namespace::{dual, ipv4, namespace, sh};

fn sync(ns: &NetNs) -> IptablesReport {
    let rules = dual().firewall;
    ns.run(|| Iptables::new().sync(&rules)).unwrap().unwrap()
}

#[track_caller]
fn settled(ns: &NetNs) {
    assert_eq!(sync(ns), IptablesReport::default());
}

fn forward(ns: &NetNs) -> Vec<String> {
    let text = sh(ns, "iptables -S FORWARD");
    text.lines().skip(1).map(str::to_owned).collect()
}

const JUMPS: [&str; 3] = [
    "-A FORWARD -i weft+ ! -o weft+ -j OPENSHIFT-ADMIN-OUTPUT-RULES",
    "-A FORWARD -j OPENSHIFT-FIREWALL-FORWARD",
    "-A FORWARD -j OPENSHIFT-FIREWALL-FORWARD-2",
];

#[test]
fn a_fresh_node_gets_four_tables_a_family_and_then_nothing() {
    let ns = namespace();
    let report = sync(&ns);
    assert_eq!(report.writes, 8, "{report:?}");
    settled(&ns);
    assert_eq!(forward(&ns), JUMPS);
    assert!(sh(&ns, "ip6tables -t nat -S").contains("-s fd01::/48 -j OPENSHIFT-MASQUERADE-2"));
}

#[test]
fn whatever_somebody_takes_away_comes_back() {
    let ns = namespace();
    sync(&ns);
    for damage in [
        "iptables -F",
        "iptables -t nat -F",
        "iptables -t raw -F && iptables -t raw -X",
        "iptables -F && iptables -X",
        "ip6tables -t nat -F",
        "iptables -t mangle -F",
        "nft flush ruleset",
        "iptables -D FORWARD -j OPENSHIFT-FIREWALL-FORWARD",
        "iptables -F OPENSHIFT-FIREWALL-FORWARD",
        "iptables -t nat -D OPENSHIFT-MASQUERADE-2 -j MASQUERADE",
        "iptables -I OPENSHIFT-FIREWALL-ALLOW -j DROP",
        "iptables -I FORWARD -j ACCEPT",
        "iptables -A FORWARD -j OPENSHIFT-FIREWALL-FORWARD",
        // What a firewalld reload amounts to: other rules in the place of everything.
        "printf '*filter\\n:INPUT DROP\\n-A INPUT -i lo -j ACCEPT\\nCOMMIT\\n' | iptables-restore",
    ] {
        sh(&ns, damage);
        let report = sync(&ns);
        assert!(
            report.writes > 0 && !report.repaired.is_empty(),
            "{damage}: {report:?}"
        );
        settled(&ns);
        assert_eq!(forward(&ns)[..3], JUMPS, "{damage}");
    }
    // Other programs' rules stay where they are.
    let input = sh(&ns, "iptables -S INPUT");
    assert!(
        input.contains("-P INPUT DROP") && input.contains("-i lo -j ACCEPT"),
        "{input}"
    );
}

#[test]
fn the_administrators_rules_survive_every_repair() {
    let ns = namespace();
    sync(&ns);
    sh(
        &ns,
        "iptables -A OPENSHIFT-ADMIN-OUTPUT-RULES -d 203.0.113.7 -m comment --comment 'keep \"this\"' -j DROP",
    );
    settled(&ns);
    sh(
        &ns,
        "iptables -F FORWARD && iptables -F OPENSHIFT-FIREWALL-FORWARD",
    );
    sync(&ns);
    let rules = sh(&ns, "iptables -S OPENSHIFT-ADMIN-OUTPUT-RULES");
    assert!(rules.contains("203.0.113.7"), "{rules}");
    settled(&ns);
}

#[test]
fn rules_of_an_older_configuration_are_replaced() {
    let ns = namespace();
    let mut old = ipv4();
    old.firewall[0] = {
        let mut network = crate::namespace::cluster(&["10.200.0.0/16"]);
        network.vxlan_port = 4799;
        weft_core::compile::iptables::rulesets(&network, &crate::namespace::node(), &[]).remove(0)
    };
    ns.run(|| Iptables::new().sync(&old.firewall))
        .unwrap()
        .unwrap();
    sync(&ns);
    let all = sh(&ns, "iptables-save");
    assert!(!all.contains("10.200") && !all.contains("4799"), "{all}");
    settled(&ns);
}

#[test]
fn the_service_proxy_has_its_say_between_our_jumps() {
    let ns = namespace();
    sync(&ns);
    // Both as kube-proxy makes them when it starts, in its order.
    let start = |programs: &[&str]| {
        for program in programs {
            let jump = |from: &str, to: &str| {
                sh(
                    &ns,
                    &format!(
                        "{program} -w -N {to} 2>/dev/null; {program} -w -I {from} -m conntrack --ctstate NEW \
                         -m comment --comment 'kubernetes service portals' -j {to}"
                    ),
                );
            };
            for to in [
                "KUBE-EXTERNAL-SERVICES",
                "KUBE-SERVICES",
                "KUBE-PROXY-FIREWALL",
            ] {
                jump("FORWARD", to);
            }
            jump("INPUT", "KUBE-PROXY-FIREWALL");
            jump("OUTPUT", "KUBE-SERVICES");
        }
    };
    let targets = |program: &str, chain: &str| -> Vec<String> {
        let text = sh(&ns, &format!("{program} -S {chain}"));
        let rules = text.lines().skip(1);
        rules
            .map(|rule| rule.split(' ').next_back().unwrap().to_owned())
            .collect()
    };
    let programs = ["iptables", "ip6tables"];
    start(&programs);
    assert_eq!(sync(&ns).writes, 2, "a table a family");
    settled(&ns);
    let in_place = || {
        for program in programs {
            assert_eq!(
                targets(program, "FORWARD"),
                [
                    "OPENSHIFT-ADMIN-OUTPUT-RULES",
                    "OPENSHIFT-FIREWALL-FORWARD",
                    "KUBE-PROXY-FIREWALL",
                    "KUBE-SERVICES",
                    "KUBE-EXTERNAL-SERVICES",
                    "OPENSHIFT-FIREWALL-FORWARD-2",
                ]
            );
            let input = [
                "OPENSHIFT-FIREWALL-ALLOW",
                "KUBE-PROXY-FIREWALL",
                "OPENSHIFT-FIREWALL-ALLOW-2",
            ];
            assert_eq!(targets(program, "INPUT"), input);
            let output = ["KUBE-SERVICES", "OPENSHIFT-FIREWALL-OUTPUT"];
            assert_eq!(targets(program, "OUTPUT"), output);
        }
    };
    in_place();
    // It is removed, and installed again: in one family before the other.
    for program in programs {
        sh(
            &ns,
            &format!("{program} -S | grep -- '-A.*-j KUBE' | sed 's/^-A/{program} -D/' | sh"),
        );
        sync(&ns);
        assert_eq!(targets(program, "FORWARD").len(), 3);
        start(&[program]);
        sync(&ns);
        settled(&ns);
        in_place();
    }
}

#[test]
fn a_repair_never_leaves_a_moment_without_rules() {
    let ns = namespace();
    sync(&ns);
    // Every generation of the rule set that the kernel ever shows must hold the jumps: another thread looks
    // while a chain is damaged and repaired.
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut looks = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(forward(&ns)[..3], JUMPS, "after {looks} looks");
                looks += 1;
            }
            looks
        });
        for _ in 0..20 {
            sh(&ns, "iptables -A FORWARD -j OPENSHIFT-FIREWALL-FORWARD");
            assert_eq!(sync(&ns).writes, 1);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(watcher.join().unwrap() > 5);
    });
}

#[test]
fn a_missing_program_and_a_refused_table_are_named_with_the_remedy() {
    let ns = namespace();
    let rules = ipv4().firewall;
    let folder = std::env::temp_dir().join(format!("weft-no-iptables-{}", std::process::id()));
    let none = Iptables::in_folder(&folder);
    let error = ns
        .run(|| none.sync(&rules))
        .unwrap()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("iptables-save") && error.contains("install the package"),
        "{error}"
    );

    std::fs::create_dir(&folder).unwrap();
    for (name, script) in [
        ("iptables-save", "#!/bin/sh\n"),
        (
            "iptables-restore",
            "#!/bin/sh\ncat >/dev/null; echo 'no such table' >&2; exit 1\n",
        ),
    ] {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.join(name);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let error = ns
        .run(|| none.sync(&rules))
        .unwrap()
        .unwrap_err()
        .to_string();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(
        error.contains("table") && error.contains("no such table"),
        "{error}"
    );
}

#[test]
fn the_legacy_variant_works_alike() {
    let ns = namespace();
    let multi = "/usr/sbin/xtables-legacy-multi";
    let (works, why) = crate::namespace::try_sh(
        &ns,
        "iptables-legacy-save && iptables-legacy -t nat -S && iptables-legacy -t raw -S",
    );
    if !works {
        println!("skipped: this machine has no legacy iptables: {why}");
        return;
    }
    let folder = std::env::temp_dir().join(format!("weft-legacy-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    for program in ["iptables-save", "iptables-restore"] {
        std::os::unix::fs::symlink(multi, folder.join(program)).unwrap();
    }
    let legacy = Iptables::in_folder(&folder);
    let rules = ipv4().firewall;
    let pass = || ns.run(|| legacy.sync(&rules)).unwrap();
    let (first, second) = (pass(), pass());
    let broken = crate::namespace::try_sh(&ns, "iptables-legacy -F && iptables-legacy -t nat -F");
    let (third, fourth) = (pass(), pass());
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(first.unwrap().writes, 4);
    assert_eq!(second.unwrap().writes, 0);
    assert!(broken.0, "{}", broken.1);
    assert_eq!(third.unwrap().writes, 2);
    assert_eq!(fourth.unwrap().writes, 0);
}

#[test]
fn the_keeper_repairs_as_soon_as_the_kernel_announces_a_change() {
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};
    use weft_agent::apply::iptables::Keeper;

    let ns = namespace();
    let rules = dual().firewall;
    let (tell, told) = channel();
    let keeper = ns
        .run(|| {
            let on_look = Box::new(move |result: Result<IptablesReport, _>| {
                tell.send(result.unwrap()).unwrap();
            });
            let keeper = Keeper::start(Iptables::new(), on_look).unwrap();
            assert_eq!(keeper.sync(&rules).unwrap().writes, 8);
            assert_eq!(keeper.sync(&rules).unwrap().writes, 0);
            keeper
        })
        .unwrap();
    // Its first look, and those after our own writes, find nothing: they are not reported.
    for flush in ["iptables -F", "iptables -t nat -F", "nft flush ruleset"] {
        let begin = Instant::now();
        sh(&ns, flush);
        let report = told.recv_timeout(Duration::from_secs(4)).unwrap();
        assert!(!report.repaired.is_empty());
        // The period alone would have taken up to five seconds. A flush of several transactions may take several repairs.
        while told.recv_timeout(Duration::from_millis(400)).is_ok() {}
        settled(&ns);
        println!("{flush}: repaired after less than {:?}", begin.elapsed());
    }
    let begin = Instant::now();
    drop(keeper);
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "the thread ends at once"
    );
}
