//! A whole cluster, step by step, from the API server on: `--kubernetes`, `--kubernetes=bare`.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde_json::Value;
use weft_netns::MountNs;
use weft_wait::patience::patient;

use super::node::{self, Inside, KUBE_PROXY, KUBELET, POD_IMAGE};
use super::{images, plane};
use crate::lab::error::{Error, file};
use crate::lab::options::Options;
use crate::lab::output::output_within;
use crate::lab::state::{Node, State};
use crate::lab::{Lab, Progress, daemon};

/// How long nodes and weft may take together until all is ready.
const READY: Duration = Duration::from_mins(3);
/// The objects of the cluster's DNS server.
const DNS: &str = include_str!("../../../kubernetes/dns.yaml");

/// Makes the nodes' own namespaces, starts containerd in them and gives it the images. Needs no API server.
pub fn nodes(state: &mut State, progress: Progress<'_>) -> Result<Vec<MountNs>, Error> {
    let archives = archives(state)?;
    let spaces = (0..state.nodes.len())
        .map(|index| node::begin(state, index))
        .collect::<Result<Vec<_>, _>>()?;
    (progress.say)("giving the nodes their images");
    for (found, space) in state.nodes.iter().zip(&spaces) {
        daemon::prepare_command_line(&state.lab, &found.name)?;
        let Some(containerd) = found.programs.get(node::CONTAINERD) else {
            continue;
        };
        let inside = Inside::new(&state.lab, found, space.try_clone()?)?;
        for archive in &archives {
            inside.import(*containerd, archive)?;
        }
    }
    Ok(spaces)
}

fn archives(state: &State) -> Result<Vec<PathBuf>, Error> {
    let Some(kubernetes) = &state.kubernetes else {
        return Ok(Vec::new());
    };
    let folder = state.lab.dir().join("images");
    fs::create_dir_all(&folder).map_err(file("create", &folder))?;
    let mut all = Vec::new();
    if !state.is_bare() {
        all.push(images::weft()?);
    }
    for (program, name) in images::PROGRAMS {
        let archive = folder.join(format!("{program}.tar"));
        images::of_program(&kubernetes.programs.join(program), name, &archive)?;
        all.push(archive);
    }
    Ok(all)
}

/// Starts everything that asks the API server, installs weft by its own manifests and waits until all is ready. A bare
/// cluster is done when its kubelets have reported: its nodes get ready, and its pods run, once it has a network.
pub fn complete(
    state: &mut State,
    lab: &Lab,
    (options, spaces): (&Options, Vec<MountNs>),
    progress: Progress<'_>,
) -> Result<(), Error> {
    plane::start(state)?;
    let (pods, services) = options.networks();
    let dns: Vec<String> = dns_address(&services).into_iter().collect();
    (progress.say)("starting a kubelet and kube-proxy on each node");
    for (index, space) in spaces.into_iter().enumerate() {
        let (name, found) = (state.lab.clone(), state.nodes[index].clone());
        let inside = Inside::new(&name, &found, space)?;
        let kubelet = inside.kubelet(&dns)?;
        node::note(state, index, KUBELET, kubelet)?;
        let proxy = inside.kube_proxy(&pods)?;
        node::note(state, index, KUBE_PROXY, proxy)?;
    }
    let deadline = Instant::now() + patient(READY);
    if state.is_bare() {
        wait(state, deadline, progress, || nodes_registered(lab))?;
    } else {
        weft(state, lab, deadline, progress)?;
    }
    kubectl(lab, &["apply", "-f", "-"], &dns_objects(&services))?;
    if state.is_bare() {
        (progress.say)(&format!(
            "the nodes wait for a network; there is an image for pods of yours: {POD_IMAGE}"
        ));
        return Ok(());
    }
    wait(state, deadline, progress, || {
        rolled_out(lab, "Deployment", "kube-system", "coredns")
    })
}

/// Where the cluster's DNS server answers.
fn dns_address(services: &[IpNet]) -> Option<String> {
    Some(services.first()?.hosts().nth(9)?.to_string())
}

/// The cluster's DNS server, as YAML.
pub fn dns_objects(services: &[IpNet]) -> String {
    DNS.replace("CLUSTER_IP", &dns_address(services).unwrap_or_default())
        .replace("IMAGE", images::DNS_IMAGE)
}

fn weft(state: &State, lab: &Lab, deadline: Instant, progress: Progress<'_>) -> Result<(), Error> {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    kubectl(lab, &["apply", "-k", &deploy.display().to_string()], "")?;
    (progress.say)("weft is deployed; waiting for nodes and pods");
    wait(state, deadline, progress, || nodes_ready(lab))?;
    wait(state, deadline, progress, || {
        rolled_out(lab, "DaemonSet", "weft", "weft-agent")
    })?;
    // Every project asks it.
    wait(state, deadline, progress, || global(state, "kube-system"))
}

fn kubectl(lab: &Lab, arguments: &[&str], input: &str) -> Result<String, Error> {
    let mut command = lab.kubectl()?;
    command.args(arguments);
    let output = output_within(
        &mut command,
        input.as_bytes(),
        patient(Duration::from_mins(1)),
    )?;
    if output.success {
        Ok(output.stdout)
    } else {
        let why = format!("kubectl {}: {}", arguments.join(" "), output.stderr);
        Err(Error::Invalid(why))
    }
}

/// Polls until `done` answers nothing, which is what is still missing.
fn wait(
    state: &State,
    deadline: Instant,
    progress: Progress<'_>,
    done: impl Fn() -> Result<Option<String>, Error>,
) -> Result<(), Error> {
    loop {
        let missing = match done() {
            Ok(None) => return Ok(()),
            Ok(Some(missing)) => missing,
            Err(error) => error.to_string(),
        };
        if (progress.cancelled)() {
            return Err(Error::Interrupted);
        }
        for found in &state.nodes {
            ended(state, found)?;
        }
        if Instant::now() >= deadline {
            return Err(Error::Invalid(format!(
                "after {} s: {missing}",
                patient(READY).as_secs()
            )));
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// An error if something of a node is no more.
fn ended(state: &State, found: &Node) -> Result<(), Error> {
    let gone = found.programs.iter().find(|(_, process)| {
        // It may be this process' own child, of which only the exit status is left.
        !process.is_alive()
    });
    let Some((name, _)) = gone else { return Ok(()) };
    Err(daemon::failed(
        &format!("{name} of {}", found.name),
        "it ended".into(),
        &node::log(&state.lab, &found.name, name),
    ))
}

fn nodes_registered(lab: &Lab) -> Result<Option<String>, Error> {
    for found in &lab.state()?.nodes {
        if lab.objects().get("Node", "", &found.name)?.is_none() {
            return Ok(Some(format!(
                "node {}: its kubelet has not reported",
                found.name
            )));
        }
    }
    Ok(None)
}

fn nodes_ready(lab: &Lab) -> Result<Option<String>, Error> {
    for found in &lab.state()?.nodes {
        let object = lab.objects().get("Node", "", &found.name)?;
        let conditions =
            object.and_then(|object| object.value["status"]["conditions"].as_array().cloned());
        let conditions = conditions.unwrap_or_default();
        let ready = conditions
            .iter()
            .find(|condition| condition["type"] == "Ready");
        if ready.is_none_or(|ready| ready["status"] != "True") {
            let why = ready.and_then(|ready| ready["message"].as_str());
            return Ok(Some(format!(
                "node {} is not ready: {}",
                found.name,
                why.unwrap_or("its kubelet has not reported")
            )));
        }
    }
    Ok(None)
}

fn rolled_out(lab: &Lab, kind: &str, namespace: &str, name: &str) -> Result<Option<String>, Error> {
    let object = lab.objects().get(kind, namespace, name)?;
    let status = object.map_or(Value::Null, |object| object.value["status"].clone());
    let (wanted, ready) = match kind {
        "DaemonSet" => (&status["desiredNumberScheduled"], &status["numberReady"]),
        _ => (&status["replicas"], &status["readyReplicas"]),
    };
    let done = wanted.as_u64().is_some_and(|wanted| wanted > 0) && wanted == ready;
    Ok((!done).then(|| format!("{kind} {namespace}/{name}: {ready} of {wanted} ready")))
}

/// Makes a project global with weft's own command line.
fn global(state: &State, project: &str) -> Result<Option<String>, Error> {
    let mut weft = daemon::weft(state, &state.nodes[0].name)?;
    weft.env_remove("WEFT_CONFIG")
        .env("KUBECONFIG", super::Files::of(&state.lab).kubeconfig())
        .args(["pod-network", "make-projects-global", project]);
    let output = output_within(&mut weft, b"", patient(Duration::from_secs(30)))?;
    Ok((!output.success).then_some(output.stderr))
}
