//! Why a packet was dropped.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $n:literal, $text:literal;)*) => {
        /// Why a packet was dropped. Numbers are part of the ABI: append, never renumber.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DropReason { $($(#[$doc])* $name = $n,)* }

        impl DropReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The reason with this number.
            pub const fn from_number(n: u32) -> Option<Self> {
                match n { $($n => Some(Self::$name),)* _ => None }
            }

            /// The name that the command line and metrics use.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// One line for people: what happened.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// The frame is too short, or a length in it contradicts another.
    Malformed = 1, "the packet is malformed";
    /// Neither IPv4 nor IPv6.
    NotIp = 2, "the frame is neither IPv4 nor IPv6";
    /// More IPv6 extension headers than are walked.
    TooManyHeaders = 3, "the packet has too many IPv6 extension headers";
    /// The source address is not the pod's.
    SpoofedAddress = 4, "the pod sent from an address that is not its own";
    /// The source MAC address is not the pod's.
    SpoofedMac = 5, "the pod sent from a MAC address that is not its own";
    /// A pod sent to the overlay's UDP port.
    ForgedOverlay = 6, "the pod sent to the overlay's UDP port";
    /// Sender and receiver are in networks that are not joined.
    Isolated = 7, "the two projects' networks are isolated from each other";
    /// The sender's project is unknown or invalid.
    SourceProjectClosed = 8, "the sender's project has no valid network yet";
    /// The receiver's project is unknown or invalid.
    TargetProjectClosed = 9, "the receiver's project has no valid network yet";
    /// An address of this node's subnet that no pod has.
    NoSuchPod = 10, "no pod on this node has the destination address";
    /// A pod address in a subnet that no node holds.
    NoSuchNode = 11, "no node holds the destination's subnet";
    /// An overlay packet from an address that is no known node's.
    UnknownPeer = 12, "the overlay packet came from an address that is no known node";
    /// An overlay packet whose inner source is not of the sending node.
    ForeignSource = 13, "the inner source address does not belong to the sending node";
    /// An overlay packet that is not for this node.
    NotForThisNode = 14, "the overlay packet is not for a pod of this node";
    /// The packet arrived at the overlay device without tunnel metadata.
    NoTunnelKey = 15, "the packet has no overlay metadata";
    /// A packet for a pod came through the host stack from an address that cannot come that way.
    UnexpectedSource = 16, "a pod address came to a pod through the host stack";
    /// The pod's interface is not the one its address belongs to.
    WrongInterface = 17, "the destination address belongs to another interface";
    /// Multicast is not enabled for the project.
    MulticastDisabled = 18, "multicast is not enabled for the project";
    /// The overlay device is missing.
    NoOverlay = 19, "this node has no overlay device";
    /// The prefix row has a class this program does not know.
    UnknownClass = 20, "the destination's class is unknown to the data path";
    /// A kernel helper refused.
    HelperFailed = 21, "the kernel refused to forward the packet";
    /// IPv6 control traffic of the link itself. Each kernel sends some whenever a link comes up: counted, no event.
    LinkLocal = 22, "IPv6 link-local multicast ends at the node";
    /// A Deny rule of the project's egress policy.
    EgressDenied = 23, "a rule of the project's egress policy denies the destination";
    /// The project's egress policy is invalid, or contradicts another one.
    EgressClosed = 24, "the project's egress policy is not valid, so nothing leaves the cluster";
    /// Rows of the project's egress policy are missing.
    EgressPolicyMissing = 25, "the data path lacks rows of the project's egress policy";
    /// An ICMP error of a pod that quotes other packets than those from its receiver to the pod, or an ICMP redirect. The
    /// receiver's kernel would change its routes to others by it.
    ForgedIcmpError = 26, "the pod sent an ICMP error about packets that were not sent to it";
    /// IPv4 options other than Router Alert, or an IPv6 routing header with segments left.
    SourceRoute = 27, "the pod's packet prescribes its own route by IP options or a routing header";
    /// A fragment that does not follow the one before it, or one of a packet more than a pod may leave unfinished.
    Fragments = 28, "the fragment is out of order, or the pod has too many unfinished packets";
    /// An address that is nobody's but the sender's own host: to the node's stack it could be the node itself.
    Loopback = 29, "the pod sent to a loopback address, or to none, and the node's loopback is not open to pods";
}

const _: () = assert!(DropReason::ALL.len() < crate::rows::REASONS_CAPACITY as usize);
