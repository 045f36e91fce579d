//! Pods, attached and detached by the real CNI plugin the way a container runtime does it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use weft_netns::NetNs;
use weft_wait::patience::patient;

use super::error::Error;
use super::name::{is_label, is_subdomain, netns_path};
use super::output::output_within;
use super::process::end_inside;
use super::state::{Pod, State};
use super::underlay::remove_netns;
use super::{Lab, cluster, daemon, enter};

/// How long the plugin may take; kubelet gives it about as much.
const CNI_PATIENCE: Duration = Duration::from_mins(2);

/// What `add-pod` is told.
#[derive(Clone, Debug, Default)]
pub struct PodSpec {
    /// Its project.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where it runs; the first node if none is named.
    pub node: Option<String>,
    /// `metadata.labels`
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`
    pub annotations: BTreeMap<String, String>,
}

impl PodSpec {
    /// A pod without labels and annotations.
    pub fn new(namespace: &str, name: &str, node: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            node: Some(node.into()),
            ..Self::default()
        }
    }
}

impl Lab {
    /// Makes a pod: Namespace object if it is missing, network namespace, Pod object, CNI ADD. When this fails, nothing
    /// of the pod is left.
    pub fn add_pod(&self, spec: &PodSpec) -> Result<Pod, Error> {
        planned(&self.state()?, spec)?;
        // Before anything of the pod is there: the first thing to fail while the objects are out of reach.
        self.objects().create(cluster::namespace(&spec.namespace))?;
        let pod = self.update(|state| {
            let pod = planned(state, spec)?;
            state.pods.push(pod.clone());
            Ok(pod)
        })?;
        self.make_pod(spec, pod.clone()).inspect_err(|_| {
            // The first error is the one to report; `del-pod` and `down` find what is left here.
            drop(self.cni("DEL", &pod));
            drop(self.forget_pod(&pod));
        })
    }

    fn make_pod(&self, spec: &PodSpec, mut pod: Pod) -> Result<Pod, Error> {
        NetNs::create_at(netns_path(&pod.netns))?;
        pod.uid = self.write_pod(spec, &pod)?;
        let result = self.cni("ADD", &pod)?;
        pod.ips = addresses(&result);
        if pod.ips.is_empty() {
            return Err(cni_error(
                "ADD",
                &pod,
                format!("no address in its result: {result}"),
            ));
        }
        pod.result = Some(result);
        self.update(|state| {
            let found = state
                .pods
                .iter_mut()
                .find(|found| found.container == pod.container);
            *found
                .ok_or_else(|| cni_error("ADD", &pod, "the pod was deleted meanwhile".into()))? =
                pod.clone();
            Ok(())
        })?;
        let status = self.pod_status(&pod)?;
        self.objects()
            .set_status("Pod", &pod.namespace, &pod.name, status)?;
        Ok(pod)
    }

    /// Removes a pod: CNI DEL, then its processes, network namespace and object. A refused DEL leaves the pod as it is.
    pub fn del_pod(&self, namespace: &str, name: &str) -> Result<(), Error> {
        let pod = self.state()?.pod(namespace, name)?.clone();
        self.cni("DEL", &pod)?;
        self.forget_pod(&pod)
    }

    fn forget_pod(&self, pod: &Pod) -> Result<(), Error> {
        if let Ok(ns) = NetNs::open(netns_path(&pod.netns)) {
            end_inside(&[ns.id()].into(), patient(Duration::from_secs(10)));
        }
        remove_netns(&pod.netns)?;
        match self.objects().delete("Pod", &pod.namespace, &pod.name) {
            Ok(()) | Err(super::objects::Error::Missing { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.update(|state| {
            state.pods.retain(|found| found.container != pod.container);
            Ok(())
        })
    }

    /// Runs the plugin on the pod's node. `CHECK`, `ADD` and `DEL` are the commands that concern one pod; ADD's result
    /// is returned, for the others null.
    pub fn cni(&self, command: &'static str, pod: &Pod) -> Result<Value, Error> {
        let state = self.state()?;
        let place = self.name().place(&pod.node);
        let list = daemon::network_config(&place);
        let mut config = list["plugins"][0].clone();
        config["cniVersion"] = list["cniVersion"].clone();
        config["name"] = list["name"].clone();
        if let (Some(config), "DEL" | "CHECK") = (config.as_object_mut(), command) {
            config.extend(
                pod.result
                    .clone()
                    .map(|result| ("prevResult".to_owned(), result)),
            );
        }
        let plugin = daemon::current_binary(&state, "weft-cni")?;
        let mut run = enter::command(self.name(), &state.node(&pod.node)?.netns, plugin)?;
        let Pod {
            namespace,
            name,
            container,
            ..
        } = pod;
        run.env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", netns_path(&pod.netns))
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", place.cni_bin())
            .env(
                "CNI_ARGS",
                format!(
                    "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};\
                     K8S_POD_INFRA_CONTAINER_ID={container};K8S_POD_UID={}",
                    pod.uid
                ),
            );
        let output = output_within(
            &mut run,
            config.to_string().as_bytes(),
            patient(CNI_PATIENCE),
        )?;
        if !output.success {
            return Err(cni_error(
                command,
                pod,
                refusal(&output.stdout, &output.stderr),
            ));
        }
        if output.stdout.is_empty() {
            Ok(Value::Null)
        } else {
            serde_json::from_str(&output.stdout)
                .map_err(|error| cni_error(command, pod, format!("its result is no JSON: {error}")))
        }
    }

    /// Writes the pod's object, bound to its node; answers its uid, which an API server chooses by itself.
    fn write_pod(&self, spec: &PodSpec, pod: &Pod) -> Result<String, Error> {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": pod.name, "namespace": pod.namespace, "uid": pod.uid,
                "labels": spec.labels, "annotations": spec.annotations,
            },
            "spec": {"nodeName": pod.node, "containers": [{"name": "main", "image": "lab"}]},
            "status": self.pod_status(pod)?,
        });
        let object = weft_agent::store::Object::from_value(object).map_err(Error::Invalid)?;
        let written = self.objects().apply(&object)?;
        let uid = written.value["metadata"]["uid"].as_str();
        Ok(uid.unwrap_or_default().to_owned())
    }

    /// What a kubelet would report of it.
    fn pod_status(&self, pod: &Pod) -> Result<Value, Error> {
        let host = self.state()?.node(&pod.node)?.addresses[0];
        let mut status = json!({"phase": "Pending", "hostIP": host, "hostIPs": [{"ip": host}]});
        if let Some(first) = pod.ips.first() {
            let all: Vec<Value> = pod.ips.iter().map(|ip| json!({"ip": ip})).collect();
            status["phase"] = "Running".into();
            status["podIP"] = json!(first);
            status["podIPs"] = all.into();
            status["conditions"] = json!([{"type": "Ready", "status": "True"}]);
            status["containerStatuses"] = json!([{
                "name": "main", "image": "lab", "imageID": "lab", "ready": true, "started": true, "restartCount": 0,
            }]);
        }
        Ok(status)
    }
}

fn planned(state: &State, spec: &PodSpec) -> Result<Pod, Error> {
    let PodSpec {
        namespace, name, ..
    } = spec;
    if state.is_cluster() {
        return Err(Error::Invalid(format!(
            "the pods of lab {} are made by its kubelets: `weft-lab kubectl -- run ...`",
            state.lab
        )));
    }
    if !is_label(namespace) || !is_subdomain(name) {
        return Err(Error::Invalid(format!(
            "{namespace}/{name} is no NAMESPACE/NAME as Kubernetes has them"
        )));
    }
    if state.pod(namespace, name).is_ok() {
        return Err(Error::Invalid(format!(
            "pod {namespace}/{name} is there already"
        )));
    }
    let node = state
        .node(spec.node.as_deref().unwrap_or("node1"))?
        .name
        .clone();
    // a-b/c and a/b-c have the same namespace name; so may a pod and an external host.
    let plain = state.lab.netns(&format!("{namespace}-{name}"));
    let taken = |netns: &str| netns_path(netns).exists() || state.namespaces().contains(&netns);
    let mut netns = plain.clone();
    for number in 2.. {
        if !taken(&netns) {
            break;
        }
        netns = format!("{plain}-{number}");
    }
    let container = format!(
        "{:032x}{:032x}",
        rand::random::<u128>(),
        rand::random::<u128>()
    );
    Ok(Pod {
        namespace: namespace.clone(),
        name: name.clone(),
        node,
        netns,
        uid: uid(&container),
        container,
        ips: Vec::new(),
        result: None,
    })
}

/// A uid that follows from the container id: what the pod has before a server gives it another.
fn uid(container: &str) -> String {
    let part = |from, to| container.get(from..to).unwrap_or_default();
    format!(
        "{}-{}-4{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 15),
        part(15, 18),
        part(18, 30)
    )
}

/// Addresses of a CNI result, in its order.
fn addresses(result: &Value) -> Vec<IpAddr> {
    let list = result["ips"].as_array().into_iter().flatten();
    list.filter_map(|entry| entry["address"].as_str()?.split('/').next()?.parse().ok())
        .collect()
}

/// The plugin's error object if it printed one, else whatever it printed.
fn refusal(stdout: &str, stderr: &str) -> String {
    let error: Value = serde_json::from_str(stdout).unwrap_or_default();
    let text = |key: &str| error[key].as_str().unwrap_or_default();
    match (error["code"].as_u64(), text("msg"), text("details")) {
        (Some(code), msg, "") => format!("{msg} (code {code})"),
        (Some(code), msg, details) => format!("{msg}: {details} (code {code})"),
        (None, ..) => [stdout, stderr].join("\n").trim().to_owned(),
    }
}

fn cni_error(command: &'static str, pod: &Pod, why: String) -> Error {
    Error::Cni {
        command,
        pod: format!("{}/{}", pod.namespace, pod.name),
        node: pod.node.clone(),
        why,
    }
}
