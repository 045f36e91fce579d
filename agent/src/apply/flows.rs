//! Connections that user space notes and removes, each in a place of its endpoint's share as the data path does it.

use std::collections::BTreeSet;

use aya::maps::MapError;
use weft_ebpf::rows::flow::{FlowKey, FlowPlace, FlowRow, FlowUseRow, SHARE_MAX};
use weft_ebpf::tables::map;

use crate::bpf::Row;
use crate::bpf::maps::{Maps, TableError, ignore_missing, reading, writing};

impl Maps {
    /// Gives an endpoint its share; one that has it goes on.
    pub(super) fn share_flows(&mut self, ifindex: u32) -> Result<(), TableError> {
        if self.flow_use.get(&Row(ifindex), 0).is_ok() {
            return Ok(());
        }
        let none = Row(FlowUseRow::default());
        let result = self.flow_use.insert(Row(ifindex), none, 0);
        result.map_err(writing(map::FLOW_USE))
    }

    /// Takes an endpoint's share away, and its connections with it.
    pub(super) fn forget_flows(&mut self, ifindex: u32) -> Result<(), TableError> {
        let used = found(self.flow_use.get(&Row(ifindex), 0), map::FLOW_USE)?;
        let Some(Row(used)) = used else {
            return Ok(());
        };
        ignore_missing(self.flow_use.remove(&Row(ifindex))).map_err(writing(map::FLOW_USE))?;
        let given = u32::try_from(used.next).map_or(SHARE_MAX, |next| next.min(SHARE_MAX));
        for place in 0..given {
            self.vacate(FlowPlace { ifindex, place })?;
        }
        Ok(())
    }

    /// Removes connections that are over, those of endpoints that are gone, and what a share that has become smaller leaves out;
    /// `local` are the interfaces of the endpoints. Tells how many. The programs may note some anew at the same time.
    pub(crate) fn sweep_flows(
        &mut self,
        local: &BTreeSet<u32>,
        share: u32,
        now: u64,
    ) -> Result<usize, TableError> {
        let beyond = |it: &FlowPlace| it.place >= share || !local.contains(&it.ifindex);
        let places = self.flow_places.keys();
        let places = places.filter(|key| key.as_ref().map_or(true, |Row(it)| beyond(it)));
        let places: Vec<_> = places
            .collect::<Result<_, _>>()
            .map_err(reading(map::FLOW_PLACES))?;
        for Row(place) in &places {
            self.vacate(*place)?;
        }
        let mut over = Vec::new();
        for row in &self.flows {
            let (Row(key), Row(row)) = row.map_err(reading(map::FLOWS))?;
            if key.is_over(&row, now) || !self.has_place(&key, &row) {
                over.push(key);
            }
        }
        let mut removed = places.len();
        for key in over {
            // Its next packet may have come meanwhile: looked at once more, right before.
            let Some(Row(row)) = found(self.flows.get(&Row(key), 0), map::FLOWS)? else {
                continue;
            };
            if !self.has_place(&key, &row) {
                ignore_missing(self.flows.remove(&Row(key))).map_err(writing(map::FLOWS))?;
            } else if key.is_over(&row, now) {
                self.vacate(place_of(&row))?;
            } else {
                continue;
            }
            removed += 1;
        }
        Ok(removed)
    }

    fn has_place(&self, key: &FlowKey, row: &FlowRow) -> bool {
        let holder = self.flow_places.get(&Row(place_of(row)), 0);
        holder.is_ok_and(|Row(holder)| holder == *key)
    }

    /// Removes a place and the connection that has it.
    fn vacate(&mut self, place: FlowPlace) -> Result<(), TableError> {
        let key = found(self.flow_places.get(&Row(place), 0), map::FLOW_PLACES)?;
        let Some(key) = key else {
            return Ok(());
        };
        let row = found(self.flows.get(&key, 0), map::FLOWS)?;
        if row.is_some_and(|Row(row)| place_of(&row) == place) {
            ignore_missing(self.flows.remove(&key)).map_err(writing(map::FLOWS))?;
        }
        ignore_missing(self.flow_places.remove(&Row(place))).map_err(writing(map::FLOW_PLACES))
    }

    /// Notes connections of one endpoint that the data path has not seen begin: the last ones if there are more than its share.
    ///
    /// What the data path notes at the same moment may take one of these places too. Then one of the two connections has a row
    /// that no place knows, until [`Maps::sweep_flows`] finds it.
    pub(crate) fn note_flows(
        &mut self,
        ifindex: u32,
        share: u32,
        flows: &[(FlowKey, FlowRow)],
    ) -> Result<(), TableError> {
        let flows = &flows[flows.len().saturating_sub(share as usize)..];
        self.share_flows(ifindex)?;
        let Row(mut used) = self
            .flow_use
            .get(&Row(ifindex), 0)
            .map_err(reading(map::FLOW_USE))?;
        let first = used.next;
        used.next += flows.len() as u64;
        let result = self.flow_use.insert(Row(ifindex), Row(used), 0);
        result.map_err(writing(map::FLOW_USE))?;
        for (number, (key, row)) in (first..).zip(flows) {
            let place = u32::try_from(number % u64::from(share)).unwrap_or_default(); // below `share`
            let place = FlowPlace { ifindex, place };
            self.vacate(place)?;
            let result = self.flow_places.insert(Row(place), Row(*key), 0);
            result.map_err(writing(map::FLOW_PLACES))?;
            let row = FlowRow {
                ifindex,
                place: place.place,
                ..*row
            };
            let result = self.flows.insert(Row(*key), Row(row), 0);
            result.map_err(writing(map::FLOWS))?;
        }
        Ok(())
    }
}

/// The place that a connection has.
const fn place_of(row: &FlowRow) -> FlowPlace {
    FlowPlace {
        ifindex: row.ifindex,
        place: row.place,
    }
}

fn found<T>(result: Result<T, MapError>, map: &'static str) -> Result<Option<T>, TableError> {
    match result {
        Ok(row) => Ok(Some(row)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(source) => Err(reading(map)(source)),
    }
}
