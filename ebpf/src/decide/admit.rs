//! Admission by VNID.

use super::{Denial, Party};
use crate::reason::DropReason;
use crate::rows::VNID_MAX;

/// Whether `src` may send to `dst`: equal networks talk, network 0 talks to all, a closed project to nobody.
///
/// # Errors
/// The denial, naming both parties.
#[inline(always)]
pub fn admit(src: Party, dst: Party) -> Result<(), Denial> {
    let reason = if src.vnid > VNID_MAX {
        DropReason::SourceProjectClosed
    } else if dst.vnid > VNID_MAX {
        DropReason::TargetProjectClosed
    } else if src.vnid == dst.vnid || src.vnid == 0 || dst.vnid == 0 {
        return Ok(());
    } else {
        DropReason::Isolated
    };
    Err(Denial {
        reason,
        src_project: src.project,
        dst_project: dst.project,
        src_vnid: src.vnid,
        dst_vnid: dst.vnid,
        rule: 0,
    })
}
