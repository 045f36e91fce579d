//! What an installation consists of.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::files::Content;
use super::unit::{self, Folders, UnitError};
use super::wrap::{self, DROP_IN, Outcome, Refusal};

/// The unit; it has [`BIN_DIR`] in it.
const SERVICE: &str = include_str!("../../../deploy/systemd/kubens.service");
/// For each service that comes after it.
const ENV: &str = include_str!("../../../deploy/systemd/01-kubens.conf");
/// Where the administrator's units are.
pub const SYSTEMD_DIR: &str = "/etc/systemd/system";
/// Where `kubensenter` goes.
pub const BIN_DIR: &str = "/usr/local/bin";
/// Its name.
pub const KUBENSENTER: &str = "kubensenter";
/// The unit's name.
pub const UNIT: &str = "kubens.service";
/// Name of the drop-in that names the pin and orders a service after the unit; OpenShift's, too.
const ENV_DROP_IN: &str = "01-kubens.conf";
/// Who gets it, whether it is there or not: without the service it does nothing.
const SERVICES: [&str; 3] = ["kubelet.service", "crio.service", "containerd.service"];
/// Who does not enter by itself. CRI-O does, by the environment file.
const WRAPPED: [&str; 2] = ["kubelet.service", "containerd.service"];

/// Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A service's files.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// A service that cannot be wrapped.
    #[error(transparent)]
    Wrap(#[from] Refusal),
    /// The program to install.
    #[error("read {}: {source}: name the program with --kubensenter", path.display())]
    Program {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The program that wrappers would start.
    #[error("{} is not there: weft kubens install puts it there", .0.display())]
    NoProgram(PathBuf),
    /// A folder that cannot stand in a unit.
    #[error("{}: it must be an absolute path without blanks, quotes and %", .0.display())]
    Folder(PathBuf),
}

/// Where what goes, as the node names it.
#[derive(Clone, Debug)]
pub struct Places {
    /// Root and folder of units.
    pub folders: Folders,
    /// Folder of `kubensenter`.
    pub bin_dir: PathBuf,
}

/// Files to write, and what to tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Path, as the node names it, and content; in the order of writing.
    pub files: Vec<(PathBuf, Content)>,
    /// One sentence each.
    pub remarks: Vec<String>,
}

impl Places {
    /// Where `kubensenter` is on the node.
    pub fn kubensenter(&self) -> PathBuf {
        self.bin_dir.join(KUBENSENTER)
    }

    /// Where the unit is.
    pub fn unit(&self) -> PathBuf {
        self.folders.etc.join(UNIT)
    }

    /// The link that makes systemd start the unit.
    pub fn enabled(&self) -> PathBuf {
        self.folders.etc.join("multi-user.target.wants").join(UNIT)
    }

    fn drop_in(&self, service: &str, name: &str) -> PathBuf {
        self.folders.etc.join(format!("{service}.d")).join(name)
    }

    fn check(&self) -> Result<(), PlanError> {
        for folder in [&self.bin_dir, &self.folders.etc] {
            let plain =
                |it: &str| !it.contains(|c: char| c.is_whitespace() || "\"'\\%;".contains(c));
            if !folder.is_absolute() || !folder.to_str().is_some_and(plain) {
                return Err(PlanError::Folder(folder.clone()));
            }
        }
        Ok(())
    }

    /// Everything; `also` are services to wrap besides.
    pub fn install(&self, program: &Path, also: &[String]) -> Result<Plan, PlanError> {
        self.check()?;
        let content = fs::read(program).map_err(|source| PlanError::Program {
            path: program.to_owned(),
            source,
        })?;
        let mut plan = Plan::default();
        plan.files
            .push((self.kubensenter(), Content::File(content, 0o755)));
        let bin_dir = self.bin_dir.display().to_string();
        plan.text(self.unit(), &SERVICE.replace(BIN_DIR, &bin_dir));
        for service in SERVICES {
            plan.text(self.drop_in(service, ENV_DROP_IN), ENV);
        }
        for service in WRAPPED {
            match self.wrapper(service, &mut plan) {
                Err(PlanError::Unit(UnitError::NotFound { .. })) => plan.remarks.push(format!(
                    "{service}: not on this node; once it is, weft kubens wrap {service}"
                )),
                done => done?,
            }
        }
        self.wrappers(also, &mut plan)?;
        plan.files
            .push((self.enabled(), Content::Link(self.unit())));
        Ok(plan)
    }

    /// The wrapper drop-ins of services, all or none.
    pub fn wrap(&self, services: &[String]) -> Result<Plan, PlanError> {
        self.check()?;
        let program = self.kubensenter();
        if !self.folders.at(&program).is_file() {
            return Err(PlanError::NoProgram(program));
        }
        let mut plan = Plan::default();
        self.wrappers(services, &mut plan)?;
        Ok(plan)
    }

    fn wrappers(&self, services: &[String], plan: &mut Plan) -> Result<(), PlanError> {
        services
            .iter()
            .try_for_each(|service| self.wrapper(service, plan))
    }

    fn wrapper(&self, service: &str, plan: &mut Plan) -> Result<(), PlanError> {
        let unit = unit::load(&self.folders, service)?;
        match wrap::wrap(&unit, &self.kubensenter())? {
            Outcome::Already => {
                plan.remarks.push(format!(
                    "{}: enters by itself already, no wrapper",
                    unit.name
                ));
            }
            Outcome::DropIn { text, warnings } => {
                let path = self.drop_in(&unit.name, DROP_IN);
                plan.files.retain(|(other, _)| *other != path);
                plan.text(path, &text);
                plan.remarks.extend(warnings);
            }
        }
        Ok(())
    }
}

impl Plan {
    fn text(&mut self, path: PathBuf, text: &str) {
        self.files.push((path, Content::File(text.into(), 0o644)));
    }
}

#[cfg(test)]
mod tests;
