//! Some HostSubnets among very many: decided without a look at all the others, where nothing is contested.

use std::collections::BTreeSet;

use weft_core::model::{Change, Kind, ObjectRef};

use super::super::fault::Fault;
use super::super::fields::Valid;
use super::super::{fits, hosts::Claims};
use super::{Intake, partly};

impl Intake {
    /// Decides about the hosts of these names, whose latest versions are known. `None`, and nothing is taken, if the others
    /// have a say in it: one of these is invalid or contradicts another, or another was refused and may have its turn now.
    ///
    /// Where it answers, [`Intake::settle`] would come to the same: who is in force and unchanged keeps what he has.
    pub(super) fn settle_few(&mut self, names: &BTreeSet<String>) -> Option<Vec<Change>> {
        let of_host = |name: &String| ObjectRef::cluster(Kind::HostSubnet, name.clone());
        let mut refused = self.wrong.iter();
        if refused.any(|(it, wrong)| it.kind == Kind::HostSubnet && wrong.fault == Fault::Conflict)
        {
            return None;
        }
        let mut wanted = Vec::with_capacity(names.len());
        for name in names {
            let Some(candidate) = self.host_candidates.get(name) else {
                wanted.push((name, None));
                continue;
            };
            let valid = candidate.as_ref().ok()?;
            if let Some(network) = &self.network.in_force {
                fits(&valid.value, network).ok()?;
            }
            wanted.push((name, Some(valid)));
        }
        if !self.claims.replace(&self.hosts, &wanted) {
            self.claims = Claims::of(&self.hosts);
            return None;
        }
        let (mut gone, mut changed) = (Vec::new(), Vec::new());
        for (name, valid) in wanted {
            let Some(Valid { value, warning }) = valid else {
                self.wrong.remove(&of_host(name));
                let was = self.hosts.remove(name);
                gone.extend(was.map(|_| Change::HostSubnet(name.clone(), None)));
                continue;
            };
            match warning {
                Some(warning) => drop(self.wrong.insert(of_host(name), partly(warning))),
                None => drop(self.wrong.remove(&of_host(name))),
            }
            if self.hosts.get(name) != Some(value) {
                self.hosts.insert(name.clone(), value.clone());
                changed.push(Change::HostSubnet(name.clone(), Some(value.clone())));
            }
        }
        gone.extend(changed);
        Some(gone)
    }
}
