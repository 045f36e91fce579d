//! A node's data path in namespaces of its own: the object loaded over a private pin folder, the rows of a small cluster
//! in its maps.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use aya::maps::{MapData, RingBuf};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use weft_agent::apply::object::{Object, load};
use weft_agent::apply::pins::Pins;
use weft_agent::bpf::maps::{Maps, take_events};
use weft_agent::observe;
use weft_core::compile::compile;
use weft_core::diff::{Write, diff};
use weft_core::model::{
    Change, ClusterNetwork, Endpoint, EndpointId, HostSubnet, LocalNode, Mode, NetworkEntry,
    Project, Vnid, World,
};
use weft_ebpf::event::DropEvent;
use weft_netns::NetNs;
use zerocopy::FromBytes as _;

use crate::frames::pod_mac;

/// The pods: project and last byte of the addresses. `a` and `c` are joined, `g` is global, `x` has no network.
pub const PODS: [(&str, u8); 5] = [("a", 5), ("b", 6), ("c", 7), ("g", 8), ("x", 9)];
pub const VNIDS: [(&str, u32); 4] = [("a", 10), ("b", 11), ("c", 10), ("g", 0)];
pub const NODE: &str = "192.168.50.11";
pub const PEER: &str = "192.168.50.12";
pub const VXLAN_PORT: u16 = 4789;

/// Runs a test in a fresh network namespace, on a thread that is in it.
pub fn in_namespace(test: impl FnOnce() + Send) {
    NetNs::create().unwrap().run(test).unwrap();
}

/// Runs a test with a data path in a fresh network namespace.
pub fn with_rig(test: impl FnOnce(&mut Rig) + Send) {
    in_namespace(|| test(&mut Rig::new()));
}

/// Runs a command in the calling thread's namespace; panics with its output when it fails.
#[track_caller]
pub fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command}: {text}");
    text
}

/// A bpf file system of the test's own, gone with everything pinned in it.
pub struct BpfFs(PathBuf);

impl BpfFs {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("weft-test-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&path).unwrap();
        let none: Option<&str> = None;
        mount(Some("bpf"), &path, Some("bpf"), MsFlags::empty(), none).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).unwrap();
        std::fs::remove_dir(&self.0).unwrap();
    }
}

pub struct Rig {
    pub object: Object,
    pub maps: Maps,
    pub events: RingBuf<MapData>,
    pub pins: Pins,
    pub world: World,
    _folder: BpfFs,
}

impl Rig {
    fn new() -> Self {
        let folder = BpfFs::new();
        let pins = Pins::open(folder.path()).unwrap();
        let mut object = load(&pins).unwrap();
        let maps = Maps::take(&mut object.ebpf).unwrap();
        let events = take_events(&mut object.ebpf).unwrap();
        for (project, _) in PODS {
            sh(&format!(
                "ip link add weft-{project} type veth peer name {project}0"
            ));
        }
        let world = world();
        let mut rig = Self {
            object,
            maps,
            events,
            pins,
            world,
            _folder: folder,
        };
        let actual = observe::maps::tables(&rig.maps).unwrap();
        rig.write(&diff(&compile(&rig.world), &actual));
        for (project, _) in PODS {
            rig.maps.count(interface(project)).unwrap();
        }
        rig
    }

    pub fn write(&mut self, writes: &[Write]) {
        for write in writes {
            self.maps.write(write).unwrap();
        }
    }

    /// The rows of the world again, whatever a test has made of them.
    pub fn restore(&mut self) {
        let actual = observe::maps::tables(&self.maps).unwrap();
        self.write(&diff(&compile(&self.world), &actual));
    }

    /// Takes changes into the world, and into the maps.
    pub fn take(&mut self, changes: impl IntoIterator<Item = Change>) {
        changes
            .into_iter()
            .for_each(|change| self.world.take(change));
        self.restore();
    }

    pub fn program(&self, name: &str) -> &SchedClassifier {
        self.object.ebpf.program(name).unwrap().try_into().unwrap()
    }

    /// Runs a program on a frame as on this interface: its return code and the frame after it.
    pub fn run(&self, program: &str, ifindex: u32, frame: &[u8]) -> (i32, Vec<u8>) {
        self.repeat(program, &context(ifindex), frame, 1)
    }

    /// The same for a frame that came to the node by another interface.
    pub fn run_entered(
        &self,
        program: &str,
        entered: u32,
        ifindex: u32,
        frame: &[u8],
    ) -> (i32, Vec<u8>) {
        let mut context = context(ifindex);
        context[INGRESS_IFINDEX..IFINDEX].copy_from_slice(&entered.to_ne_bytes());
        self.repeat(program, &context, frame, 1)
    }

    pub fn repeat(
        &self,
        program: &str,
        context: &[u8],
        frame: &[u8],
        times: u32,
    ) -> (i32, Vec<u8>) {
        let mut out = vec![0; frame.len() + 64];
        let result = self
            .program(program)
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ctx_in: Some(context),
                repeat: times,
                ..TestRunOptions::default()
            })
            .unwrap();
        out.truncate(result.data_size_out as usize);
        (result.return_value.cast_signed(), out)
    }

    /// Events that came since the last call.
    pub fn events(&mut self) -> Vec<DropEvent> {
        let mut events = Vec::new();
        while let Some(item) = self.events.next() {
            events.push(DropEvent::read_from_bytes(&item).expect("an event has its own size"));
        }
        events
    }
}

/// Places in `struct __sk_buff`.
const INGRESS_IFINDEX: usize = 36;
const IFINDEX: usize = 40;

/// The start of a `struct __sk_buff` with `ifindex` set; the kernel takes what is missing for zeros.
pub fn context(ifindex: u32) -> [u8; 44] {
    let mut context = [0; 44];
    context[IFINDEX..].copy_from_slice(&ifindex.to_ne_bytes());
    context
}

/// Index of the host-side interface of a project's pod.
pub fn interface(project: &str) -> u32 {
    index(&format!("weft-{project}"))
}

pub fn index(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).unwrap()
}

pub fn vnid(project: &str) -> u32 {
    let found = VNIDS.iter().find(|(name, _)| *name == project);
    found.map_or(weft_ebpf::rows::VNID_CLOSED, |(_, vnid)| *vnid)
}

fn world() -> World {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let host = |name: &str, address: &str, subnets: [&str; 2]| HostSubnet {
        name: name.into(),
        ip: ip(address),
        subnets: subnets.map(|s| s.parse().unwrap()).to_vec(),
    };
    let entry = |cidr: &str, host_bits| NetworkEntry {
        cidr: cidr.parse().unwrap(),
        host_bits,
    };
    let mut world = World::new(LocalNode {
        name: "node1".into(),
        ip: ip(NODE),
        addresses: vec![ip(NODE)],
    });
    world.overlay_ifindex = 1_000_000; // none in a test run has to be there
    world.network = Some(ClusterNetwork {
        mode: Mode::Multitenant,
        networks: vec![entry("10.128.0.0/14", 9), entry("fd01::/48", 64)],
        services: vec![
            "172.30.0.0/16".parse().unwrap(),
            "fd98::/112".parse().unwrap(),
        ],
        vxlan_port: VXLAN_PORT,
        mtu: 1450,
    });
    for host in [
        host("node1", NODE, ["10.128.2.0/23", "fd01:0:0:2::/64"]),
        host("node2", PEER, ["10.128.4.0/23", "fd01:0:0:4::/64"]),
    ] {
        world.take(Change::HostSubnet(host.name.clone(), Some(host)));
    }
    for (name, vnid) in VNIDS {
        let project = Project {
            name: name.into(),
            vnid: Vnid::new(vnid.into()).unwrap(),
        };
        world.take(Change::Project(name.into(), Some(project)));
    }
    for (project, last) in PODS {
        let endpoint = endpoint(project, last);
        world.take(Change::Endpoint(endpoint.id.clone(), Some(endpoint)));
    }
    world
}

fn endpoint(project: &str, last: u8) -> Endpoint {
    let v4 = IpAddr::from([10, 128, 2, last]);
    Endpoint {
        id: EndpointId {
            container: format!("container-{project}"),
            ifname: "eth0".into(),
        },
        project: project.into(),
        pod: "pod".into(),
        addresses: vec![
            v4,
            IpAddr::from([0xfd01, 0, 0, 2, 0, 0, 0, u16::from(last)]),
        ],
        mac: pod_mac(v4),
        host_ifname: format!("weft-{project}"),
        host_ifindex: interface(project),
    }
}
