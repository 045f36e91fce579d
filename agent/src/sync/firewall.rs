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
                Err(error) => Err((false, error.to_string())),
            };
            let judge = match (&program, &tried) {
                (Ok(program), Ok(())) if self.filled => Some(program.clone()),
                // A rule that asks stays until another one can take its place.
                (_, Ok(()) | Err((false, _))) => present(set.family),
                (_, Err((true, _))) => None,
            };
            if let Some(path) = judge {
                set.judge(&path.to_string_lossy());
                asked.insert(path);
            }
            if let Err((_, reason)) = tried {
                problem = problem.or_else(|| Some(unjudged(&reason)));
            }
        }
        (rules, asked, problem)
    }

    /// Tried until it works: a module may come at any time. The variant of iptables may change, too. The error comes with whether
    /// no rule may ask.
    fn try_program(&mut self, family: Family, program: &Path) -> Result<(), (bool, String)> {
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
                Err((error.forbids(), error.to_string()))
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
