//! Whether the node's firewall can ask the data path: a rule that does is written into a chain of its own, and removed.

use std::path::Path;

use weft_core::compile::iptables::{Family, Match, Rule, Table, Target};

use super::Iptables;
use crate::iptables::{self, IptablesError};

/// Nothing leads to it. What a killed trial leaves of it, the next one takes away.
const CHAIN: &str = "OPENSHIFT-FIREWALL-TRIAL";

/// No rule can ask a program.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The kernel did not take it, or the program did not.
    #[error(
        "{reason}: load the kernel's module xt_bpf (modprobe xt_bpf; a line in /etc/modules-load.d keeps it)"
    )]
    Refused {
        /// What was said.
        reason: String,
    },
    /// The older variant.
    #[error(
        "{version} writes tables as a whole, for which the kernel opens the program anew: any other program on the node that \
         cannot see the folder bpfDir, such as kube-proxy in its container, could write no rule any more: use the variant of \
         iptables on nf_tables (update-alternatives --set iptables /usr/sbin/iptables-nft, and ip6tables alike)"
    )]
    WholeTables {
        /// What the program says of itself.
        version: String,
    },
    /// The name of the pin.
    #[error(
        "the path {path} has blanks, quotes, backslashes or other characters that iptables-save would not give back: choose another bpfDir"
    )]
    Path {
        /// The pin.
        path: String,
    },
    /// The program could not be started.
    #[error(transparent)]
    Iptables(#[from] IptablesError),
}

impl TrialError {
    /// Whether no rule may ask, even if one does.
    pub const fn forbids(&self) -> bool {
        matches!(self, Self::WholeTables { .. } | Self::Path { .. })
    }
}

impl Iptables {
    /// Whether a rule may ask the program pinned at `path`: it may not where that would harm others. Its name.
    pub fn may_ask<'a>(&self, family: Family, path: &'a Path) -> Result<&'a str, TrialError> {
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\');
        let name = path.to_str().filter(|name| name.chars().all(plain));
        let name = name.ok_or_else(|| TrialError::Path {
            path: path.display().to_string(),
        })?;
        let version = iptables::version(&self.folder, family)?;
        if !version.contains("nf_tables") {
            return Err(TrialError::WholeTables { version });
        }
        Ok(name)
    }

    /// Tries in the calling thread's network namespace whether a rule can ask the program pinned at `path`.
    pub fn try_program(&self, family: Family, path: &Path) -> Result<(), TrialError> {
        let name = self.may_ask(family, path)?;
        let table = Table::Filter;
        let rule = Rule::new([Match::Program(name.to_owned())], Target::Drop);
        // Two transactions: of one, the rule would not come to the kernel.
        let input = format!(
            "*{table}\n:{CHAIN} - [0:0]\n-A {CHAIN} {rule}\nCOMMIT\n*{table}\n-F {CHAIN}\n-X {CHAIN}\nCOMMIT\n"
        );
        // Once more, as somebody else may have taken the chain away in between.
        let tried = || self.restore(family, table, &input);
        tried().or_else(|_| tried()).map_err(|error| match error {
            IptablesError::Restore {
                program, stderr, ..
            } => TrialError::Refused {
                reason: format!("{program}: {}", said(&stderr)),
            },
            other => other.into(),
        })
    }
}

/// What tells something to somebody who has not written the input.
fn said(stderr: &str) -> String {
    let tells = |line: &&str| {
        !["Try `", "Error occurred"]
            .iter()
            .any(|it| line.starts_with(it))
    };
    stderr.lines().filter(tells).collect::<Vec<_>>().join("; ")
}
