use super::*;

const HOST: &str = "mnt:[1]";
const INSIDE: &str = "mnt:[2]";
const OLD: &str = "mnt:[3]";

fn seen(found: Found, kubelet: &str, runtime: &str) -> Seen {
    let process = |role, name: &str, pid, namespace: &str| Process {
        role,
        name: name.into(),
        pid,
        namespace: namespace.into(),
    };
    Seen {
        pin: "/run/kubens/mnt".into(),
        found,
        host: Some(HOST.into()),
        processes: vec![
            process(Role::Kubelet, "kubelet", 10, kubelet),
            process(Role::Runtime, "containerd", 11, runtime),
        ],
    }
}

fn with_agent(mut seen: Seen, namespace: &str) -> Seen {
    seen.processes.push(Process {
        role: Role::Agent,
        name: "weft".into(),
        pid: 12,
        namespace: namespace.into(),
    });
    seen
}

fn valid() -> Found {
    Found::Valid(INSIDE.into())
}

/// The one finding, which must be a fault.
fn fault(seen: &Seen) -> String {
    let findings = judge(seen);
    assert!(findings.len() == 1 && findings[0].wrong, "{findings:?}");
    findings[0].message.clone()
}

#[test]
fn where_all_agree_nothing_is_told() {
    for seen in [
        seen(valid(), INSIDE, INSIDE),
        seen(Found::Nothing, HOST, HOST),
        with_agent(seen(valid(), INSIDE, INSIDE), INSIDE),
        with_agent(seen(Found::Nothing, HOST, HOST), HOST),
    ] {
        assert_eq!(judge(&seen), [], "{seen:?}");
    }
}

#[test]
fn nothing_is_told_of_what_is_not_seen() {
    // A container without the host's processes.
    let mut blind = seen(Found::Nothing, HOST, HOST);
    blind.processes.clear();
    blind.host = None;
    assert_eq!(judge(&blind), []);
    // The kubelet alone.
    let mut half = seen(Found::Nothing, OLD, HOST);
    half.processes.pop();
    assert_eq!(judge(&half), []);
    // A node in a container: what its host's namespace is cannot be known.
    let mut nested = with_agent(seen(Found::Nothing, OLD, OLD), OLD);
    nested.host = None;
    assert_eq!(judge(&nested), []);
}

#[test]
fn kubelet_and_runtime_apart_are_named_with_the_one_to_restart() {
    let message = fault(&seen(valid(), INSIDE, HOST));
    for part in [
        "kubelet (pid 10) is in mnt:[2], the one of kubens.service",
        "containerd (pid 11) is in mnt:[1], the host's",
        "systemctl restart containerd and",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let message = fault(&seen(valid(), HOST, INSIDE));
    assert!(
        message.contains("systemctl restart kubelet and"),
        "{message}"
    );
    let message = fault(&seen(Found::Nothing, OLD, HOST));
    assert!(
        message.contains("systemctl restart containerd kubelet"),
        "{message}"
    );
}

#[test]
fn a_second_runtime_elsewhere_is_no_fault() {
    let mut seen = seen(valid(), INSIDE, INSIDE);
    seen.processes.push(Process {
        role: Role::Runtime,
        name: "containerd".into(),
        pid: 5,
        namespace: HOST.into(),
    });
    seen.processes.sort();
    assert_eq!(judge(&seen), []);
}

#[test]
fn agreeing_in_the_wrong_place_is_a_fault() {
    let message = fault(&seen(valid(), HOST, HOST));
    assert!(
        message.contains("kubens.service is on (mnt:[2])"),
        "{message}"
    );
    let message = fault(&seen(valid(), OLD, OLD));
    assert!(
        message.contains("what starts now joins mnt:[2]"),
        "{message}"
    );
    let message = fault(&seen(Found::Nothing, OLD, OLD));
    assert!(
        message.contains("neither the host's nor pinned"),
        "{message}"
    );
}

#[test]
fn stale_stacked_and_other_pins_are_named() {
    let message = fault(&seen(Found::Stale, HOST, HOST));
    assert!(message.contains("/run/kubens/mnt is stale"), "{message}");
    let stacked = Found::Stacked(vec![OLD.into(), INSIDE.into()]);
    let message = fault(&seen(stacked, INSIDE, INSIDE));
    assert!(
        message.contains("2 namespaces") && message.contains("mnt:[3], mnt:[2]"),
        "{message}"
    );
    let message = fault(&seen(Found::Mismatched("net:[9]".into()), HOST, HOST));
    assert!(message.contains("net:[9]"), "{message}");
}

#[test]
fn an_agent_outside_is_known_and_one_nowhere_is_a_fault() {
    let outside = judge(&with_agent(seen(valid(), INSIDE, INSIDE), HOST));
    assert!(outside.len() == 1 && !outside[0].wrong, "{outside:?}");
    assert!(
        outside[0]
            .message
            .contains("weft (pid 12) is in mnt:[1], the host's"),
        "{outside:?}"
    );
    let inside = judge(&with_agent(seen(Found::Nothing, HOST, HOST), OLD));
    assert!(
        inside[0].wrong && inside[0].message.contains("restart it"),
        "{inside:?}"
    );
}
