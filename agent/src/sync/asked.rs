//! Names that the data path asks the agent to resolve: those in answers that it could not read whole.

use std::sync::mpsc::Sender;

use aya::maps::{MapData, RingBuf};
use weft_core::compile::egress::name_of_key;
use weft_ebpf::rows::dns::NameEvent;
use zerocopy::FromBytes;

use super::Request;
use crate::observe::ring;

/// Carries names to the loop until it has ended.
pub fn run(mut events: RingBuf<MapData>, to: &Sender<Request>) {
    loop {
        while let Some(item) = events.next() {
            let event = NameEvent::read_from_bytes(&item);
            let Some(name) = event.ok().and_then(|event| name_of_key(&event.name)) else {
                continue; // a name that no rule can name, or none at all
            };
            if to.send(Request::Ask(name)).is_err() {
                return;
            }
        }
        ring::wait(&events);
    }
}
