//! Kernels of Debian's cloud packages: out of the package files, into the cache.

mod unpack;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use self::unpack::unpack;
use super::apt::{Apt, Package, Suite};
use super::error::file;
use super::tool::tool;
use super::{Cache, Error, Say};

/// A line of kernels: of its versions the newest is fetched.
#[derive(Debug)]
pub struct Line {
    /// What the command line calls it.
    pub name: &'static str,
    /// Where it comes from.
    pub suites: &'static [Suite],
    package: Named,
    /// In the matrix that the tests run.
    pub matrix: bool,
    /// What it is there for.
    pub about: &'static str,
}

/// How the newest package of a line is found.
#[derive(Debug)]
enum Named {
    /// A package that depends on it.
    By(&'static str),
    /// The highest version of those that begin so.
    Highest(&'static str),
}

/// All lines, oldest first.
pub const LINES: [Line; 5] = [
    Line {
        name: "5.10",
        suites: &["debian-security bullseye-security"],
        package: Named::Highest("linux-image-5.10.0-"),
        matrix: false,
        about: "Debian 11; too old for weft, which must say so",
    },
    Line {
        name: "6.1",
        suites: &["debian bookworm", "debian-security bookworm-security"],
        package: Named::By("linux-image-cloud-amd64"),
        matrix: true,
        about: "Debian 12",
    },
    Line {
        name: "6.12",
        suites: &["debian-security bookworm-security"],
        package: Named::By("linux-image-6.12-cloud-amd64"),
        matrix: true,
        about: "Debian 13, and Debian 12 by its security archive",
    },
    Line {
        name: "6.18",
        suites: &["debian trixie-backports"],
        package: Named::Highest("linux-image-6.18."),
        matrix: false,
        about: "Debian 13 backports",
    },
    Line {
        name: "newest",
        suites: &["debian trixie-backports"],
        package: Named::By("linux-image-cloud-amd64"),
        matrix: false,
        about: "the newest of Debian 13 backports",
    },
];

/// The lines that the tests run.
pub fn matrix() -> impl Iterator<Item = &'static Line> {
    LINES.iter().filter(|line| line.matrix)
}

/// The line of a name.
pub fn line(name: &str) -> Result<&'static Line, Error> {
    LINES.iter().find(|line| line.name == name).ok_or_else(|| {
        let names: Vec<_> = LINES.iter().map(|line| line.name).collect();
        Error::NoKernel(name.to_owned(), names.join(", "))
    })
}

/// A kernel in the cache.
#[derive(Clone, Debug)]
pub struct Kernel {
    directory: PathBuf,
}

impl Kernel {
    /// The line's kernel if the cache has one.
    pub fn cached(cache: &Cache, line: &Line) -> Option<Self> {
        let directory = cache.path("kernels").join(line.name).canonicalize().ok()?;
        directory.is_dir().then_some(Self { directory })
    }

    /// The line's kernel: that of the cache, or else (`update`: always) the newest of the archive.
    pub fn fetch(cache: &Cache, line: &Line, update: bool, say: Say<'_>) -> Result<Self, Error> {
        if let (false, Some(kernel)) = (update, Self::cached(cache, line)) {
            return Ok(kernel);
        }
        let _lock = cache.lock(&format!("kernels-{}", line.name))?;
        if let (false, Some(kernel)) = (update, Self::cached(cache, line)) {
            return Ok(kernel);
        }
        say(&format!("kernel {}: reading the package lists", line.name));
        let apt = Apt::read(&cache.path("apt").join(line.name), line.suites)?;
        let packages = wanted(&apt, line)?;
        let image = &packages[0];
        let key = format!("{}_{}", image.name, image.version.replace(':', "-"));
        let directory = cache.fill(&format!("kernels/{key}"), |new| {
            let named = format!("{} {}", image.name, image.version);
            say(&format!("kernel {}: fetching {named}", line.name));
            let files = apt.download(&packages, new)?;
            say(&format!("kernel {}: unpacking it", line.name));
            unpack(&files, new)
        })?;
        let link = cache.path("kernels").join(line.name);
        let new = link.with_added_extension("new");
        // Left by a command that was killed between the two calls.
        drop(fs::remove_file(&new));
        symlink(&key, &new).map_err(file("link", &new))?;
        fs::rename(&new, &link).map_err(file("rename", &new))?;
        Ok(Self { directory })
    }

    /// Package and version, as in `linux-image-6.1.0-56-cloud-amd64_6.1.192-2`.
    pub fn version(&self) -> String {
        let name = self.directory.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// What the boot loader loads.
    pub fn image(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// The disk that becomes `/usr/lib/modules`.
    pub fn modules(&self) -> PathBuf {
        self.directory.join("modules.ext4")
    }

    /// Modules that the initramfs loads, and in which order.
    pub(super) fn boot_modules(&self) -> PathBuf {
        self.directory.join("boot")
    }
}

/// The package of the kernel and those that hold parts of it: newer ones have image, modules and files of their own.
fn wanted(apt: &Apt, line: &Line) -> Result<Vec<Package>, Error> {
    let first = match line.package {
        Named::By(meta) => {
            let (_, depends) = apt.show(meta)?;
            depends.into_iter().find(|name| is_part(name))
        }
        Named::Highest(prefix) => {
            let mut found: Vec<Package> = Vec::new();
            for name in apt.names(prefix)? {
                if name.ends_with("-cloud-amd64") {
                    found.push(apt.show(&name)?.0);
                }
            }
            highest(found)?.map(|package| package.name)
        }
    };
    let mut names: Vec<String> = first.into_iter().collect();
    let mut packages = Vec::new();
    while let Some(name) = names.get(packages.len()) {
        let (package, depends) = apt.show(name)?;
        packages.push(package);
        for name in depends {
            // Some name parts that only newer versions have.
            if is_part(&name) && !names.contains(&name) && apt.names(&name)?.contains(&name) {
                names.push(name);
            }
        }
    }
    if packages.is_empty() {
        return Err(Error::Package {
            package: format!("kernel {}", line.name),
            why: format!("{} has none", line.suites.join(" and ")),
        });
    }
    Ok(packages)
}

/// Whether a package is part of one kernel version.
fn is_part(name: &str) -> bool {
    ["image", "binary", "modules", "base"].iter().any(|part| {
        let rest = name
            .strip_prefix("linux-")
            .and_then(|it| it.strip_prefix(part));
        let rest = rest.and_then(|it| it.strip_prefix('-'));
        rest.is_some_and(|it| it.starts_with(|first: char| first.is_ascii_digit()))
    })
}

/// The package of the highest version, by Debian's order.
fn highest(packages: Vec<Package>) -> Result<Option<Package>, Error> {
    let mut best: Option<Package> = None;
    for package in packages {
        let newer = match &best {
            None => true,
            Some(best) => tool("dpkg", "dpkg")?
                .args(["--compare-versions", &package.version, "gt", &best.version])
                .status()
                .map_err(file("run", Path::new("dpkg")))?
                .success(),
        };
        if newer {
            best = Some(package);
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::is_part;

    #[test]
    fn parts_of_a_kernel_are_told_from_other_dependencies() {
        for name in [
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-binary-7.3.4+deb13-cloud-amd64",
            "linux-modules-7.3.4+deb13-cloud-amd64",
            "linux-base-7.3.4+deb13-cloud-amd64",
        ] {
            assert!(is_part(name), "{name}");
        }
        for name in ["linux-base", "kmod", "linux-image-cloud-amd64"] {
            assert!(!is_part(name), "{name}");
        }
    }
}
