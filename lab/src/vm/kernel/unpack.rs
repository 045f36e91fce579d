//! Kernel and modules out of package files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::super::error::file;
use super::super::tool::{run, tool};
use super::super::{Error, disk, modules};

/// What the initramfs loads before the disks can be read.
const BOOT_MODULES: [&str; 2] = ["virtio_pci", "virtio_blk"];

/// Takes kernel and modules out of the package files, which are removed then.
pub(super) fn unpack(packages: &[PathBuf], into: &Path) -> Result<(), Error> {
    let tree = into.join("tree");
    fs::create_dir(&tree).map_err(file("create", &tree))?;
    for package in packages {
        run(tool("dpkg-deb", "dpkg")?
            .arg("--extract")
            .arg(package)
            .arg(&tree))?;
        fs::remove_file(package).map_err(file("remove", package))?;
    }
    let modules = ["lib/modules", "usr/lib/modules"].map(|name| tree.join(name));
    let modules = modules.iter().find(|path| path.is_dir());
    let (Some(modules), Some(image)) = (modules, image(&tree)) else {
        return Err(Error::Package {
            package: format!("{packages:?}"),
            why: "no kernel image or no modules in it".into(),
        });
    };
    let release = only_entry(modules)?;
    let vmlinuz = into.join("vmlinuz");
    fs::copy(&image, &vmlinuz).map_err(file("copy", &image))?;
    // depmod looks below lib/modules of its folder.
    let base = into.join("depmod");
    let lib = base.join("lib");
    fs::create_dir_all(&lib).map_err(file("create", &lib))?;
    fs::rename(modules, lib.join("modules")).map_err(file("move", modules))?;
    let modules = lib.join("modules");
    run(tool("depmod", "kmod")?.arg("-b").arg(&base).arg(&release))?;
    boot(&modules.join(&release), &into.join("boot"))?;
    disk::ext4(&modules, &into.join("modules.ext4"), 0)?;
    for folder in [&base, &tree] {
        fs::remove_dir_all(folder).map_err(file("remove", folder))?;
    }
    Ok(())
}

/// `/boot/vmlinuz-*`, or where newer packages have it.
fn image(tree: &Path) -> Option<PathBuf> {
    let below = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
    let found = below(tree.join("boot"))
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .is_some_and(|it| it.to_string_lossy().starts_with("vmlinuz"))
        });
    found.or_else(|| {
        let mut modules = below(tree.join("usr/lib/modules"));
        modules.find_map(|entry| Some(entry.path().join("vmlinuz")).filter(|path| path.is_file()))
    })
}

fn only_entry(directory: &Path) -> Result<String, Error> {
    let mut entries = fs::read_dir(directory)
        .map_err(file("read", directory))?
        .flatten();
    match (entries.next(), entries.next()) {
        (Some(entry), None) => Ok(entry.file_name().to_string_lossy().into_owned()),
        _ => Err(Error::Package {
            package: directory.display().to_string(),
            why: "not exactly one kernel release in it".into(),
        }),
    }
}

/// The modules that the initramfs loads, uncompressed, and `order`, which lists them.
fn boot(modules: &Path, into: &Path) -> Result<(), Error> {
    let read = |name: &str| {
        let path = modules.join(name);
        fs::read_to_string(&path).map_err(file("read", &path))
    };
    let (dep, builtin) = (read("modules.dep")?, read("modules.builtin")?);
    let order =
        modules::order(&dep, &builtin, &BOOT_MODULES).map_err(|missing| Error::Package {
            package: modules.display().to_string(),
            why: format!("the kernel has no {missing}"),
        })?;
    fs::create_dir(into).map_err(file("create", into))?;
    let mut lines = String::new();
    for path in order {
        let name = modules::plain_name(&path);
        let (from, to) = (modules.join(&path), into.join(name));
        let packed = path.rsplit_once('.').map(|(_, ending)| ending);
        if packed == Some("ko") {
            fs::copy(&from, &to).map_err(file("copy", &from))?;
        } else {
            let mut unpack = match packed {
                Some("zst") => tool("zstd", "zstd")?,
                _ => tool("xz", "xz-utils")?,
            };
            let out = File::create(&to).map_err(file("create", &to))?;
            run_into(unpack.arg("-dc").arg(&from), out)?;
        }
        lines.push_str(name);
        lines.push('\n');
    }
    let path = into.join("order");
    fs::write(&path, lines).map_err(file("write", &path))
}

fn run_into(command: &mut std::process::Command, out: File) -> Result<(), Error> {
    let what = format!("{command:?}");
    let output = command.stdout(out).stderr(Stdio::piped()).spawn();
    let output = output.and_then(std::process::Child::wait_with_output);
    let failed = |status: String, said: String| Error::Tool { what, status, said };
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(failed(
            output.status.to_string(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )),
        Err(error) => Err(failed(error.to_string(), String::new())),
    }
}
