//! One cluster for all cases: it comes up with the first of them and goes when none is left that waits or runs.
//!
//! Cases run beside each other, except for those that change what all share. A thread that has no other takes the cluster down
//! after each case: more than one (`--test-threads`) keep it up.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::thread;

use crate::cluster::Cluster;

static CURRENT: Mutex<Weak<Shared>> = Mutex::new(Weak::new());
static TURNS: RwLock<()> = RwLock::new(());

struct Shared {
    cluster: Cluster,
    /// Whoever comes next shall have another one.
    spent: AtomicBool,
}

/// The cluster, for one case.
pub struct Turn {
    kind: Kind,
    shared: Arc<Shared>,
}

#[expect(dead_code, reason = "held while the case runs")]
enum Kind {
    Beside(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

/// For cases that change nothing but their own projects.
pub fn beside() -> Turn {
    turn(|| Kind::Beside(TURNS.read().unwrap_or_else(PoisonError::into_inner)))
}

/// For cases that change the agents, a node, or the name server.
pub fn alone() -> Turn {
    turn(|| Kind::Alone(TURNS.write().unwrap_or_else(PoisonError::into_inner)))
}

/// For the case after which the cluster is of no use.
pub fn last() -> Turn {
    let turn = alone();
    turn.shared.spend();
    turn
}

fn turn(wait: impl Fn() -> Kind) -> Turn {
    loop {
        // Before the wait, so that the cluster stays up for those who wait.
        let shared = current();
        let kind = wait();
        if !shared.spent.load(Ordering::SeqCst) {
            return Turn { kind, shared };
        }
    }
}

fn current() -> Arc<Shared> {
    let Ok(mut current) = CURRENT.lock() else {
        panic!("the cluster did not come up for an earlier case");
    };
    if let Some(shared) = current
        .upgrade()
        .filter(|it| !it.spent.load(Ordering::SeqCst))
    {
        return shared;
    }
    let shared = Arc::new(Shared {
        cluster: Cluster::up(),
        spent: AtomicBool::new(false),
    });
    *current = Arc::downgrade(&shared);
    shared
}

impl Shared {
    fn spend(&self) {
        self.spent.store(true, Ordering::SeqCst);
    }
}

impl Deref for Turn {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.shared.cluster
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // What it changed may not be changed back.
        if thread::panicking() && matches!(self.kind, Kind::Alone(_)) {
            self.shared.spend();
        }
    }
}
