//! Debian packages from suites that the machine itself need not know: apt with package lists of its own. Nothing is
//! installed, and the machine's own lists stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;
use super::error::file;
use super::tool::{run, tool};

/// Debian's keys, on every Debian system.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A suite of Debian's archive, as in `debian-security bookworm-security`.
pub type Suite = &'static str;

/// Prints where an archive is: on `WEFT_VM_MIRROR`, else where the machine's own apt has it.
const MIRROR: &str = include_str!("mirror.sh");

/// Lines of a sources list.
pub(super) fn sources(suites: &[Suite]) -> Result<String, Error> {
    let line = |suite: &Suite| {
        let (archive, name) = suite.split_once(' ').unwrap_or((suite, ""));
        Ok(format!(
            "deb [signed-by={KEYS}] {} {name} main\n",
            mirror(archive)?
        ))
    };
    suites.iter().map(line).collect()
}

fn mirror(archive: &str) -> Result<String, Error> {
    let output = tool("bash", "bash")?
        .args(["-c", MIRROR, "mirror", archive])
        .output()
        .map_err(|error| Error::Mirror(format!("start bash: {error}")))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(Error::Mirror(text(&output.stderr)))
    }
}

/// A package of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// As in `linux-image-6.1.0-56-cloud-amd64`.
    pub name: String,
    /// As in `6.1.192-2`.
    pub version: String,
}

/// apt over a folder of its own.
pub(super) struct Apt {
    directory: PathBuf,
}

impl Apt {
    /// Reads the package lists of these suites into the folder.
    pub(super) fn read(directory: &Path, suites: &[Suite]) -> Result<Self, Error> {
        for part in ["lists/partial", "archives/partial"] {
            let part = directory.join(part);
            fs::create_dir_all(&part).map_err(file("create", &part))?;
        }
        for (name, text) in [
            ("sources.list", sources(suites)?),
            ("status", String::new()),
        ] {
            let path = directory.join(name);
            fs::write(&path, text).map_err(file("write", &path))?;
        }
        let apt = Self {
            directory: directory.to_owned(),
        };
        // A list that was not read is only a warning to apt, and an old list another kernel than was asked for.
        run(apt.command("apt-get")?.args(["update", "--error-on=any"]))?;
        Ok(apt)
    }

    fn command(&self, program: &'static str) -> Result<Command, Error> {
        let mut command = tool(program, "apt")?;
        let at = |key: &str, path: &str| format!("{key}={}", self.directory.join(path).display());
        for option in [
            at("Dir::State", ""),
            at("Dir::State::lists", "lists"),
            at("Dir::State::status", "status"),
            at("Dir::Cache", ""),
            at("Dir::Etc::sourcelist", "sources.list"),
            "Dir::Etc::sourceparts=/dev/null".into(),
            "Dir::Etc::preferences=/dev/null".into(),
            "Dir::Etc::preferencesparts=/dev/null".into(),
            // The folder is the user's, which apt's own user may not enter.
            "APT::Sandbox::User=".into(),
            "APT::Architecture=amd64".into(),
            "Acquire::Languages=none".into(),
            "Acquire::Retries=3".into(),
        ] {
            command.args(["-o", &option]);
        }
        Ok(command)
    }

    /// Names of packages that begin so.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let said = run(self.command("apt-cache")?.args(["pkgnames", prefix]))?;
        Ok(said.lines().map(str::to_owned).collect())
    }

    /// The newest version of a package, and what it depends on: alternatives and versions left out.
    pub(super) fn show(&self, name: &str) -> Result<(Package, Vec<String>), Error> {
        let said = run(self
            .command("apt-cache")?
            .args(["show", "--no-all-versions", name]))?;
        let field = |key: &str| said.lines().find_map(|line| line.strip_prefix(key));
        let version = field("Version: ").ok_or_else(|| Error::Package {
            package: name.to_owned(),
            why: "the package lists have no version of it".into(),
        })?;
        let package = Package {
            name: name.to_owned(),
            version: version.to_owned(),
        };
        Ok((package, depends(field("Depends: ").unwrap_or_default())))
    }

    /// Fetches package files into the folder.
    pub(super) fn download(
        &self,
        packages: &[Package],
        into: &Path,
    ) -> Result<Vec<PathBuf>, Error> {
        let exact = |it: &Package| format!("{}={}", it.name, it.version);
        run(self
            .command("apt-get")?
            .arg("download")
            .args(packages.iter().map(exact))
            .current_dir(into))?;
        let entries = fs::read_dir(into).map_err(file("read", into))?;
        let paths = entries.flatten().map(|entry| entry.path());
        Ok(paths
            .filter(|path| path.extension().is_some_and(|it| it == "deb"))
            .collect())
    }
}

/// Package names of a `Depends` field; the first of alternatives.
fn depends(field: &str) -> Vec<String> {
    let name = |part: &str| part.split_whitespace().next().map(str::to_owned);
    field.split(',').filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_depends_field_is_read_without_versions_and_alternatives() {
        let field = "kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.120) | linux-initramfs-tool";
        assert_eq!(
            super::depends(field),
            ["kmod", "linux-base", "initramfs-tools"]
        );
        assert_eq!(super::depends(""), [""; 0]);
    }
}
