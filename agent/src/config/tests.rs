use super::*;

pub(super) fn resolve(text: &str, args: &ConfigArgs) -> Result<Config, String> {
    Config::resolve(args, parse(text)?, Fallback::Manifests).map_err(|e| e.to_string())
}

pub(super) fn node(name: &str) -> ConfigArgs {
    ConfigArgs {
        node_name: Some(name.into()),
        ..ConfigArgs::default()
    }
}

#[test]
fn every_key_is_optional() {
    for text in ["", "# nothing\n", "{}", "---\n"] {
        let config = resolve(text, &node("n1")).unwrap();
        assert_eq!(config.node_name, "n1");
        assert_eq!(config.node_ip, None);
        assert_eq!(config.source, Source::Manifests(DEFAULT_MANIFESTS.into()));
        assert_eq!(config.run_dir, PathBuf::from("/run/weft"));
        assert_eq!(config.state_dir, PathBuf::from("/var/lib/weft"));
        assert_eq!(config.bpf_dir, PathBuf::from("/sys/fs/bpf/weft"));
    }
}

#[test]
fn flags_override_the_file() {
    let text = "nodeName: a\nnodeIP: 192.0.2.1\nnodeInterface: eth0\n\
                source: {manifests: /m}\nrunDir: /r\nstateDir: /s\nbpfDir: /b\n";
    let config = resolve(text, &ConfigArgs::default()).unwrap();
    assert_eq!(config.node_name, "a");
    assert_eq!(config.node_ip, Some([192, 0, 2, 1].into()));
    assert_eq!(config.node_interface.as_deref(), Some("eth0"));
    assert_eq!(config.source, Source::Manifests("/m".into()));
    assert_eq!(config.run_dir, PathBuf::from("/r"));

    let args = ConfigArgs {
        node_ip: Some([192, 0, 2, 2].into()),
        source: SourceArgs {
            manifests: Some("/m2".into()),
            ..SourceArgs::default()
        },
        run_dir: Some("/r2".into()),
        ..node("b")
    };
    let config = resolve(text, &args).unwrap();
    assert_eq!(config.node_name, "b");
    assert_eq!(config.node_ip, Some([192, 0, 2, 2].into()));
    assert_eq!(config.source, Source::Manifests("/m2".into()));
    assert_eq!(config.run_dir, PathBuf::from("/r2"));
    assert_eq!(config.state_dir, PathBuf::from("/s"));
}

#[test]
fn the_error_names_the_key() {
    let cases = [
        ("nodename: a", "nodename"),
        ("source: {manifest: /m}", "source.manifest"),
        ("nodeIP: 300.1.1.1", "nodeIP"),
        ("nodeName: [a]", "nodeName"),
        ("source: {manifests: /m, kubernetes: {}}", "exactly one"),
        ("source: {}", "manifests: DIRECTORY"),
        ("source: {manifests: ''}", "source.manifests"),
        ("runDir: ''", "runDir"),
        ("nodeName: Not/AName", "nodeName"),
        ("leaseNamespace: ''", "leaseNamespace"),
        ("runDir: b: c", "line 1"),
        ("egressPolicyConflicts: allow", "egressPolicyConflicts"),
        ("egressPolicyConflicts: [drop]", "egressPolicyConflicts"),
    ];
    for (text, part) in cases {
        let error = resolve(text, &ConfigArgs::default()).unwrap_err();
        assert!(error.contains(part), "{text:?} gave {error:?}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let args = ConfigArgs {
        config: Some("/nonexistent/weft.yaml".into()),
        ..ConfigArgs::default()
    };
    let error = Config::load(&args).unwrap_err().to_string();
    assert!(error.contains("/nonexistent/weft.yaml"), "{error}");
}

#[test]
fn conflicting_egress_firewalls_drop_unless_enforcement_is_asked_for() {
    for (text, expected) in [
        ("", Conflicts::Drop),
        ("egressPolicyConflicts:", Conflicts::Drop),
        ("egressPolicyConflicts: drop", Conflicts::Drop),
        ("egressPolicyConflicts: enforce", Conflicts::Enforce),
    ] {
        let config = resolve(text, &node("n1")).unwrap();
        assert_eq!(config.egress_policy_conflicts, expected, "{text:?}");
    }
}

#[test]
fn the_address_of_the_figures_is_off_by_default() {
    assert_eq!(resolve("", &node("n1")).unwrap().metrics_address, None);
    let text = "metricsAddress: 127.0.0.1:9618";
    let of_file = resolve(text, &node("n1")).unwrap().metrics_address;
    assert_eq!(of_file, Some(([127, 0, 0, 1], 9618).into()));
    let args = ConfigArgs {
        metrics_address: Some(([127, 0, 0, 1], 7).into()),
        ..node("n1")
    };
    assert_eq!(
        resolve(text, &args).unwrap().metrics_address,
        args.metrics_address
    );
    let error = resolve("metricsAddress: 9618", &node("n1")).unwrap_err();
    assert!(error.contains("metricsAddress"), "{error}");
}
