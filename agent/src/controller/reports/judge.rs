//! Objects -> verdicts.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use weft_core::compile::egress::Memo;
use weft_core::model::{Change, Conflicts, EgressSettings, LocalNode, Mode, Violation, World};

use crate::ingest::{Fault, Intake};
use crate::store::{Delta, Key, Object};

/// The kinds that have a verdict.
const KINDS: [&str; 3] = ["EgressNetworkPolicy", "HostSubnet", "NetNamespace"];

const CLOSED: &str = "nothing of the project leaves the cluster";

/// What becomes of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Type of the condition.
    pub(super) condition: &'static str,
    pub(super) status: Status,
    /// In CamelCase.
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// An administrator must see it.
    pub(super) warning: bool,
    /// Told also where nothing was told before.
    pub(super) always: bool,
    /// Nodes that may not have followed, and what is said of them.
    pub(super) behind: Vec<String>,
    pub(super) behind_message: String,
}

impl Verdict {
    /// The reason that users see.
    pub(super) fn told_reason(&self) -> &'static str {
        if self.status == Status::True && !self.behind.is_empty() {
            "NodesBehind"
        } else {
            self.reason
        }
    }

    /// The message that users see.
    pub(super) fn told_message(&self) -> String {
        if self.behind.is_empty() {
            self.message.clone()
        } else {
            format!("{}; {}", self.message, self.behind_message)
        }
    }
}

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    True,
    False,
    Unknown,
}

impl Status {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// All objects, as every agent sees them.
pub(super) struct Judge {
    /// What the verdicts are about. The store may know newer ones.
    objects: BTreeMap<Key, Arc<Object>>,
    intake: Intake,
    world: World,
    /// Policies that are too large for the data path of any node, and why.
    unfit: BTreeMap<(String, String), String>,
}

impl Judge {
    pub(super) fn new(conflicts: Conflicts) -> Self {
        // No verdict is about a node's own.
        let ip = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let mut world = World::new(LocalNode {
            name: String::new(),
            ip,
            addresses: Vec::new(),
        });
        world.take(Change::EgressSettings(EgressSettings {
            conflicts,
            ..EgressSettings::default()
        }));
        Self {
            objects: BTreeMap::new(),
            intake: Intake::default(),
            world,
            unfit: BTreeMap::new(),
        }
    }

    /// Takes objects in.
    pub(super) fn take(&mut self, deltas: Vec<Delta>) {
        for delta in &deltas {
            match delta {
                Delta::Put(object) if KINDS.contains(&object.key.kind.as_str()) => {
                    self.objects.insert(object.key.clone(), Arc::clone(object));
                }
                Delta::Gone(key) => drop(self.objects.remove(key)),
                Delta::Put(_) => {}
            }
        }
        for change in self.intake.take(deltas) {
            if let Change::EgressPolicy(project, name, policy) = &change {
                let unfit = policy
                    .as_ref()
                    .and_then(|policy| Memo::default().table(policy).err());
                let key = (project.clone(), name.clone());
                match unfit {
                    Some(unfit) => drop(self.unfit.insert(key, unfit.to_string())),
                    None => drop(self.unfit.remove(&key)),
                }
            }
            self.world.take(change);
        }
    }

    /// The objects that there are verdicts about.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values().map(AsRef::as_ref)
    }

    /// What becomes of an object.
    pub(super) fn verdict(&self, key: &Key) -> Option<Verdict> {
        match key.kind.as_str() {
            "EgressNetworkPolicy" => Some(self.policy(key)),
            "HostSubnet" => Some(self.whole(key)),
            "NetNamespace" => Some(self.project(key)),
            _ => None,
        }
    }

    fn policy(&self, key: &Key) -> Verdict {
        let project = &key.namespace;
        let verdict = |status: Status, reason, message| Verdict {
            condition: "Enforced",
            status,
            reason,
            message,
            warning: status == Status::False,
            always: true,
            behind: Vec::new(),
            behind_message: String::new(),
        };
        let Some(network) = &self.world.network else {
            let message = "there is no valid ClusterNetwork/default: create it, or mend it";
            return verdict(Status::Unknown, "NoClusterNetwork", message.into());
        };
        if let Some(violation) = self.world.egress_violation(project) {
            let reason = match &violation {
                Violation::SubnetMode => "SubnetMode",
                Violation::Global => "GlobalProject",
                Violation::Joined { .. } => "JoinedProject",
                Violation::Several { .. } => "SeveralPolicies",
                Violation::Invalid { .. } => "Invalid",
            };
            let meanwhile = if violation.is_ignored() {
                "the policy is ignored"
            } else {
                CLOSED
            };
            let message = format!("{violation}; until then, {meanwhile}");
            return verdict(Status::False, reason, message);
        }
        if network.mode == Mode::Multitenant && !self.world.projects.contains_key(project) {
            let message = "the project has no network: its NetNamespace is missing or not valid";
            return verdict(Status::Unknown, "NoNetwork", message.into());
        }
        if let Some(unfit) = self.unfit.get(&(project.clone(), key.name.clone())) {
            let message = format!(
                "{unfit}; until then, a node keeps the policy that was in force, and without one {CLOSED}"
            );
            return verdict(Status::False, "TooLarge", message);
        }
        let mut message =
            "the policy decides about what the pods of the project send out of the cluster"
                .to_owned();
        if let Some(wrong) = self.intake.wrong(key) {
            message = format!("{message}; {}", wrong.message);
        }
        verdict(Status::True, "InForce", message)
    }

    fn project(&self, key: &Key) -> Verdict {
        let mut verdict = self.whole(key);
        let without = !self.world.egress_policies.contains_key(&key.name);
        let violation = self.world.egress_violation(&key.name).filter(|_| without);
        // It has no policy whose condition could say so.
        if let Some(violation) = violation.filter(|_| verdict.reason == "Accepted") {
            verdict.reason = "EgressClosed";
            verdict.message = format!("{violation}; until then, {CLOSED}");
            verdict.warning = true;
        }
        verdict
    }

    /// An object that counts as long as nothing is wrong with it.
    fn whole(&self, key: &Key) -> Verdict {
        let (status, reason, message) = match self.intake.wrong(key) {
            None => (Status::True, "Accepted", "nothing is wrong"),
            Some(wrong) => {
                let (status, reason) = match wrong.fault {
                    Fault::Invalid => (Status::False, "Invalid"),
                    Fault::Conflict => (Status::False, "Conflict"),
                    Fault::Partly => (Status::True, "PartlyInvalid"),
                };
                (status, reason, wrong.message.as_str())
            }
        };
        Verdict {
            condition: "Accepted",
            status,
            reason,
            message: message.into(),
            warning: reason != "Accepted",
            always: false,
            behind: Vec::new(),
            behind_message: String::new(),
        }
    }
}
