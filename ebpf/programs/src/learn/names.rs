//! Which names of a policy a question concerns.

use weft_ebpf::decide::Tables;
use weft_ebpf::dns::{Repeat, Step};
use weft_ebpf::rows::egress::{ANY_PORT, RuleKey};

use super::maps::{MATCHES, NAMES, Scratch};
use crate::maps::Maps;
use crate::sys::Kernel;

/// Domains above a name: as many as labels.
const DOMAINS_MAX: u32 = 127;

/// Finds the names of the project's policy that the question's name is, or is below; whether there are any.
#[inline(never)]
pub fn find(scratch: &mut Scratch) -> bool {
    scratch.matched = 0;
    // SAFETY: the row is copied at once; a concurrent change shows the old or the new row.
    if let Some(row) = unsafe { NAMES.get(scratch.reader.name(0)) }.copied() {
        take(scratch, row.exact);
    }
    scratch.at = 0;
    Kernel::repeat::<Scratch, Domain>(DOMAINS_MAX, scratch);
    scratch.matched != 0
}

/// The next domain above.
struct Domain;

impl Step<Scratch> for Domain {
    #[inline(always)]
    fn step(scratch: &mut Scratch, _: u32) -> bool {
        let Some(at) = scratch.reader.above(scratch.at) else {
            return false;
        };
        scratch.at = at;
        // SAFETY: as in `find`.
        if let Some(row) = unsafe { NAMES.get(scratch.reader.name(at)) }.copied() {
            take(scratch, row.below);
        }
        true
    }
}

/// Notes a name if the policy has a rule for it.
#[inline(always)]
fn take(scratch: &mut Scratch, number: u64) {
    let matched = scratch.matched;
    if number == 0 || matched >= MATCHES {
        return;
    }
    let key = RuleKey::name(scratch.project.policy, ANY_PORT, number);
    if Maps.rule(&key).is_some() {
        scratch.matches[(matched % MATCHES) as usize] = number;
        scratch.matched = matched + 1;
    }
}
