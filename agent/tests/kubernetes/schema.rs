//! The schemas in deploy/crds: the table of cases that the ingest is tested with too, and what kubectl makes of them.

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Map, Value, json};

use crate::rig::Server;

const TABLE: &str = include_str!("cases.yaml");

/// Whether the API would store an object, and why not. As kubectl asks: unknown fields are errors.
async fn refusal(client: &kube::Client, object: &Value) -> Option<String> {
    let plural = match object["kind"].as_str().unwrap() {
        "EgressNetworkPolicy" => "namespaces/default/egressnetworkpolicies".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    let path = format!("/apis/network.openshift.io/v1/{plural}?dryRun=All&fieldValidation=Strict");
    let request = http::Request::post(path).header("Content-Type", "application/json");
    let request = request.body(object.to_string().into_bytes()).unwrap();
    match client.request::<Value>(request).await {
        Ok(_) => None,
        Err(kube::Error::Api(status)) if [400, 422].contains(&status.code) => Some(status.message),
        Err(error) => panic!("{object}: {error}"),
    }
}

#[test]
fn the_schemas_say_what_the_table_says() {
    let server = Server::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let wrong = runtime.block_on(async {
        let file = Kubeconfig::read_from(server.kubeconfig("admin")).unwrap();
        let config =
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        let client = kube::Client::try_from(config.unwrap()).unwrap();
        let table: Map<String, Value> = yaml_serde::from_str(TABLE).unwrap();
        let mut wrong = Vec::new();
        for (kind, of_kind) in table {
            for (verdict, cases) in of_kind.as_object().unwrap() {
                let stored = match verdict.as_str() {
                    "base" => continue,
                    "accepted" | "incomplete" | "mended" => true,
                    "refused" | "partly" => false,
                    other => panic!("{other}"),
                };
                for case in cases.as_array().unwrap() {
                    let mut value = of_kind["base"].clone();
                    let fields = value.as_object_mut().unwrap();
                    fields.extend(case.as_object().unwrap().clone());
                    fields.retain(|_, value| !value.is_null());
                    let refusal = refusal(&client, &value).await;
                    if refusal.is_none() != stored {
                        wrong.push(format!("{kind} {case} is {verdict}: {refusal:?}"));
                    }
                    // A rule that cannot be evaluated refuses too, in words that help nobody.
                    if refusal.as_ref().is_some_and(|text| {
                        text.contains("rule is uncomputable") || text.contains("evaluation")
                    }) {
                        wrong.push(format!("{kind} {case}: {refusal:?}"));
                    }
                }
            }
        }
        wrong
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn kubectl_knows_the_kinds() {
    let server = Server::new();
    server.apply(
        &json!({"apiVersion": "network.openshift.io/v1", "kind": "HostSubnet", "metadata": {"name": "n1"},
                "host": "n1", "hostIP": "192.0.2.1", "subnet": "10.128.0.0/23", "egressIPs": ["192.0.2.9"]})
        .to_string(),
    );
    // As the documentation of OpenShift writes it.
    server.kubectl(&[
        "patch",
        "hostsubnet",
        "n1",
        "--type=merge",
        "-p",
        r#"{"egressIPs": ["192.0.2.9", "192.0.2.10"]}"#,
    ]);
    let table = server.kubectl(&["get", "hs"]);
    let mut lines = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    assert_eq!(
        lines.next().unwrap(),
        "NAME HOST HOST IP SUBNET EGRESS CIDRS EGRESS IPS PROBLEM"
    );
    assert_eq!(
        lines.next().unwrap(),
        r#"n1 n1 192.0.2.1 10.128.0.0/23 ["192.0.2.9","192.0.2.10"]"#
    );
    for (what, part) in [
        ("hostsubnet.egressCIDRs", "Ranges from which the controller"),
        ("netnamespace.netid", "Projects with equal numbers"),
        (
            "egressnetworkpolicy.spec.egress.to.ports.endPort",
            "last port",
        ),
        (
            "clusternetwork.clusterNetworks.hostSubnetLength",
            "bits of an address",
        ),
    ] {
        let text = server.kubectl(&["explain", what]);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(part), "{what}: {text}");
    }
    for kind in [
        "clusternetwork",
        "hostsubnet",
        "netnamespace",
        "egressnetworkpolicy",
    ] {
        let text = server.kubectl(&["explain", kind, "--recursive"]);
        assert!(!text.contains("<empty>"), "{text}");
    }
}
