//! The cluster that all cases share, and its objects.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use weft_lab::lab::output::{Output, output_within};
use weft_lab::lab::{self, KubernetesMode, Lab, Options, Progress};
use weft_netns::NetNs;
use weft_wait::eventually;

/// Port of the server in each pod.
pub const PORT: u16 = 8080;
/// The address of the cluster's DNS service.
pub const DNS: &str = "172.30.0.10";
pub const NODES: [&str; 2] = ["node1", "node2"];
/// How long a rollout may take on a busy machine.
const ROLLOUT: &str = "--timeout=90s";

pub struct Cluster {
    pub lab: Lab,
}

/// A pod that runs.
pub struct Pod {
    pub name: String,
    pub ip: IpAddr,
    pub node: String,
    pub netns: NetNs,
}

impl Pod {
    pub fn server(&self) -> SocketAddr {
        SocketAddr::new(self.ip, PORT)
    }
}

impl Cluster {
    pub fn up() -> Self {
        let name = format!("kube{:08x}", rand::random::<u32>())
            .parse()
            .unwrap();
        let options = Options {
            externals: vec!["web=198.51.100.0/24".parse().unwrap()],
            kubernetes: Some(KubernetesMode::Cluster),
            ..Options::default()
        };
        let progress = Progress {
            say: &|line| eprintln!("{line}"),
            cancelled: &|| false,
        };
        let lab = lab::up(&name, &options, progress).unwrap_or_else(|error| {
            panic!("the cluster does not come up: {error}");
        });
        Self { lab }
    }

    pub fn try_kubectl(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.lab.kubectl().unwrap();
        command.args(arguments);
        output_within(&mut command, input.as_bytes(), Duration::from_mins(2)).unwrap()
    }

    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.try_kubectl(arguments, "");
        assert!(output.success, "kubectl {arguments:?}: {output:?}");
        output.stdout
    }

    pub fn get(&self, arguments: &[&str]) -> Value {
        let text = self.kubectl(&[&["get", "-o", "json"], arguments].concat());
        serde_json::from_str(&text).unwrap()
    }

    pub fn apply(&self, object: &Value) {
        let output = self.try_kubectl(&["apply", "-f", "-"], &object.to_string());
        assert!(output.success, "{object}: {output:?}");
    }

    /// A new project.
    pub fn project(&self, prefix: &str) -> Project<'_> {
        let name = format!("{prefix}-{:06x}", rand::random::<u32>() & 0xff_ffff);
        self.kubectl(&["create", "namespace", &name]);
        // A pod that comes before its account is refused.
        eventually("the account `default`", || {
            self.try_kubectl(&["-n", &name, "get", "serviceaccount", "default"], "")
                .success
        });
        Project {
            cluster: self,
            name,
        }
    }

    /// `weft pod-network`, as an operator types it.
    pub fn pod_network(&self, arguments: &[&str]) {
        let mut weft = self.lab.weft(None).unwrap();
        weft.env_remove("WEFT_CONFIG")
            .env("KUBECONFIG", self.kubeconfig())
            .arg("pod-network")
            .args(arguments);
        let output = output_within(&mut weft, b"", Duration::from_secs(20)).unwrap();
        assert!(output.success, "{arguments:?}: {output:?}");
    }

    fn kubeconfig(&self) -> std::path::PathBuf {
        self.lab.status().unwrap().kubernetes.unwrap().kubeconfig
    }

    pub fn node_ip(&self, node: &str) -> IpAddr {
        self.lab.state().unwrap().node(node).unwrap().addresses[0]
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.lab.down() {
            eprintln!("{error}");
        }
    }
}

/// A namespace of a case, deleted with everything in it.
pub struct Project<'a> {
    pub cluster: &'a Cluster,
    pub name: String,
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        self.cluster
            .try_kubectl(&["delete", "namespace", "--wait=false", &self.name], "");
    }
}

/// A container of the server that tells who asks.
pub fn server() -> Value {
    json!({
        "name": "main", "image": "localhost/agnhost:1", "imagePullPolicy": "Never",
        "args": ["netexec", format!("--http-port={PORT}"), "--udp-port=8081"],
        "readinessProbe": {"httpGet": {"port": PORT, "path": "/healthz"}, "periodSeconds": 1},
    })
}

impl Project<'_> {
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster
            .kubectl(&[&["-n", self.name.as_str()], arguments].concat())
    }

    fn write(&self, mut object: Value) {
        object["metadata"]["namespace"] = json!(self.name);
        self.cluster.apply(&object);
    }

    /// Pods of one label, one copy on each node as far as it goes; ready when this returns.
    pub fn deployment(&self, name: &str, replicas: u32) {
        self.spread(name, replicas, "DoNotSchedule");
    }

    /// The same, whose pods stay on one node if need be.
    pub fn movable_deployment(&self, name: &str, replicas: u32) {
        self.spread(name, replicas, "ScheduleAnyway");
    }

    fn spread(&self, name: &str, replicas: u32, otherwise: &str) {
        self.write(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {
                        "terminationGracePeriodSeconds": 0, "containers": [server()],
                        "topologySpreadConstraints": [{
                            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": otherwise,
                            "labelSelector": {"matchLabels": {"app": name}},
                        }],
                    },
                },
            },
        }));
        self.rolled_out(&format!("deployment/{name}"));
    }

    pub fn rolled_out(&self, what: &str) {
        self.kubectl(&["rollout", "status", ROLLOUT, what]);
    }

    /// A single pod with the server; `more` is merged into its spec.
    pub fn pod(&self, name: &str, node: &str, more: &Value) -> Pod {
        self.request_pod(name, node, more);
        self.ready_pod(name)
    }

    /// The same, without waiting for it.
    pub fn request_pod(&self, name: &str, node: &str, more: &Value) {
        let mut spec = json!({
            "nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [server()],
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        self.write(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec,
        }));
    }

    /// Waits for a pod that was requested.
    pub fn ready_pod(&self, name: &str) -> Pod {
        self.kubectl(&[
            "wait",
            "--for=condition=Ready",
            "--timeout=60s",
            &format!("pod/{name}"),
        ]);
        self.pods(name).pop().unwrap()
    }

    pub fn is_ready(&self, name: &str) -> bool {
        let status = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
        self.kubectl(&["get", "pod", name, "-o", status]) == "True"
    }

    /// A service for the pods of a label; its address, if it has one.
    pub fn service(&self, name: &str, more: &Value) -> Option<IpAddr> {
        let mut spec =
            json!({"selector": {"app": name}, "ports": [{"port": 80, "targetPort": PORT}]});
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        self.write(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec,
        }));
        let address = self.kubectl(&["get", "service", name, "-o", "jsonpath={.spec.clusterIP}"]);
        address.parse().ok()
    }

    /// The pods of a label that run and are not about to end.
    pub fn pods(&self, app: &str) -> Vec<Pod> {
        let list = self
            .cluster
            .get(&["pods", "-n", &self.name, "-l", &format!("app={app}")]);
        let items = list["items"].as_array().unwrap();
        let alive = items
            .iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        alive.map(running).collect()
    }
}

fn running(pod: &Value) -> Pod {
    let text = |value: &Value| {
        value
            .as_str()
            .unwrap_or_else(|| panic!("not running: {pod:#}"))
            .to_owned()
    };
    let container = text(&pod["status"]["containerStatuses"][0]["containerID"]);
    let id = container.rsplit('/').next().unwrap();
    let files = ["pids/", ""].map(|tree| format!("/sys/fs/cgroup/{tree}k8s.io/{id}/cgroup.procs"));
    let read = files
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok());
    let pid = read.and_then(|text| text.lines().next()?.parse().ok());
    Pod {
        name: text(&pod["metadata"]["name"]),
        ip: text(&pod["status"]["podIP"]).parse().unwrap(),
        node: text(&pod["spec"]["nodeName"]),
        netns: NetNs::of_pid(pid.unwrap_or_else(|| panic!("no process of {id}"))).unwrap(),
    }
}
