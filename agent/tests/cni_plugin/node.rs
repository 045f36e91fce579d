//! A node in a namespace of its own, pods in theirs.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use weft_agent::cni::{DataPath, Journal, Recovered, Server, plugin, serve};
use weft_agent::netlink::Netlink;
use weft_agent::netlink::veth::Link;
use weft_core::model::EndpointId;
use weft_netns::NetNs;
use weft_wait::eventually;

use crate::fake::Fake;

/// What a plugin printed, and its exit code.
#[derive(Debug)]
pub struct Printed {
    pub exit: u8,
    pub json: Value,
}

impl Printed {
    pub fn ok(self) -> Value {
        assert_eq!(self.exit, 0, "{}", self.json);
        self.json
    }

    /// The message, after the code was compared.
    pub fn error(self, code: u32) -> String {
        assert_eq!(self.exit, 1, "{}", self.json);
        assert_eq!(self.json["code"], code, "{}", self.json);
        self.json["msg"].as_str().unwrap().to_owned()
    }
}

pub struct Node {
    pub netns: NetNs,
    pub dir: PathBuf,
    pub fake: Arc<Fake>,
    pub server: Option<Server>,
}

impl Node {
    pub fn new(subnets: &[&str]) -> Self {
        let mut node = Self::stopped(subnets);
        node.start();
        node
    }

    /// A node whose agent was never started.
    pub fn stopped(subnets: &[&str]) -> Self {
        let dir = std::env::temp_dir().join(format!("weft-cni-test-{:08x}", rand::random::<u32>()));
        fs::create_dir(&dir).unwrap();
        Self {
            netns: NetNs::create().unwrap(),
            dir,
            fake: Arc::new(Fake::new(subnets)),
            server: None,
        }
    }

    pub fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    pub fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }

    pub fn endpoints_dir(&self) -> PathBuf {
        self.state_dir().join("endpoints")
    }

    pub fn start(&mut self) -> Recovered {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        self.start_in_boot(boot_id.trim())
    }

    pub fn start_in_boot(&mut self, boot_id: &str) -> Recovered {
        let (recovered, server) = self
            .netns
            .run(|| {
                let journal = Journal::open_as(&self.state_dir(), boot_id).unwrap();
                let recovered = journal.recover().unwrap();
                // What the sync loop does: it knows what was adopted, and drops rows of anything else.
                let mut endpoints = self.fake.endpoints.lock().unwrap();
                endpoints.clear();
                endpoints.extend(recovered.adopted.iter().map(|e| (e.id.clone(), e.clone())));
                drop(endpoints);
                let datapath: Arc<dyn DataPath> = Arc::clone(&self.fake) as _;
                (
                    recovered,
                    serve(&self.run_dir(), journal, datapath).unwrap(),
                )
            })
            .unwrap();
        self.server = Some(server);
        recovered
    }

    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown(Duration::from_secs(10));
        }
        // The journal's lock goes with the last thread of the server.
        eventually("the journal is free", || {
            Journal::open_as(&self.state_dir(), "none").is_ok()
        });
    }

    pub fn conf(&self, version: &str) -> Value {
        json!({"cniVersion": version, "name": "weft", "type": "weft-cni", "runDir": self.run_dir()})
    }

    /// Runs the plugin in this process.
    #[expect(
        clippy::unused_self,
        reason = "reads as what a node does, like its neighbours"
    )]
    pub fn plugin(&self, env: &[(&str, &str)], conf: &Value) -> Printed {
        run_plugin(env, conf.to_string().as_bytes())
    }

    pub fn add(&self, pod: &Pod) -> Printed {
        self.plugin(&pod.env("ADD"), &self.conf("1.1.0"))
    }

    pub fn del(&self, pod: &Pod) -> Printed {
        self.plugin(&pod.env("DEL"), &self.conf("1.1.0"))
    }

    pub fn check(&self, pod: &Pod, prev_result: &Value) -> Printed {
        let mut conf = self.conf("1.1.0");
        conf["prevResult"] = prev_result.clone();
        self.plugin(&pod.env("CHECK"), &conf)
    }

    pub fn gc(&self, valid: &[&Pod]) -> Printed {
        let mut conf = self.conf("1.1.0");
        conf["cni.dev/valid-attachments"] = valid
            .iter()
            .map(|p| json!({"containerID": p.container, "ifname": "eth0"}))
            .collect();
        self.plugin(&[("CNI_COMMAND", "GC")], &conf)
    }

    pub fn status(&self) -> Printed {
        self.plugin(&[("CNI_COMMAND", "STATUS")], &self.conf("1.1.0"))
    }

    pub fn veths(&self) -> Vec<Link> {
        self.netns
            .run(|| Netlink::open().unwrap().veths().unwrap())
            .unwrap()
    }

    /// Names of the journal's files.
    pub fn files(&self) -> Vec<String> {
        let list = fs::read_dir(self.endpoints_dir()).unwrap();
        let names = list.map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|n| n != "lock").collect()
    }

    /// Nothing of any attachment is left: interface, file, row.
    pub fn assert_empty(&self) {
        assert_eq!(self.veths(), [], "interfaces");
        assert_eq!(self.files(), [""; 0], "files");
        assert!(self.fake.endpoints.lock().unwrap().is_empty(), "rows");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.server.take());
        drop(fs::remove_dir_all(&self.dir));
    }
}

pub fn run_plugin(env: &[(&str, &str)], input: &[u8]) -> Printed {
    let variables = |name: &str| {
        let found = env.iter().find(|(n, _)| *n == name);
        found.map(|(_, v)| OsString::from(v))
    };
    let mut output = Vec::new();
    let exit = plugin::run(variables, input, &mut output);
    let json = if output.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&output).unwrap()
    };
    Printed { exit, json }
}

/// A sandbox: a pinned namespace, as a container runtime makes it.
pub struct Pod {
    pub container: String,
    pub netns: NetNs,
    pub path: String,
    args: String,
}

impl Pod {
    pub fn new(node: &Node, name: &str) -> Self {
        let path = node.dir.join(format!("netns-{name}"));
        Self {
            container: format!("{name}-{:08x}", rand::random::<u32>()),
            netns: NetNs::create_at(&path).unwrap(),
            path: path.to_str().unwrap().to_owned(),
            args: format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name}"),
        }
    }

    pub fn env<'a>(&'a self, command: &'a str) -> Vec<(&'a str, &'a str)> {
        vec![
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", &self.container),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", &self.path),
            ("CNI_ARGS", &self.args),
        ]
    }

    pub fn id(&self) -> EndpointId {
        EndpointId {
            container: self.container.clone(),
            ifname: "eth0".into(),
        }
    }

    /// Output of a command inside.
    pub fn exec(&self, command: &str) -> String {
        let output = self
            .netns
            .run(|| {
                std::process::Command::new("sh")
                    .args(["-c", command])
                    .output()
                    .unwrap()
            })
            .unwrap();
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        drop(weft_netns::unpin(&self.path)); // a test may have done it
    }
}

/// The first address of a 1.x result, without its length.
pub fn first_ip(result: &Value) -> String {
    let address = result["ips"][0]["address"].as_str().unwrap();
    address.split('/').next().unwrap().to_owned()
}
