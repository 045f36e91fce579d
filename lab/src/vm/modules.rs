//! Which module files a kernel needs, out of what depmod writes: pure.

/// Module files, below the release's folder, in the order in which they are loaded so that each finds what it needs.
///
/// `dep` is `modules.dep`, where each line names a module and all that it needs, what is needed first last; `builtin` is
/// `modules.builtin`. The name of a module that the kernel does not have is the error.
pub(super) fn order<'a>(
    dep: &str,
    builtin: &str,
    wanted: &[&'a str],
) -> Result<Vec<String>, &'a str> {
    let mut order: Vec<String> = Vec::new();
    for name in wanted {
        let mut lines = dep.lines().filter_map(|line| line.split_once(':'));
        match lines.find(|(path, _)| plain(path) == *name) {
            Some((path, needs)) => {
                for path in needs.split_whitespace().rev().chain([path]) {
                    if !order.iter().any(|it| it == path) {
                        order.push(path.to_owned());
                    }
                }
            }
            None if builtin.lines().any(|path| plain(path) == *name) => {}
            None => return Err(name),
        }
    }
    Ok(order)
}

/// The file's name without folders and compression, as in `virtio_blk.ko`.
pub(super) fn plain_name(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.find(".ko").map_or(name, |at| &name[..at + 3])
}

fn plain(path: &str) -> &str {
    plain_name(path).trim_end_matches(".ko")
}

#[cfg(test)]
mod tests {
    use super::order;

    const DEP: &str = "\
kernel/drivers/virtio/virtio_pci.ko: kernel/virtio_pci_modern_dev.ko kernel/virtio_ring.ko kernel/virtio.ko
kernel/drivers/block/virtio_blk.ko.xz: kernel/virtio_ring.ko kernel/virtio.ko
";

    #[test]
    fn what_a_module_needs_comes_before_it_and_once() {
        let names = order(DEP, "", &["virtio_pci", "virtio_blk"]);
        assert_eq!(
            names.as_deref(),
            Ok(&[
                "kernel/virtio.ko".to_owned(),
                "kernel/virtio_ring.ko".into(),
                "kernel/virtio_pci_modern_dev.ko".into(),
                "kernel/drivers/virtio/virtio_pci.ko".into(),
                "kernel/drivers/block/virtio_blk.ko.xz".into(),
            ][..])
        );
    }

    #[test]
    fn what_is_built_in_is_not_loaded_and_what_is_nowhere_is_named() {
        let builtin = "kernel/drivers/virtio/virtio_console.ko\n";
        assert_eq!(order(DEP, builtin, &["virtio_console"]), Ok(Vec::new()));
        assert_eq!(order(DEP, builtin, &["nosuch"]), Err("nosuch"));
    }
}
