//! Pinned TCX links.

use std::path::Path;

use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType};

use super::AttachError;
use crate::apply::pins::Pins;

/// Replaces the program of a pinned link in place. False if there is none, its interface is gone, or it is no link at all:
/// a new one takes its place then.
fn update(program: &mut SchedClassifier, pin: &Path) -> Result<bool, ProgramError> {
    let Ok(link) = PinnedLink::from_pin(pin) else {
        return Ok(false);
    };
    let updated = SchedClassifierLink::try_from(FdLink::from(link))
        .map_err(|e: LinkError| e.to_string())
        .and_then(|link| program.attach_to_link(link).map_err(|e| e.to_string()));
    match updated {
        // Dropping our descriptor leaves the pinned link attached.
        Ok(id) => program.take_link(id).map(|_| true),
        Err(_) => Ok(false),
    }
}

/// Attaches a program, or replaces it in place; see [`super::attach`].
pub(super) fn attach(
    program: &mut SchedClassifier,
    pins: &Pins,
    interface: &str,
    name: &'static str,
    direction: TcAttachType,
    fresh: bool,
) -> Result<(), AttachError> {
    let failed = |source| AttachError::Attach {
        program: name,
        interface: interface.to_owned(),
        source,
    };
    let path = pins.link(interface, name);
    if !fresh {
        if update(program, &path).map_err(failed)? {
            return Ok(());
        }
        // The interface's link may be pinned where another ABI number has its own: it is updated first and moved then, so
        // that the hook never has two programs or none, whenever this ends.
        for other in pins.others()? {
            if update(program, &other.link(interface, name)).map_err(failed)? {
                return Ok(pins.adopt(&other, interface, name)?);
            }
        }
    }
    Pins::remove(&path)?;
    let id = program
        .attach_with_options(
            interface,
            direction,
            TcAttachOptions::TcxOrder(LinkOrder::first()),
        )
        .map_err(failed)?;
    let link = program.take_link(id).map_err(failed)?;
    let unpinned = |reason: String| AttachError::Pin {
        program: name,
        interface: interface.to_owned(),
        reason,
    };
    FdLink::try_from(link)
        .map_err(|e: LinkError| unpinned(e.to_string()))?
        .pin(&path)
        .map(drop)
        .map_err(|e| unpinned(e.to_string()))
}
