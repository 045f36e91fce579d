//! Sysctls under `net.` of the calling thread's network namespace; use inside [`crate::NetNs::run`] for another's.
//!
//! Other sysctls belong to the machine, so a key that does not begin with `net` is refused. Both spellings of
//! sysctl(8) are taken: `net.ipv4.ip_forward`, and `net/ipv4/conf/eth0.7/rp_filter` for a name with a dot in it
//! (the same as `net.ipv4.conf.eth0/7.rp_filter`).

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where a container finds the host's sysctls, if somebody mounted its `/proc/sys/net` at `net` in here: a container's own
/// `/proc/sys` is read-only, and nothing may be mounted over it. Either shows those of the calling thread's namespace.
pub const HOST_FOLDER: &str = "/host/proc/sys";

/// The folder in use: [`HOST_FOLDER`] where it is there, else `/proc/sys`.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<&Path> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let host = Path::new(HOST_FOLDER);
        if host.join("net").is_dir() {
            host
        } else {
            Path::new("/proc/sys")
        }
    })
}

/// A sysctl could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key was refused before any system call.
    #[error("sysctl {key}: {why}")]
    Key {
        /// As the caller spelt it.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No such sysctl, or it must not be read.
    #[error("read sysctl {key}: {source}")]
    Read {
        /// As the caller spelt it.
        key: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// No such sysctl, or the kernel refused the value.
    #[error("write {value:?} to sysctl {key}: {source}")]
    Write {
        /// As the caller spelt it.
        key: String,
        /// The value.
        value: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// The value without its final newline; several fields are separated by tabs.
pub fn read(key: &str) -> Result<String, Error> {
    let value = fs::read_to_string(file(key)?).map_err(|source| Error::Read {
        key: key.to_owned(),
        source,
    })?;
    Ok(value.trim_end_matches('\n').to_owned())
}

/// Sets a value.
pub fn write(key: &str, value: &str) -> Result<(), Error> {
    let path = file(key)?;
    // Neither create nor truncate: a sysctl that does not exist is ENOENT then, and the value goes in one write.
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|source| Error::Write {
            key: key.to_owned(),
            value: value.to_owned(),
            source,
        })
}

fn file(key: &str) -> Result<PathBuf, Error> {
    let refuse = |why| Error::Key {
        key: key.to_owned(),
        why,
    };
    // sysctl(8): the first separator found says which of the two is one; the other belongs to the names.
    let separator = key.find(['.', '/']).map(|at| key.as_bytes()[at]);
    let parts: Vec<String> = match separator {
        Some(b'/') => key.split('/').map(str::to_owned).collect(),
        _ => key.split('.').map(|part| part.replace('/', ".")).collect(),
    };
    if parts[0] != "net" || parts.len() < 2 {
        return Err(refuse(
            "only keys under `net` belong to a network namespace",
        ));
    }
    if parts
        .iter()
        .any(|part| matches!(part.as_str(), "" | "." | "..") || part.contains('\0'))
    {
        return Err(refuse("a part of the name is empty or no name"));
    }
    let mut path = folder().to_owned();
    path.extend(&parts);
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::file;

    #[test]
    fn both_spellings_name_an_interface_with_a_dot() {
        let wanted = "/proc/sys/net/ipv4/conf/eth0.7/rp_filter";
        for key in [
            "net/ipv4/conf/eth0.7/rp_filter",
            "net.ipv4.conf.eth0/7.rp_filter",
        ] {
            assert_eq!(file(key).unwrap().to_str(), Some(wanted), "{key}");
        }
    }

    #[test]
    fn a_key_cannot_leave_the_namespaces_sysctls() {
        let hostile = [
            "",
            "net",
            "net.",
            "net..x",
            "/net/x",
            "net/../kernel/hostname",
            "net.//.kernel",
            "kernel.hostname",
            "kernel/hostname",
            "../net/x",
            "net/ipv4//ip_forward",
            "net.x\0y",
        ];
        for key in hostile {
            let refused = file(key).expect_err(key).to_string();
            assert!(refused.starts_with(&format!("sysctl {key}: ")), "{refused}");
        }
    }
}
