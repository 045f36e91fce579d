//! What is told over TCP for `kubectl weft status`.

use sha2::{Digest as _, Sha256};
use weft_core::model::World;

use super::read::{self, NoAnswer};
use super::view::{Status, Summary};
use crate::sync::Handle;

pub fn summary(handle: &Handle) -> Result<Summary, NoAnswer> {
    let Status {
        node,
        ready,
        not_ready,
        pods,
        egress,
        problems,
        store_stale_seconds,
        version,
        ..
    } = read::status(handle)?;
    let objects = objects(&handle.shared().world());
    Ok(Summary {
        node,
        ready,
        not_ready,
        pods,
        egress,
        problems: problems.len(),
        objects,
        store_stale_seconds,
        version,
    })
}

/// A digest of all that every agent should have in force alike.
fn objects(world: &World) -> String {
    let mut digest = Sha256::new();
    digest.update(format!("{:?}\n", world.network));
    for host in world.hosts.values() {
        digest.update(format!("{} {} {:?}\n", host.name, host.ip, host.subnets));
    }
    for project in world.projects.values() {
        digest.update(format!("{} {}\n", project.name, project.vnid));
    }
    for (project, policies) in &world.egress_policies {
        for (name, policy) in policies {
            digest.update(format!("{project}/{name} {}\n", policy.number()));
        }
    }
    let digest = digest.finalize();
    let first = digest.iter().take(8);
    let number = first.fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    format!("{number:016x}")
}

#[cfg(test)]
mod tests {
    use weft_core::model::{Change, LocalNode, Project, Vnid};

    use super::*;

    fn world(node: u8, vnid: Option<u64>) -> World {
        let ip = [192, 0, 2, node].into();
        let mut world = World::new(LocalNode {
            name: format!("n{node}"),
            ip,
            addresses: vec![ip],
        });
        if let Some(vnid) = vnid {
            let project = Project {
                name: "a".into(),
                vnid: Vnid::new(vnid).unwrap(),
            };
            world.take(Change::Project("a".into(), Some(project)));
        }
        world
    }

    #[test]
    fn nodes_that_follow_the_same_tell_the_same() {
        let same = objects(&world(1, Some(7)));
        assert_eq!(objects(&world(2, Some(7))), same);
        assert_ne!(objects(&world(2, Some(8))), same);
        assert_ne!(objects(&world(2, None)), same);
    }
}
