//! A lab with shell scripts in the place of the product.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use weft_lab::lab::{self, Lab, LabName, Options, Progress};

/// Stands in for `weft`: agents that run until told to end, and are ready at once unless the file says otherwise.
const WEFT: &str = r#"#!/bin/sh
here=$(dirname "$0")
case "$1" in
agent|controller) echo "$1 started with $3"; [ -e "$here/broken" ] && { echo "it is broken" >&2; exit 3; }; exec sleep 1000 ;;
status) [ -n "$WEFT_CONFIG" ] || exit 2; [ -e "$here/mute" -o -e "$here/broken" ] && { echo "no answer" >&2; exit 1; }; exit 0 ;;
esac
"#;
/// Stands in for `weft-cni`: addresses out of the air, refuses on request.
const CNI: &str = r#"#!/bin/sh
config=$(cat)
here=$(dirname "$(readlink -f "$0")")
echo "$CNI_COMMAND $CNI_ARGS $CNI_IFNAME $CNI_NETNS $config" >> "$here/calls"
[ -e "$here/refuse" ] && { echo '{"cniVersion":"1.1.0","code":11,"msg":"try again later"}'; exit 1; }
[ "$CNI_COMMAND" = ADD ] && echo '{"cniVersion":"1.1.0","ips":[{"address":"10.128.0.2/32"},{"address":"fd01::2/128"}]}'
exit 0
"#;

/// A lab name, a directory of stubs; both are gone at the end.
pub struct Fixture {
    pub name: LabName,
    pub bin: PathBuf,
}

impl Fixture {
    pub fn new() -> Self {
        let suffix = format!("{:08x}", rand::random::<u32>());
        let bin = std::env::temp_dir().join(format!("weft-stubs-{suffix}"));
        fs::create_dir(&bin).unwrap();
        for (name, text) in [("weft", WEFT), ("weft-cni", CNI)] {
            fs::write(bin.join(name), text).unwrap();
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self {
            name: format!("t{suffix}").parse().unwrap(),
            bin,
        }
    }

    pub fn options(&self, externals: &[&str]) -> Options {
        Options {
            bin_dir: Some(self.bin.clone()),
            externals: externals.iter().map(|spec| spec.parse().unwrap()).collect(),
            ..Options::default()
        }
    }

    pub fn up(&self, externals: &[&str]) -> Lab {
        lab::up(&self.name, &self.options(externals), Progress::SILENT).unwrap()
    }

    pub fn set(&self, flag: &str) {
        fs::write(self.bin.join(flag), "").unwrap();
    }

    pub fn unset(&self, flag: &str) {
        fs::remove_file(self.bin.join(flag)).unwrap();
    }

    /// Everything that carries the lab's name.
    pub fn traces(&self) -> Vec<String> {
        let name = self.name.to_string();
        let entries = |directory: &str| -> Vec<String> {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            entries
                .map(|entry| entry.path().display().to_string())
                .collect()
        };
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mut found: Vec<String> = mounts.lines().map(str::to_owned).collect();
        found.extend([entries("/run/netns"), entries("/run/weft-lab")].concat());
        let commands = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .map(|entry| entry.path().join("cmdline"));
        found.extend(commands.filter_map(|path| fs::read_to_string(path).ok()));
        found.retain(|text| text.contains(&name));
        found
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        drop(lab::down(&self.name));
        drop(fs::remove_dir_all(&self.bin));
    }
}
