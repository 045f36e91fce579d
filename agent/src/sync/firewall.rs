//! The node's firewall, in a full pass: its rules, and the program that they ask about what the host has translated for pods.
//!
//! The rules name the program's pin. A rule is rewritten before the pin that it named goes, and never names a program whose maps
//! are not filled: what an older version's program judges, it goes on judging until then.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use weft_core::compile::host::HostPlan;
use weft_core::compile::iptables::{Family, Ruleset};
use weft_core::model::Problem;

use super::kernel::{Kernel, KernelError};
use super::pass::PassReport;
use super::shared::Shared;
use crate::apply::after_dnat::{self, AfterDnatError};
use crate::apply::iptables::{Iptables, TrialError};

/// Families whose rules can ask the program, as a trial has shown.
pub(super) type Asking = BTreeSet<Family>;

impl Kernel {
    /// Brings the rules in line. Whether they are.
    pub(super) fn firewall_pass(
        &mut self,
        shared: &Shared,
        plan: &HostPlan,
        report: &mut PassReport,
    ) -> bool {
        if !self.filled && self.pins.others().is_ok_and(|others| !others.is_empty()) {
            return false;
        }
        let (rules, program, problem) = self.judged(&plan.firewall);
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
        if let Some(program) = program {
            let removed = self.remove_programs(&program);
            report.take(removed);
        }
        true
    }

    /// The rules with those that ask the program, where that is possible; its pin; what keeps rules from asking.
    fn judged(&mut self, rules: &[Ruleset]) -> (Vec<Ruleset>, Option<PathBuf>, Option<Problem>) {
        let mut rules = rules.to_vec();
        let program = match self.pin_after_dnat() {
            Ok(program) => program,
            Err(error) => return (rules, None, Some(unjudged(&error))),
        };
        let mut problem = None;
        for set in &mut rules {
            match self.try_program(set.family, &program) {
                Ok(()) => set.judge(&program.to_string_lossy()),
                Err(error) => problem = problem.or_else(|| Some(unjudged(&error))),
            }
        }
        (rules, Some(program), problem)
    }

    /// Tried until it works: a module may come at any time.
    fn try_program(&mut self, family: Family, program: &Path) -> Result<(), TrialError> {
        if !self.asking.contains(&family) {
            Iptables::new().try_program(family, program)?;
            self.asking.insert(family);
        }
        Ok(())
    }

    /// The rules cannot be written without the pin, which somebody may have removed.
    pub(super) fn pin_after_dnat(&mut self) -> Result<PathBuf, AfterDnatError> {
        after_dnat::pin(&mut self.object.ebpf, &self.pins)
    }

    fn remove_programs(&self, kept: &Path) -> Result<usize, KernelError> {
        Ok(after_dnat::remove_others(&self.pins, kept)?)
    }
}

/// What it means that no rule asks.
pub fn unjudged(error: &dyn std::fmt::Display) -> Problem {
    Problem {
        object: "egress firewall".into(),
        message: format!(
            "the node's firewall cannot ask the data path, so services with endpoints outside the cluster lead past the egress \
             firewall: {error}"
        ),
    }
}
