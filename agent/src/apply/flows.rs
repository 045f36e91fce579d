//! Connections that user space notes and removes, each in a place of its endpoint's share as the data path does it.

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

    /// Removes a place and the connection that has it.
    pub(crate) fn vacate(&mut self, place: FlowPlace) -> Result<(), TableError> {
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
    /// that no place knows, until [the sweep](crate::sync) finds it.
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
pub(crate) const fn place_of(row: &FlowRow) -> FlowPlace {
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
