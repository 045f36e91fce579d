use super::super::{Config, ConfigArgs, parse};
use super::*;

const NOWHERE: Surroundings<'_> = Surroundings {
    kubeconfig: None,
    home: None,
    in_cluster: false,
};

fn file(file: &str, context: Option<&str>) -> Source {
    Source::Kubernetes(Access::Kubeconfig {
        files: vec![file.into()],
        context: context.map(Into::into),
    })
}

fn keys(text: &str) -> Option<SourceKeys> {
    parse(text).unwrap().source
}

fn flags(kubeconfig: Option<&str>, context: Option<&str>) -> SourceArgs {
    SourceArgs {
        manifests: None,
        kubeconfig: kubeconfig.map(Into::into),
        context: context.map(Into::into),
    }
}

#[test]
fn the_file_names_an_api_server() {
    let in_cluster = Source::Kubernetes(Access::InCluster);
    for (text, expected) in [
        ("source: {kubernetes: {}}", in_cluster.clone()),
        ("source:\n  kubernetes:\n", in_cluster),
        ("source: {kubernetes: {kubeconfig: /k}}", file("/k", None)),
        (
            "source: {kubernetes: {kubeconfig: /k, context: c}}",
            file("/k", Some("c")),
        ),
    ] {
        let got = source(
            &SourceArgs::default(),
            keys(text),
            Fallback::Manifests,
            &NOWHERE,
        );
        assert_eq!(got.unwrap(), expected, "{text:?}");
    }
}

#[test]
fn flags_override_it() {
    let text = "source: {kubernetes: {kubeconfig: /k, context: c}}";
    for (args, expected) in [
        (flags(Some("/f"), None), file("/f", None)),
        (flags(Some("/f"), Some("d")), file("/f", Some("d"))),
        (flags(None, Some("d")), file("/k", Some("d"))),
    ] {
        let got = source(&args, keys(text), Fallback::Manifests, &NOWHERE).unwrap();
        assert_eq!(got, expected, "{args:?}");
    }
    let args = SourceArgs {
        manifests: Some("/m".into()),
        ..SourceArgs::default()
    };
    let got = source(&args, keys(text), Fallback::AsKubectl, &NOWHERE).unwrap();
    assert_eq!(got, Source::Manifests("/m".into()));
    let got = source(
        &flags(Some("/f"), None),
        keys("source: {manifests: /m}"),
        Fallback::Manifests,
        &NOWHERE,
    );
    assert_eq!(got.unwrap(), file("/f", None));
}

#[test]
fn errors_name_the_key_and_the_remedy() {
    for (text, parts) in [
        (
            "source: {kubernetes: {context: c}}",
            [
                "source.kubernetes.context",
                "set source.kubernetes.kubeconfig",
            ],
        ),
        (
            "source: {kubernetes: {kubeconfig: ''}}",
            ["source.kubernetes.kubeconfig", "leave the key out"],
        ),
        (
            "source: {kubernetes: {kubeconfig: /k, context: ''}}",
            ["source.kubernetes.context", "leave the key out"],
        ),
        ("source: {}", ["source", "kubernetes: {}"]),
        (
            "source: {manifests: /m, kubernetes: {}}",
            ["source", "exactly one"],
        ),
        (
            "source:\n  manifests: /m\n  kubernetes:\n",
            ["source", "exactly one"],
        ),
        (
            "source: {kubernetes: {kubeConfig: /k}}",
            ["source.kubernetes.kubeConfig", "unknown field"],
        ),
    ] {
        let args = ConfigArgs {
            node_name: Some("n".into()),
            ..ConfigArgs::default()
        };
        let error = parse(text).and_then(|file| {
            Config::resolve(&args, file, Fallback::Manifests).map_err(|e| e.to_string())
        });
        let error = error.unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{text:?} gave {error:?}");
        }
    }
    let error = source(&flags(None, Some("c")), None, Fallback::Manifests, &NOWHERE).unwrap_err();
    assert!(error.to_string().contains("--kubeconfig FILE"), "{error}");
}

#[test]
fn commands_of_operators_look_where_kubectl_does() {
    let home = crate::store::scratch::Scratch::new();
    let around = |kubeconfig: Option<&'static str>, in_cluster| Surroundings {
        kubeconfig: kubeconfig.map(OsStr::new),
        home: Some(home.path()),
        in_cluster,
    };
    let ask = |context, around: &Surroundings<'_>, text| {
        source(
            &flags(None, context),
            keys(text),
            Fallback::AsKubectl,
            around,
        )
        .unwrap()
    };
    let default = Source::Manifests(DEFAULT_MANIFESTS.into());
    assert_eq!(
        ask(None, &around(None, false), ""),
        default,
        "no kubeconfig anywhere"
    );
    assert_eq!(
        ask(None, &around(None, true), ""),
        Source::Kubernetes(Access::InCluster)
    );
    let own = home.path().join(".kube/config");
    let own = own.to_str().unwrap();
    assert_eq!(
        ask(Some("c"), &around(None, false), ""),
        file(own, Some("c")),
        "so that its error names the file"
    );
    std::fs::create_dir(home.path().join(".kube")).unwrap();
    std::fs::write(own, "").unwrap();
    assert_eq!(ask(None, &around(None, true), ""), file(own, None));
    let both = Source::Kubernetes(Access::Kubeconfig {
        files: vec!["/a".into(), "/b".into()],
        context: None,
    });
    assert_eq!(ask(None, &around(Some("/a::/b"), false), ""), both);
    let configured = Source::Manifests("/m".into());
    assert_eq!(
        ask(None, &around(Some("/a"), true), "source: {manifests: /m}"),
        configured
    );
    let got = source(
        &SourceArgs::default(),
        None,
        Fallback::Manifests,
        &around(Some("/a"), true),
    );
    assert_eq!(got.unwrap(), default, "a daemon never guesses");
}
