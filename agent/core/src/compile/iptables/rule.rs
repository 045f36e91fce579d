//! One rule: printed for `iptables-restore`, read back from `iptables-save`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

/// A condition. An interface name that ends in `+` stands for all that begin so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// Source in the network.
    Source(IpNet),
    /// Destination in the network.
    Destination(IpNet),
    /// Came in on the interface.
    In(String),
    /// Goes out elsewhere than on the interface.
    NotOut(String),
    /// TCP.
    Tcp,
    /// UDP to the port.
    UdpPort(u16),
    /// Connection tracking cannot place it.
    Invalid,
    /// Of a connection whose destination was translated.
    Translated,
    /// From the side that opened the connection.
    Original,
    /// The connection was opened to this address, before any translation.
    AskedFor(IpAddr),
    /// The connection was opened to this port, before any translation.
    AskedPort(u16),
    /// The connection was opened to another port than this, before any translation. Not met where nothing is tracked.
    NotAskedPort(u16),
    /// The eBPF program pinned at this path, of the type "socket filter", says so (`xt_bpf`). The kernel opens the path when it
    /// takes the rule in. No blanks, quotes or backslashes: `iptables-save` prints it as it is.
    Program(String),
    /// Packet mark under a mask.
    Mark {
        /// Wanted bits.
        value: u32,
        /// Bits that count.
        mask: u32,
    },
}

/// What happens to a packet that meets all conditions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// ACCEPT
    Accept,
    /// DROP
    Drop,
    /// REJECT with the family's "port unreachable", which clients of TCP and UDP take for a refusal.
    Reject,
    /// REJECT with a reset, for TCP alone. From a neighbour of the same machine an ICMP error comes while the client is still at
    /// sending, and Linux drops it then: over IPv6 the refusal is heard a second later.
    Reset,
    /// RETURN
    Return,
    /// MASQUERADE
    Masquerade,
    /// No connection tracking.
    NoTrack,
    /// A chain of the same table.
    Jump(String),
}

/// No chain has such a name.
const RESET: &str = "REJECT --reject-with tcp-reset";

/// A rule. The order of the conditions has no meaning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Conditions.
    pub matches: BTreeSet<Match>,
    /// Effect.
    pub target: Target,
}

impl Rule {
    /// A rule from its parts.
    pub fn new(matches: impl IntoIterator<Item = Match>, target: Target) -> Self {
        Self {
            matches: matches.into_iter().collect(),
            target,
        }
    }

    /// Reads what follows `-A CHAIN` in the output of `iptables-save`; `None` for whatever we never write.
    ///
    /// Comments are passed over, and so are the names of match modules (`-m udp`), which their options imply.
    pub fn parse(spec: &str) -> Option<Self> {
        let words = words(spec)?;
        let mut rest = words.iter().map(String::as_str);
        let mut matches = BTreeSet::new();
        let (mut udp, mut port, mut target) = (false, None, None);
        while let Some(option) = rest.next() {
            if option == "!" {
                match (rest.next()?, rest.next()?) {
                    ("-o", name) => matches.insert(Match::NotOut(name.to_owned())),
                    ("--ctorigdstport", port) => {
                        matches.insert(Match::NotAskedPort(port.parse().ok()?))
                    }
                    _ => return None,
                };
                continue;
            }
            if option == "--notrack" && target == Some("CT") {
                target = Some("NOTRACK");
                continue;
            }
            let value = rest.next()?;
            match option {
                "-p" if value == "udp" => udp = true,
                "-p" if value == "tcp" => {
                    matches.insert(Match::Tcp);
                }
                "--dport" => port = Some(value.parse().ok()?),
                "-s" => {
                    matches.insert(Match::Source(network(value)?));
                }
                "-d" => {
                    matches.insert(Match::Destination(network(value)?));
                }
                "-i" => {
                    matches.insert(Match::In(value.to_owned()));
                }
                "--ctstate" | "--state" if value == "INVALID" => {
                    matches.insert(Match::Invalid);
                }
                "--ctstate" if value == "DNAT" => {
                    matches.insert(Match::Translated);
                }
                "--ctdir" if value == "ORIGINAL" => {
                    matches.insert(Match::Original);
                }
                "--ctorigdst" => {
                    let net = network(value)?;
                    if net.prefix_len() != net.max_prefix_len() {
                        return None;
                    }
                    matches.insert(Match::AskedFor(net.addr()));
                }
                "--ctorigdstport" => {
                    matches.insert(Match::AskedPort(value.parse().ok()?));
                }
                "--reject-with" if target == Some("REJECT") => match value {
                    // What it does if nothing else is said.
                    "icmp-port-unreachable" | "icmp6-port-unreachable" => {}
                    "tcp-reset" => target = Some(RESET),
                    _ => return None,
                },
                "--object-pinned" => {
                    matches.insert(Match::Program(value.to_owned()));
                }
                "--mark" => {
                    matches.insert(mark(value)?);
                }
                "-m" | "--comment" => {}
                "-j" if target.is_none() => target = Some(value),
                _ => return None,
            }
        }
        match (udp, port) {
            (true, Some(port)) => {
                matches.insert(Match::UdpPort(port));
            }
            (false, None) => {}
            _ => return None,
        }
        let target = match target? {
            "ACCEPT" => Target::Accept,
            "DROP" => Target::Drop,
            "REJECT" => Target::Reject,
            RESET => Target::Reset,
            "RETURN" => Target::Return,
            "MASQUERADE" => Target::Masquerade,
            "NOTRACK" => Target::NoTrack,
            "CT" => return None,
            chain => Target::Jump(chain.to_owned()),
        };
        Some(Self { matches, target })
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for m in &self.matches {
            match m {
                Match::Source(net) => write!(f, "-s {net} "),
                Match::Destination(net) => write!(f, "-d {net} "),
                Match::In(name) => write!(f, "-i {name} "),
                Match::NotOut(name) => write!(f, "! -o {name} "),
                Match::Tcp => f.write_str("-p tcp "),
                Match::UdpPort(port) => write!(f, "-p udp -m udp --dport {port} "),
                Match::Invalid => f.write_str("-m conntrack --ctstate INVALID "),
                Match::Translated => f.write_str("-m conntrack --ctstate DNAT "),
                Match::Original => f.write_str("-m conntrack --ctdir ORIGINAL "),
                Match::AskedFor(ip) => write!(f, "-m conntrack --ctorigdst {ip} "),
                Match::AskedPort(port) => write!(f, "-m conntrack --ctorigdstport {port} "),
                Match::NotAskedPort(port) => write!(f, "-m conntrack ! --ctorigdstport {port} "),
                Match::Program(path) => write!(f, "-m bpf --object-pinned {path} "),
                Match::Mark { value, mask } => write!(f, "-m mark --mark {value:#x}/{mask:#x} "),
            }?;
        }
        f.write_str(match &self.target {
            Target::Accept => "-j ACCEPT",
            Target::Drop => "-j DROP",
            Target::Reject => "-j REJECT",
            Target::Reset => return write!(f, "-j {RESET}"),
            Target::Return => "-j RETURN",
            Target::Masquerade => "-j MASQUERADE",
            Target::NoTrack => "-j CT --notrack",
            Target::Jump(chain) => return write!(f, "-j {chain}"),
        })
    }
}

fn network(text: &str) -> Option<IpNet> {
    match text.parse() {
        Ok(net) => Some(net),
        Err(_) => text.parse::<IpAddr>().ok().map(IpNet::from),
    }
}

fn mark(text: &str) -> Option<Match> {
    let number = |t: &str| match t.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => t.parse().ok(),
    };
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    Some(Match::Mark {
        value: number(value)?,
        mask: number(mask)?,
    })
}

/// Splits at blanks; double quotes hold together, a backslash in them takes the next character literally, as
/// `iptables-save` writes. `None` when a quote stays open.
pub fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => word.get_or_insert_default().push(chars.next()?),
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    (!quoted).then_some(words)
}
