//! Runtime and agent on two sides of the mount namespace of `kubens.service`: what the runtime pins, the agent cannot open
//! by its path.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use serde_json::Value;
use weft_netns::kubens::Place;
use weft_netns::{CommandNs as _, MountNs, NetNs};

use crate::node::{Node, Pod};

const NOTHING: Option<&str> = None;

/// A host with its own `/run`, and the namespace that `kubens.service` makes.
fn host() -> (MountNs, MountNs) {
    let setup = || {
        let tmpfs = Some("tmpfs");
        mount(tmpfs, "/run", tmpfs, MsFlags::empty(), NOTHING).unwrap();
    };
    let (host, ()) = MountNs::create_encapsulated(None, setup).unwrap();
    let inside = host.run(|| {
        Place::default().start().unwrap();
        MountNs::open("/run/kubens/mnt").unwrap()
    });
    (host, inside.unwrap())
}

/// Pins a pod's namespace where only `runtime` sees it: on a private mount, as a runtime's own are.
fn pin(runtime: &MountNs, netns: &NetNs) -> PathBuf {
    let path = PathBuf::from("/run/pods/pod");
    let pinned = runtime.run(|| {
        fs::create_dir_all("/run/pods").unwrap();
        let tmpfs = Some("tmpfs");
        mount(tmpfs, "/run/pods", tmpfs, MsFlags::empty(), NOTHING).unwrap();
        netns.pin(&path).unwrap();
    });
    pinned.unwrap();
    path
}

/// The plugin, started by a runtime.
fn plugin(runtime: &MountNs, node: &Node, pod: &Pod, path: &Path, command: &str) -> Value {
    let mut env = pod.env(command);
    env[3].1 = path.to_str().unwrap();
    let conf = node.dir.join("conf");
    fs::write(&conf, node.conf("1.1.0").to_string()).unwrap();
    let mut plugin = Command::new(env!("CARGO_BIN_EXE_weft-cni"));
    plugin
        .env_clear()
        .envs(env)
        .stdin(fs::File::open(conf).unwrap());
    plugin.stdout(Stdio::piped()).arg0("weft-cni");
    let output = plugin.mount_ns(runtime).unwrap().output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command}: {text}");
    serde_json::from_str(&text).unwrap_or_default()
}

fn attach_and_detach(runtime: &MountNs, agent: &MountNs) {
    let mut node = Node::stopped(&["10.128.4.0/23"]);
    agent.run(|| node.start()).unwrap();
    let pod = Pod::new(&node, "web");
    let path = pin(runtime, &pod.netns);
    let sees = |ns: &MountNs| ns.run(|| NetNs::open(&path).is_ok()).unwrap();
    assert!(
        sees(runtime) && !sees(agent),
        "pinned for the runtime alone"
    );
    let result = plugin(runtime, &node, &pod, &path, "ADD");
    assert_eq!(result["interfaces"][1]["sandbox"], path.to_str().unwrap());
    let shown = pod.exec("ip -o addr show dev eth0");
    assert!(shown.contains("10.128.4.2/32"), "{shown}");
    plugin(runtime, &node, &pod, &path, "DEL");
    node.assert_empty();
    runtime.run(|| weft_netns::unpin(&path)).unwrap().unwrap();
}

#[test]
fn an_agent_outside_serves_a_runtime_inside() {
    let (host, inside) = host();
    attach_and_detach(&inside, &host);
}

#[test]
fn an_agent_inside_serves_a_runtime_outside() {
    let (host, inside) = host();
    // What is mounted on the host comes in; what the host's runtime has on a private mount does not.
    let private = host.run(|| {
        fs::create_dir("/run/pods").unwrap();
        let bind = MsFlags::MS_BIND;
        mount(Some("/run/pods"), "/run/pods", NOTHING, bind, NOTHING).unwrap();
        mount(NOTHING, "/run/pods", NOTHING, MsFlags::MS_PRIVATE, NOTHING).unwrap();
    });
    private.unwrap();
    attach_and_detach(&host, &inside);
}
