//! Names that the data path asks the agent to resolve: those in answers that it could not read whole.

use std::sync::mpsc::Sender;

use aya::maps::{MapData, RingBuf};
use weft_core::compile::egress::name_of_key;
use weft_ebpf::rows::dns::{NAME_BYTES, NameEvent, NameKey};
use zerocopy::FromBytes;

use super::Request;
use crate::observe::ring;

/// Carries names to the loop until it has ended.
pub fn run(mut events: RingBuf<MapData>, to: &Sender<Request>) {
    loop {
        while let Some(item) = events.next() {
            let Ok(event) = NameEvent::read_from_bytes(&item) else {
                continue;
            };
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
