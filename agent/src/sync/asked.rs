//! Names that the data path asks the agent to resolve: those in answers that it could not read whole.

use std::collections::HashMap;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use aya::maps::{MapData, RingBuf};
use weft_core::compile::egress::name_of_key;
use weft_ebpf::rows::dns::{NAME_BYTES, NameEvent, NameKey};
use zerocopy::FromBytes;

use super::Request;
use crate::observe::ring;

/// All names of a project are asked for this often at most.
const ALL_AGAIN: Duration = Duration::from_secs(1);

/// Carries names to the loop until it has ended.
pub fn run(mut events: RingBuf<MapData>, to: &Sender<Request>) {
    // By project, whose number the node bounds.
    let mut all = HashMap::new();
    loop {
        while let Some(item) = events.next() {
            let Ok(event) = NameEvent::read_from_bytes(&item) else {
                continue;
            };
            if event.name == NameKey([0; NAME_BYTES])
                && let Some(last) = all.insert(event.project, Instant::now())
                && last.elapsed() < ALL_AGAIN
            {
                continue;
            }
            let request = if event.name == NameKey([0; NAME_BYTES]) {
                Request::AskAll(event.project)
            } else if let Some(name) = name_of_key(&event.name) {
                Request::Ask(name)
            } else {
                continue; // a name that no rule can name
            };
            if to.send(request).is_err() {
                return;
            }
        }
        ring::wait(&events);
    }
}
