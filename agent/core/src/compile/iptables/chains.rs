//! The chains of a node. Their names are those that OpenShift administrators know; `-2` is what follows where the service
//! proxy has its say.
//!
//! Whoever translates addresses on a node, kube-proxy before all, decides where a packet goes after the data path has looked
//! at it. What must not come of that:
//!
//! | must not | is stopped in |
//! |---|---|
//! | an address of a service that nobody translated leaves the cluster | FIREWALL-FORWARD-2 and FIREWALL-OUTPUT, which refuse it; BLOCK-POSTROUTING, whatever else accepted it |
//! | a packet becomes one of the overlay | BLOCK-POSTROUTING towards other nodes, FIREWALL-ALLOW towards this one |
//! | a pod reaches the node's loopback | FIREWALL-ALLOW |
//! | what pods may send to their node past the egress firewall goes further | FIREWALL-DNAT |
//! | a pod of another node reaches pods of any project by a port of this node | FIREWALL-FORWARD, which refuses it |
//! | what pods send to a service, or to whatever else is translated, leaves past the egress firewall | FIREWALL-EGRESS, which asks the data path once more ([`Ruleset::judge`]) |

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{Family, Match, Rule, Ruleset, Table, TableRules, Target};
use crate::host::{DEVICE_PREFIX, OVERLAY};
use crate::model::{ClusterNetwork, LocalNode};

const ALLOW: &str = "OPENSHIFT-FIREWALL-ALLOW";
const ALLOW_2: &str = "OPENSHIFT-FIREWALL-ALLOW-2";
const FORWARD: &str = "OPENSHIFT-FIREWALL-FORWARD";
const FORWARD_2: &str = "OPENSHIFT-FIREWALL-FORWARD-2";
const OUTPUT: &str = "OPENSHIFT-FIREWALL-OUTPUT";
const DNAT: &str = "OPENSHIFT-FIREWALL-DNAT";
const EGRESS: &str = "OPENSHIFT-FIREWALL-EGRESS";
const ADMIN: &str = "OPENSHIFT-ADMIN-OUTPUT-RULES";
const LEAVING: &str = "OPENSHIFT-BLOCK-POSTROUTING";
const MASQUERADE: &str = "OPENSHIFT-MASQUERADE";
const MASQUERADE_2: &str = "OPENSHIFT-MASQUERADE-2";
const NOTRACK: &str = "OPENSHIFT-NOTRACK";

/// kube-proxy's convention of the system we replace: such a packet is translated by the service proxy already.
const MASQUERADE_MARK: Match = Match::Mark {
    value: 0x1,
    mask: 0x1,
};

/// Of the node's own name server.
const DNS: u16 = 53;
/// Of the API server's service.
const HTTPS: u16 = 443;

/// What the rules of one family are made from.
struct Input {
    family: Family,
    /// Of pods.
    networks: Vec<IpNet>,
    services: Vec<IpNet>,
    /// Of the API server's own service, if it is of this family.
    api_server: Option<IpAddr>,
    /// UDP port of the overlay. Its device listens in both families.
    overlay: u16,
    /// Whether the underlay is of this family.
    underlay: bool,
    /// Of the node, but for those below.
    addresses: Vec<IpAddr>,
    /// Of the node in the pod network.
    gateways: Vec<IpAddr>,
}

/// The rules of a node: one set for each family that has a pod network or carries the overlay. `gateways` are its
/// addresses in the pod network.
///
/// OPENSHIFT-BLOCK-OUTPUT is left out: forwarded pod traffic never reached it there, since FIREWALL-FORWARD accepted
/// first, and the ports that it guards belong to OpenShift's own machine configuration.
pub fn rulesets(network: &ClusterNetwork, node: &LocalNode, gateways: &[IpAddr]) -> Vec<Ruleset> {
    let families = [Family::V4, Family::V6].into_iter();
    let inputs = families.map(|family| Input::new(family, network, node, gateways));
    inputs
        .filter(|input| input.underlay || !input.networks.is_empty())
        .map(|input| Ruleset {
            family: input.family,
            tables: BTreeMap::from([
                (Table::Raw, raw(&input)),
                (Table::Mangle, mangle(&input)),
                (Table::Nat, nat(&input)),
                (Table::Filter, filter(&input)),
            ]),
        })
        .collect()
}

impl Input {
    fn new(
        family: Family,
        network: &ClusterNetwork,
        node: &LocalNode,
        gateways: &[IpAddr],
    ) -> Self {
        let own = |net: &IpNet| family.has(net);
        let networks: Vec<_> = network.networks.iter().map(|entry| entry.cidr).collect();
        let networks: Vec<_> = networks.into_iter().filter(own).collect();
        let services: Vec<_> = network.services.iter().copied().filter(own).collect();
        let of_family = |ip: &IpAddr| family.has(&IpNet::from(*ip));
        // A service proxy may keep the services' addresses on a device of the node, by the thousand.
        let inside = |ip: &IpAddr| networks.iter().chain(&services).any(|net| net.contains(ip));
        let addresses = node.addresses.iter().copied().filter(of_family);
        let api_server = network.services.first().map(first_address);
        Self {
            api_server: api_server.filter(of_family),
            addresses: addresses.filter(|ip| !inside(ip)).collect(),
            gateways: gateways.iter().copied().filter(of_family).collect(),
            underlay: of_family(&node.ip),
            overlay: network.vxlan_port,
            family,
            networks,
            services,
        }
    }

    fn loopback(&self) -> IpNet {
        match self.family {
            Family::V4 => IpNet::new_assert(Ipv4Addr::new(127, 0, 0, 0).into(), 8),
            Family::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST).into(),
        }
    }

    /// What a translation made a packet of the overlay. The overlay's own are not tracked, or were sent to its port.
    fn forged(&self) -> Rule {
        let matches = [
            Match::UdpPort(self.overlay),
            Match::Original,
            Match::NotAskedPort(self.overlay),
        ];
        Rule::new(matches, Target::Drop)
    }

    /// What goes to an address of a service that nobody has translated. A proxy may have it on a device of the node, which
    /// sends through `lo`.
    fn unserved(&self) -> impl Iterator<Item = [Match; 2]> {
        let services = self.services.iter();
        services.map(|net| [Match::Destination(*net), Match::NotOut("lo".into())])
    }

    /// Tells who sends it at once.
    fn refuse(&self) -> impl Iterator<Item = Rule> {
        self.unserved().flat_map(|unserved| {
            let tcp = unserved.iter().cloned().chain([Match::Tcp]);
            [
                Rule::new(tcp, Target::Reset),
                Rule::new(unserved, Target::Reject),
            ]
        })
    }
}

impl Ruleset {
    /// Lets the program pinned at this path judge what the host has translated for pods, where no program of an interface sees
    /// it again.
    pub fn judge(&mut self, program: &str) {
        let filter = self.tables.get_mut(&Table::Filter);
        if let Some(rules) = filter.and_then(|table| table.chains.get_mut(EGRESS)) {
            let program = Match::Program(program.to_owned());
            rules.push(Rule::new([program], Target::Drop));
        }
    }
}

/// By the convention of the Kubernetes API server its own service has the first address of the first service network. Of further
/// networks that address is anybody's who asks for it.
fn first_address(net: &IpNet) -> IpAddr {
    match net {
        IpNet::V4(net) => Ipv4Addr::from(u32::from(net.network()) | 1).into(),
        IpNet::V6(net) => Ipv6Addr::from(u128::from(net.network()) | 1).into(),
    }
}

/// What pods send in connections whose destination was translated.
fn translated(to: &str) -> Rule {
    let matches = [from_pods(), Match::Translated, Match::Original];
    Rule::new(matches, Target::Jump(to.into()))
}

fn from_pods() -> Match {
    Match::In(format!("{DEVICE_PREFIX}+"))
}

/// Tracking the outer packets would cost a lookup and an entry a flow, and says nothing.
fn raw(input: &Input) -> TableRules {
    let mut table = TableRules::default();
    let rule = || Rule::new([Match::UdpPort(input.overlay)], Target::NoTrack);
    table.chain(NOTRACK, input.underlay.then(rule));
    table.jump("OUTPUT", [], NOTRACK);
    table.jump("PREROUTING", [], NOTRACK);
    table
}

/// The last look, at whatever leaves by whatever way: other programs may accept in the filter table before we do.
fn mangle(input: &Input) -> TableRules {
    let mut table = TableRules::default();
    let unserved = input.unserved();
    let unserved = unserved.map(|matches| Rule::new(matches, Target::Drop));
    table.chain(LEAVING, unserved.chain([input.forged()]));
    table.jump("POSTROUTING", [], LEAVING);
    table
}

fn nat(input: &Input) -> TableRules {
    let mut table = TableRules::default();
    // Rules of egress IPs go before all of these.
    let sources = input
        .networks
        .iter()
        .map(|n| Rule::new([Match::Source(*n)], Target::Jump(MASQUERADE_2.into())));
    table.chain(
        MASQUERADE,
        std::iter::once(Rule::new([MASQUERADE_MARK], Target::Return)).chain(sources),
    );
    let inside = input
        .networks
        .iter()
        .map(|n| Rule::new([Match::Destination(*n)], Target::Return));
    table.chain(
        MASQUERADE_2,
        inside.chain([Rule::new([], Target::Masquerade)]),
    );
    table.jump("POSTROUTING", [], MASQUERADE);
    table
}

fn filter(input: &Input) -> TableRules {
    let mut table = TableRules::default();
    table_input(input, &mut table);
    table_forward(input, &mut table);
    table.chain(OUTPUT, input.refuse());
    table.jump_later("OUTPUT", OUTPUT);
    table
}

fn table_input(input: &Input, table: &mut TableRules) {
    let loopback = [from_pods(), Match::Destination(input.loopback())];
    let overlay = || Rule::new([Match::UdpPort(input.overlay)], Target::Accept);
    let loopback = Rule::new(loopback, Target::Drop);
    // Whatever a pod asked for and got is on this node: FIREWALL-DNAT has nothing to say here.
    let rules = [input.forged(), loopback, translated(EGRESS)];
    let overlay = input.underlay.then(overlay);
    table.chain(ALLOW, rules.into_iter().chain(overlay));
    table.chain(ALLOW_2, [Rule::new([from_pods()], Target::Accept)]);
    table.jump("INPUT", [], ALLOW);
    table.jump_later("INPUT", ALLOW_2);
}

fn table_forward(input: &Input, table: &mut TableRules) {
    let networks = || input.networks.iter();
    // A late retransmission of a closed connection would leave with the pod's own address, untranslated.
    let invalid = networks().map(|n| Rule::new([Match::Source(*n), Match::Invalid], Target::Drop));
    // What comes so asked for this node's address in the pod network. The sender's project cannot be told any more once its source
    // is translated too; of a local pod it can, by the interface it came from.
    let hidden = [
        Match::In(OVERLAY.into()),
        Match::Translated,
        Match::Original,
    ];
    let reset = hidden.iter().cloned().chain([Match::Tcp]);
    let hidden = [
        Rule::new(reset, Target::Reset),
        Rule::new(hidden, Target::Reject),
    ];
    // Pods are judged where packets enter them.
    let to_pods = networks().map(|n| Rule::new([Match::Destination(*n)], Target::Accept));
    let rules = invalid.chain(hidden).chain(to_pods);
    table.chain(FORWARD, rules.chain([translated(DNAT)]));

    // The data path lets every pod to these, as they are no way out of the cluster.
    let gateways = input.gateways.iter();
    let gateways = gateways.map(|ip| Rule::new([Match::AskedFor(*ip)], Target::Drop));
    let servers = input.addresses.iter();
    let servers =
        servers.map(|ip| Rule::new([Match::AskedFor(*ip), Match::AskedPort(DNS)], Target::Drop));
    let egress = Rule::new([], Target::Jump(EGRESS.into()));
    table.chain(DNAT, gateways.chain(servers).chain([egress]));

    // Without it no policy could deny everything: the pods of a project would not find the API server.
    let api_server = input.api_server;
    let api_server = api_server.map(|ip| {
        let matches = [Match::Tcp, Match::AskedFor(ip), Match::AskedPort(HTTPS)];
        Rule::new(matches, Target::Return)
    });
    table.chain(EGRESS, api_server);

    let from = networks().map(|n| Rule::new([Match::Source(*n)], Target::Accept));
    table.chain(FORWARD_2, input.refuse().chain(from));

    table.reserved.insert(ADMIN.into());
    // The administrators' chain first, before anybody accepts.
    let away = Match::NotOut(format!("{DEVICE_PREFIX}+"));
    table.jump("FORWARD", [from_pods(), away], ADMIN);
    table.jump("FORWARD", [], FORWARD);
    table.jump_later("FORWARD", FORWARD_2);
}
