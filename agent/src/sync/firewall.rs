//! The node's firewall, in a full pass: its rules, and the program that they ask about what the host has translated for pods.
//!
//! The rules name the program's pin. A rule is rewritten before the pin that it named goes, and never names a program whose maps
//! are not filled: what an older version's program judges, it goes on judging until then.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use weft_core::compile::host::HostPlan;
use weft_core::compile::iptables::{Family, Ruleset};
use weft_core::diff::iptables::program_asked;
use weft_core::model::{Problem, Subject};

use super::kernel::{Kernel, KernelError};
use super::pass::PassReport;
use super::shared::Shared;
use crate::apply::after_dnat::{self, AfterDnatError};
use crate::apply::iptables::Iptables;
use crate::iptables;

/// Families whose rules can ask the program, as a trial has shown.
pub(super) type Asking = BTreeSet<Family>;

impl Kernel {
    /// Brings the rules in line. Whether they are, and name no pin of another version.
    pub(super) fn firewall_pass(
        &mut self,
        shared: &Shared,
        plan: &HostPlan,
        report: &mut PassReport,
    ) -> bool {
        if !self.filled && self.pins.others().is_ok_and(|others| !others.is_empty()) {
            return false;
        }
        let (rules, asked, problem) = self.judged(&plan.firewall);
        let done = problem.is_none() && self.filled;
        shared.unjudged(problem);
        match self.firewall.sync(&rules) {
            Ok(done) => {
                report.writes += done.writes;
                report.done.extend(done.repaired);
            }
            Err(error) => {
                report.failures.push(error.to_string());
                return false;
            }
        }
        if done {
            let removed = self.remove_programs(&asked);
            report.take(removed);
        }
        asked
            .iter()
            .all(|path| path.starts_with(self.pins.folder()))
    }

    /// The rules with those that ask a program, where that is possible; the pins that they name; what keeps rules from asking.
    fn judged(&mut self, rules: &[Ruleset]) -> (Vec<Ruleset>, BTreeSet<PathBuf>, Option<Problem>) {
        let mut rules = rules.to_vec();
        let (mut asked, mut problem) = (BTreeSet::new(), None);
        let program = self.pin_after_dnat();
        for set in &mut rules {
            let tried = match &program {
                Ok(program) => self.try_program(set.family, program),
                Err(error) => Err(Refused::now(error)),
            };
            let program = program.as_ref().ok();
            let present = || present(set.family);
            if let Some(path) = named(program, self.filled, &tried, present) {
                set.judge(&path.to_string_lossy());
                asked.insert(path);
            }
            if let Err(refused) = tried {
                problem = problem.or_else(|| Some(unjudged(&refused.reason)));
            }
        }
        (rules, asked, problem)
    }

    /// Tried until it works: a module may come at any time. The variant of iptables may change, too.
    fn try_program(&mut self, family: Family, program: &Path) -> Result<(), Refused> {
        let iptables = Iptables::new();
        let tried = if self.asking.contains(&family) {
            iptables.may_ask(family, program).map(drop)
        } else {
            iptables.try_program(family, program)
        };
        match tried {
            Ok(()) => {
                self.asking.insert(family);
                Ok(())
            }
            Err(error) => {
                self.asking.remove(&family);
                Err(Refused {
                    forbids: error.forbids(),
                    ..Refused::now(&error)
                })
            }
        }
    }

    /// The rules cannot be written without the pin, which somebody may have removed.
    pub(super) fn pin_after_dnat(&mut self) -> Result<PathBuf, AfterDnatError> {
        after_dnat::pin(&mut self.object.ebpf, &self.pins)
    }

    fn remove_programs(&self, kept: &BTreeSet<PathBuf>) -> Result<usize, KernelError> {
        Ok(after_dnat::remove_others(&self.pins, kept)?)
    }
}

/// Why no rule that asks can be written.
struct Refused {
    /// Whether none may stand there either.
    forbids: bool,
    reason: String,
}

impl Refused {
    /// For a reason that may pass.
    fn now(error: &dyn std::fmt::Display) -> Self {
        Self {
            forbids: false,
            reason: error.to_string(),
        }
    }
}

/// The pin that the rule has to name: that of this process once its maps are filled. A rule that is `present` stays until another one
/// can take its place: without it, translated packets would not be judged for a while.
fn named(
    program: Option<&PathBuf>,
    filled: bool,
    tried: &Result<(), Refused>,
    present: impl FnOnce() -> Option<PathBuf>,
) -> Option<PathBuf> {
    match (program, tried) {
        (Some(program), Ok(())) if filled => Some(program.clone()),
        (_, Err(refused)) if refused.forbids => None,
        _ => present(),
    }
}

/// The pin that a rule of the kernel names.
fn present(family: Family) -> Option<PathBuf> {
    let actual = iptables::read(Iptables::new().folder(), family).ok()?;
    program_asked(&actual).map(PathBuf::from)
}

/// What it means that no rule asks.
pub fn unjudged(error: &dyn std::fmt::Display) -> Problem {
    Problem {
        object: Subject::Part("egress firewall".into()),
        message: format!(
            "the node's firewall cannot ask the data path, so services with endpoints outside the cluster lead past the egress \
             firewall: {error}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Refused, named};

    #[test]
    fn a_rule_stays_until_another_one_can_take_its_place() {
        let (own, there) = (PathBuf::from("own"), PathBuf::from("there"));
        let refused = |forbids| {
            Err(Refused {
                forbids,
                reason: "no memory".into(),
            })
        };
        let named = |program, filled, tried| named(program, filled, &tried, || Some(there.clone()));
        assert_eq!(named(Some(&own), true, Ok(())), Some(own.clone()));
        assert_eq!(
            named(Some(&own), false, Ok(())),
            Some(there.clone()),
            "its maps are empty"
        );
        assert_eq!(
            named(Some(&own), true, refused(false)),
            Some(there.clone()),
            "it cannot be written now"
        );
        assert_eq!(
            named(None, true, refused(false)),
            Some(there.clone()),
            "there is no program"
        );
        assert_eq!(
            named(Some(&own), true, refused(true)),
            None,
            "it would harm others"
        );
    }

    #[test]
    fn nothing_is_named_where_nothing_stands() {
        let refused = Err(Refused::now(&"no memory"));
        assert_eq!(named(None, true, &refused, || None), None);
    }
}
