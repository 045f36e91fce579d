//! The answer to `weft get egress-policies`.

use std::collections::BTreeMap;
use std::sync::Arc;

use weft_core::model::{Destination, World};
use weft_ebpf::rows::egress::HitRow;

use super::egress::Found;
use super::events::since_1970;
use super::names::Known;
use super::read::{NoAnswer, read};
use super::view::{EgressPolicy, EgressRule};
use crate::observe::egress;
use crate::sync::Handle;

/// Every policy, or those of one namespace.
pub fn egress_policies(
    handle: &Handle,
    namespace: Option<String>,
) -> Result<Vec<EgressPolicy>, NoAnswer> {
    let resolutions = handle.names().ok_or(NoAnswer::Loop)?;
    let shared = Arc::clone(handle.shared());
    read(handle, move |m| {
        let hits = egress::hits(m)?;
        let named = shared.world().names().next().is_some();
        let learned = if named {
            egress::learned(m)?
        } else {
            BTreeMap::new()
        };
        let known = Known::new(resolutions, &learned);
        let found = super::read::egress_policies(m, &shared)?;
        let world = shared.world();
        let wanted = found.into_iter().filter(|one| {
            namespace
                .as_ref()
                .is_none_or(|it| *it == one.object.namespace)
        });
        Ok(wanted.map(|one| view(&world, &hits, &known, one)).collect())
    })
}

fn view(
    world: &World,
    hits: &BTreeMap<(u64, u32), HitRow>,
    known: &Known,
    found: Found,
) -> EgressPolicy {
    let policy = found.policy.as_ref();
    let rules = policy.map_or(&[][..], |policy| {
        policy.rules.as_deref().unwrap_or_default()
    });
    let number = policy.map_or(0, |policy| policy.number());
    let rules = rules.iter().zip(0..).map(|(rule, rank)| {
        let hit = hits.get(&(number, rank)).copied().unwrap_or_default();
        let pattern = match &rule.to {
            Destination::Cidr(_) => None,
            Destination::Name(pattern) => Some(pattern),
        };
        EgressRule {
            number: rank as usize + 1,
            text: rule.to_string(),
            packets: hit.packets,
            bytes: hit.bytes,
            last_hit: (hit.packets > 0).then(|| since_1970(hit.last)),
            addresses: pattern.map(|it| known.addresses(world, &found.object.namespace, it)),
            name: pattern.and_then(|it| known.state(it)),
        }
    });
    EgressPolicy {
        rules: rules.collect(),
        namespace: found.object.namespace,
        name: found.object.name,
        state: found.state,
        reason: found.reason,
        warning: found.warning,
    }
}
