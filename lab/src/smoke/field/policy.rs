//! An egress policy, by address and by name.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use hickory_proto::rr::RecordType;
use weft_wait::patience::patient;

use super::{DNS, Field, GLANCE, NAME, NAMED, OTHER, PORT, PREFIX, SOON, ZONE, soon};
use crate::dns::Change;
use crate::probe::{self, Lookup, Outcome};

const POLICY: &str = "\
apiVersion: network.openshift.io/v1
kind: EgressNetworkPolicy
metadata: {name: default, namespace: shop}
spec:
  egress:
  - {type: Allow, to: {cidrSelector: 203.0.113.53/32}}
  - {type: Allow, to: {cidrSelector: 198.51.100.0/29}}
  - {type: Allow, to: {dnsName: www.example.com}}
  - {type: Deny, to: {cidrSelector: 0.0.0.0/0}}
";

impl Field {
    /// Puts the policy in force; nothing was denied before.
    pub(in crate::smoke) fn apply_policy(&self) -> Result<()> {
        for to in [PREFIX, NAMED[0], NAMED[1], OTHER] {
            ensure!(
                self.connects(to, SOON)?,
                "without a policy {to} is not reached"
            );
        }
        self.lab.apply(POLICY, "the smoke").map(drop)?;
        Ok(())
    }

    pub(in crate::smoke) fn denied_soon(&self, to: IpAddr) -> Result<String> {
        soon(&format!("{to} is denied"), || {
            Ok(!self.connects(to, GLANCE)?)
        })?;
        Ok(String::new())
    }

    pub(super) fn denied(&self, to: IpAddr) -> Result<()> {
        ensure!(!self.connects(to, GLANCE)?, "{to} is not denied");
        Ok(())
    }

    pub(in crate::smoke) fn allowed(&self, to: IpAddr) -> Result<String> {
        ensure!(self.connects(to, SOON)?, "{to} is not allowed");
        Ok(String::new())
    }

    /// The name moves: the first packet after the answer gets out to the new address, and to no other.
    pub(in crate::smoke) fn allowed_by_name(&self) -> Result<String> {
        let pod = self.lab.pod_netns("shop", "a")?;
        self.denied(NAMED[1])?;
        let change = Change::of(ZONE).addresses(NAME, 1, &NAMED[1..]);
        self.dns.change(&change)?;
        let connect = || Lookup::at(DNS).connect(NAME, RecordType::A, PORT, patient(SOON));
        let round = pod.run(connect)??;
        ensure!(
            round.answer.addresses == NAMED[1..] && round.outcome.reached(),
            "{NAME}: told {:?}, and then {:?}",
            round.answer.addresses,
            round.outcome
        );
        self.denied(OTHER)?;
        Ok(format!(
            "connected {:.1} ms after the answer",
            1e3 * round.connect.as_secs_f64()
        ))
    }

    pub(super) fn connects(&self, to: IpAddr, patience: Duration) -> Result<bool> {
        let pod = self.lab.pod_netns("shop", "a")?;
        match probe::tcp(&pod, SocketAddr::new(to, PORT), patient(patience))? {
            Outcome::Reached { .. } => Ok(true),
            Outcome::Silent => Ok(false),
            other => bail!("shop/a -> {to}: {other:?}"),
        }
    }
}
