//! The ways in that a kubeconfig can name.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use weft_agent::config::Access;
use weft_agent::store::{Kubernetes, ObjectRef, Reader, Store as _};

use crate::rig::{Process, Server, programs, until};
use crate::store::net_namespace;

/// The administrator's kubeconfig under another name and with other words.
fn kubeconfig(server: &Server, name: &str, replace: (&str, &str)) -> Access {
    let admin = server.kubeconfig("admin");
    let text = std::fs::read_to_string(&admin).unwrap();
    assert!(text.contains(replace.0), "{text}");
    let file = admin.with_file_name(name);
    std::fs::write(&file, text.replace(replace.0, replace.1)).unwrap();
    opened(file)
}

fn opened(file: PathBuf) -> Access {
    Access::Kubeconfig {
        files: vec![file],
        context: None,
    }
}

/// The number of the project `one`, as this way in shows it.
fn netid(access: &Access) -> u64 {
    let store = Kubernetes::open(access, Reader::PodNetwork).unwrap();
    let one = store
        .get(&ObjectRef::cluster("NetNamespace", "one"))
        .unwrap();
    one.unwrap().value["netid"].as_u64().unwrap()
}

#[test]
fn a_command_gives_the_token() {
    let server = Server::new();
    server.apply(&net_namespace("one", 11));
    let script = server.kubeconfig("admin").with_file_name("login");
    let answer = r#"{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "admin"}}"#;
    std::fs::write(&script, format!("#!/bin/sh\necho '{answer}'\n")).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let exec = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: {}}}",
        script.display()
    );
    let access = kubeconfig(&server, "exec.kubeconfig", ("token: admin", &exec));
    assert_eq!(netid(&access), 11);

    // One that fails says which it was.
    std::fs::write(&script, "#!/bin/sh\necho 'no ticket' >&2\nexit 1\n").unwrap();
    let error = Kubernetes::open(&access, Reader::PodNetwork)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("exec.kubeconfig") && error.contains("no ticket"),
        "{error}"
    );
}

#[test]
fn plain_http_leads_through_a_proxy_of_kubectl() {
    let server = Server::new();
    server.apply(&net_namespace("one", 11));
    let log = server.kubeconfig("admin").with_file_name("proxy.log");
    let _proxy = Process::start(
        Command::new(programs().join("kubectl"))
            .arg("--kubeconfig")
            .arg(server.kubeconfig("admin"))
            .args(["proxy", "--port=0"]),
        Some(std::fs::File::create(&log).unwrap()),
    );
    let address = until("the proxy serves", || {
        let said = std::fs::read_to_string(&log).unwrap();
        let address = said
            .strip_suffix('\n')?
            .strip_prefix("Starting to serve on ");
        address.map(str::to_owned)
    });
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: weft,\n\
         contexts: [{{name: weft, context: {{cluster: weft, user: nobody}}}}], users: [{{name: nobody, user: {{}}}}],\n\
         clusters: [{{name: weft, cluster: {{server: 'http://{address}'}}}}]}}\n"
    );
    let file = server.kubeconfig("admin").with_file_name("http.kubeconfig");
    std::fs::write(&file, text).unwrap();
    assert_eq!(netid(&opened(file)), 11);
}

/// Kubelet renews the token of a pod in its file, and the server stops to accept the one before.
#[test]
fn a_renewed_token_is_followed() {
    let server = Server::new();
    server.apply(&net_namespace("one", 11));
    server.kubectl(&["create", "namespace", "weft"]);
    server.kubectl(&["create", "serviceaccount", "-n", "weft", "reader"]);
    server.kubectl(&[
        "create",
        "clusterrolebinding",
        "reader",
        "--clusterrole=cluster-admin",
        "--serviceaccount=weft:reader",
    ]);
    // As good as the secret that it is bound to.
    let token = |secret: &str| {
        server.kubectl(&["create", "secret", "generic", "-n", "weft", secret]);
        let create = ["create", "token", "-n", "weft", "reader"];
        let bound = ["--bound-object-kind=Secret", "--bound-object-name", secret];
        server.kubectl(&[&create[..], &bound].concat())
    };
    let file = server.kubeconfig("admin").with_file_name("token");
    std::fs::write(&file, token("first")).unwrap();
    let words = format!("tokenFile: {}", file.display());
    let access = kubeconfig(&server, "file.kubeconfig", ("token: admin", &words));
    let store = Kubernetes::open(&access, Reader::PodNetwork).unwrap();
    let get = || store.get(&ObjectRef::cluster("NetNamespace", "one"));
    assert!(get().unwrap().is_some());

    replace(&file, &token("second"));
    server.kubectl(&["delete", "secret", "-n", "weft", "first"]);
    let error = until("the first token counts no more", || get().err());
    assert!(
        error
            .to_string()
            .contains("does not accept our credentials"),
        "{error}"
    );
    until("the second one is read", || get().ok());
}

fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, file).unwrap();
}
