//! The egress firewall: what a project's pods may send out of the cluster.
//!
//! The first rule of the project's policy that matches decides; if none does, the packet is allowed. Which rule that is was
//! found out at compile time for every prefix, so that a packet costs a few lookups, however many rules there are.

use super::connection::{fragments, received, sent};
use super::{Denial, Outcome, Party, Tables};
use crate::addr::{Addr, V4_PREFIX_BITS};
use crate::packet::{Packet, proto};
use crate::reason::DropReason;
use crate::rows::egress::{
    ANY_PORT, HitKey, LearnedKey, NO_POLICY, POLICY_CLOSED, RuleKey, RuleRow, SEARCH_LENS,
    SearchKey, action, project_flag, rule_kind,
};
use crate::rows::flow::{FlowKey, FlowRow, origin};

/// Steps of the search: as deep as the tree of lengths goes.
const SEARCH_STEPS: usize = SEARCH_LENS.ilog2() as usize;

/// What the rules say of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Port class of the packet.
    pub class: u32,
    /// The first rule that matches, or [`RuleRow::NONE`].
    pub rule: RuleRow,
}

/// Decides on a packet to the outside, and notes what later packets of the connection need.
#[inline(always)]
pub fn leave<T: Tables, O: Outcome>(
    tables: &T,
    packet: &Packet,
    party: &Party,
    outcome: &O,
) -> O::Done {
    if party.policy == NO_POLICY {
        return outcome.pass();
    }
    match tables.judged(party, packet) {
        GO => outcome.pass(),
        place => deny(party, place, outcome),
    }
}

#[inline(never)]
fn deny<O: Outcome>(party: &Party, place: u32, outcome: &O) -> O::Done {
    let (reason, rule) = match place {
        CLOSED => (DropReason::EgressClosed, 0),
        MISSING => (DropReason::EgressPolicyMissing, 0),
        place => (DropReason::EgressDenied, place),
    };
    outcome.drop(&Denial {
        src_project: party.project,
        src_vnid: party.vnid,
        rule,
        ..Denial::from(reason)
    })
}

/// What [`judged`] answers beside the place, from 1, of the rule that denies.
const GO: u32 = 0;
/// The project's policy is closed.
pub const CLOSED: u32 = u32::MAX;
const MISSING: u32 = u32::MAX - 1;

/// What a project's policy, which it must have, says of a packet to the outside; notes what later packets of the connection need.
/// The place, from 1, of the rule that denies, 0 if the packet may go, or [`CLOSED`] or `u32::MAX - 1` (rows are missing).
///
/// What it calls are functions of their own in the programs: each has its part of the stack only while it is at work.
#[inline(always)]
pub fn judged<T: Tables>(tables: &T, party: &Party, packet: &Packet) -> u32 {
    if party.policy == POLICY_CLOSED {
        return CLOSED;
    }
    let now = tables.now();
    if packet.is_later_fragment() && follows(tables, party, packet, now) {
        return GO;
    }
    let place = match judge(tables, party, packet, now) {
        Some(judgement) => settle(tables, party, packet, now, &judgement),
        None => MISSING,
    };
    if packet.is_first_fragment() && place == GO {
        goes_first(tables, party, packet, now);
    }
    place
}

/// Notes that the other fragments of the packet may follow this one.
#[inline(never)]
fn goes_first<T: Tables>(tables: &T, party: &Party, packet: &Packet, now: u64) {
    let key = fragments_key(packet);
    note(tables, &key, 0, origin::FRAGMENTS, party.ifindex, now);
}

/// Whether the fragment is of a packet whose first fragment was let go. Only that one showed ports; one that comes before it is
/// judged without.
#[inline(never)]
fn follows<T: Tables>(tables: &T, party: &Party, packet: &Packet, now: u64) -> bool {
    let key = fragments_key(packet);
    let row = tables.flow(&key);
    row.is_some_and(|row| row.ifindex == party.ifindex && !key.is_over(&row, now))
}

/// Lets connections go on that the rules of the moment would not let begin, and notes and counts.
#[inline(never)]
fn settle<T: Tables>(
    tables: &T,
    party: &Party,
    packet: &Packet,
    now: u64,
    judgement: &Judgement,
) -> u32 {
    let Judgement { class, rule } = *judgement;
    let allowed = matches!(rule.action, action::NONE | action::ALLOW);
    // What is allowed by name stays so while the connection is open. Of other protocols than TCP no packet shows whether it
    // opens a connection, so it must be known who did. Nothing else needs to be noted.
    if !allowed || rule.name != 0 || packet.proto != proto::TCP {
        let key = sent(packet);
        let open = open_flow(tables, &key, packet, party.ifindex, now);
        if allowed {
            let kind = open.map_or(origin::OUT, |row| row.kind);
            note(tables, &key, rule.name, kind, party.ifindex, now);
        } else if let Some(row) = open
            && (row.kind == origin::IN && !asks(packet)
                || row.name != 0 && keeps(tables, party.policy, class, row.name, &rule))
        {
            note(tables, &key, row.name, row.kind, party.ifindex, now);
            return GO;
        }
    }
    if rule.action != action::NONE {
        count(tables, party.policy, &rule, packet, now);
    }
    if allowed {
        GO
    } else {
        rule.rank.saturating_add(1)
    }
}

#[inline(always)]
fn count<T: Tables>(tables: &T, policy: u64, rule: &RuleRow, packet: &Packet, now: u64) {
    let key = HitKey {
        policy,
        rank: rule.rank,
        reserved: 0,
    };
    tables.count_hit(&key, packet.len, now);
}

/// The first rule of a party's policy that matches a packet; `None` if rows are missing. The party must have a policy.
#[inline(always)]
pub fn judge<T: Tables>(tables: &T, party: &Party, packet: &Packet, now: u64) -> Option<Judgement> {
    let policy = party.policy;
    let class = if party.flags & project_flag::PORTS == 0 {
        ANY_PORT
    } else {
        tables.port_class(policy, packet.proto, packet.dst_port)
    };
    let mut rule = RuleRow::NONE;
    let mut found = tables.by_prefix(policy, ANY_PORT, &packet.dst, &mut rule);
    if class != ANY_PORT {
        found &= tables.by_prefix(policy, class, &packet.dst, &mut rule);
    }
    if !found {
        return None;
    }
    if party.flags & project_flag::NAMES != 0 {
        let asked = Asked {
            policy,
            class,
            learned: LearnedKey {
                project: party.project,
                addr: packet.dst,
            },
        };
        by_address(tables, &asked, now, &mut rule);
    }
    Some(Judgement { class, rule })
}

/// An address and whose rules by name are looked up for it.
struct Asked {
    policy: u64,
    class: u32,
    learned: LearnedKey,
}

/// Takes the first rule by a name of the address, if it comes before `rule`: names that the agent resolved, and those that pods
/// of the project were told.
#[inline(never)]
fn by_address<T: Tables>(tables: &T, asked: &Asked, now: u64, rule: &mut RuleRow) {
    let Asked {
        policy,
        class,
        learned,
    } = asked;
    let mut key = RuleKey {
        policy: *policy,
        class: ANY_PORT,
        kind: rule_kind::ADDRESS,
        value: learned.addr,
    };
    of_classes(*class, &mut key, |key| first(rule, tables.resolved(key)));
    if let Some(row) = tables.learned(learned, now) {
        for slot in &row.names {
            if slot.expires > now {
                key = RuleKey::name(*policy, ANY_PORT, slot.name);
                of_classes(*class, &mut key, |key| first(rule, tables.rule(key)));
            }
        }
    }
}

/// Takes the rule of the longest prefix in a class, which is the first among all rules that contain it, if it comes before
/// `rule`. Whether the class has rows.
#[inline(always)]
pub fn by_prefix<T: Tables>(
    tables: &T,
    policy: u64,
    class: u32,
    addr: &Addr,
    rule: &mut RuleRow,
) -> bool {
    let family = if addr.as_v4().is_some() { 4 } else { 6 };
    let Some(search) = tables.search(&SearchKey {
        policy,
        class,
        family,
    }) else {
        return false;
    };
    let mut best = search.default;
    let mut key = RuleKey {
        policy,
        class,
        kind: 0,
        value: *addr,
    };
    let mut slot = 1;
    for _ in 0..SEARCH_STEPS {
        let len = u32::from(search.lens[slot & (SEARCH_LENS - 1)]);
        if len == 0 {
            break;
        }
        key.kind = len;
        key.value = addr.masked(len);
        slot = slot * 2 + (tables.better(&key, &mut best) & 1) as usize;
    }
    first(rule, Some(best));
    true
}

/// Looks a key up for the rules without ports, then for those of the packet's class.
#[inline(always)]
fn of_classes(class: u32, key: &mut RuleKey, mut look: impl FnMut(&RuleKey)) {
    key.class = ANY_PORT;
    look(key);
    if class != ANY_PORT {
        key.class = class;
        look(key);
    }
}

#[inline(always)]
fn first(rule: &mut RuleRow, other: Option<RuleRow>) {
    if let Some(other) = other
        && other.rank < rule.rank
    {
        *rule = other;
    }
}

/// Whether the policy allows the name before the rule that denies the address.
#[inline(always)]
fn keeps<T: Tables>(tables: &T, policy: u64, class: u32, name: u64, denying: &RuleRow) -> bool {
    let mut rule = RuleRow::NONE;
    let mut key = RuleKey::name(policy, ANY_PORT, name);
    of_classes(class, &mut key, |key| first(&mut rule, tables.rule(key)));
    rule.action == action::ALLOW && rule.rank < denying.rank
}

/// The connection that the packet goes on with, if there is one. A SYN begins a new one.
#[inline(always)]
fn open_flow<T: Tables>(
    tables: &T,
    key: &FlowKey,
    packet: &Packet,
    ifindex: u32,
    now: u64,
) -> Option<FlowRow> {
    if packet.proto == proto::TCP && packet.opens != 0 {
        return None;
    }
    tables
        .flow(key)
        .filter(|row| row.ifindex == ifindex && !key.is_over(row, now))
}

/// Whether the packet itself tells that it is no answer.
#[inline(always)]
const fn asks(packet: &Packet) -> bool {
    packet.opens != 0 && matches!(packet.proto, proto::ICMP | proto::ICMPV6)
}

#[inline(always)]
fn fragments_key(packet: &Packet) -> FlowKey {
    let mut key = sent(packet);
    fragments(&mut key, packet);
    key
}

#[inline(always)]
fn note<T: Tables>(tables: &T, key: &FlowKey, name: u64, kind: u32, ifindex: u32, now: u64) {
    tables.note_flow(key, FlowRow::new(kind, ifindex, name, now));
}

/// Notes a connection that the outside, or the node, opens to a pod with a policy: the pod's answers are not judged.
///
/// An answer to what the pod sent is none, even where the policy has come to deny it since.
#[inline(always)]
pub(super) fn note_inbound<T: Tables>(tables: &T, receiver: Party, packet: &Packet) {
    if receiver.policy != NO_POLICY && receiver.policy != POLICY_CLOSED && packet.opens != 0 {
        inbound(tables, packet, receiver.ifindex);
    }
}

#[inline(never)]
fn inbound<T: Tables>(tables: &T, packet: &Packet, ifindex: u32) {
    let key = received(packet);
    let now = tables.now();
    let (name, kind) = match open_flow(tables, &key, packet, ifindex, now) {
        // Echoes of both directions have one key.
        Some(row) if asks(packet) => (row.name, origin::IN),
        Some(row) => (row.name, row.kind),
        None => (0, origin::IN),
    };
    note(tables, &key, name, kind, ifindex, now);
}

// A search of IPv4 ends below the mapped prefix, which is the family's own rule.
const _: () = assert!(V4_PREFIX_BITS == 96);
