//! Keeps the rules: a thread that looks again whenever somebody changes the firewall, and every few seconds.
//!
//! Every change of nftables, and `iptables` of the nft variant makes such, is announced by the kernel. The legacy
//! variant's are not, so the period stays.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use netlink_sys::protocols::NETLINK_NETFILTER;
use weft_core::compile::iptables::Ruleset;

use super::{Iptables, IptablesReport};
use crate::iptables::IptablesError;
use crate::netlink::announce::{Announcements, End, Watch};

/// Between two looks when nothing is announced.
const PERIOD: Duration = Duration::from_secs(5);
/// Least time between two looks: a program that writes rule by rule, and a fight with one that wants our place at the
/// top of a chain, cost no more than this.
const PACE: Duration = Duration::from_millis(200);
/// NFNLGRP_NFTABLES (linux/netfilter/nfnetlink.h).
const NFTABLES_GROUP: u32 = 7;

/// Called after each look of the thread that wrote something, or failed, or succeeded after a failure.
pub type OnLook = Box<dyn Fn(Result<IptablesReport, IptablesError>) + Send>;

/// The keeper's handle; dropped, it ends the thread and leaves the rules.
pub struct Keeper {
    shared: Arc<Shared>,
    _watch: Watch,
}

struct Shared {
    iptables: Iptables,
    wanted: Mutex<Vec<Ruleset>>,
}

impl Keeper {
    /// Starts the thread, in the calling thread's network namespace, with nothing to keep yet.
    pub fn start(iptables: Iptables, on_look: OnLook) -> io::Result<Self> {
        let announcements = Announcements::subscribe(NETLINK_NETFILTER, &[NFTABLES_GROUP])
            .inspect_err(|error| {
                tracing::info!(%error, "no announcements of firewall changes: looking every {PERIOD:?}");
            })
            .ok();
        let shared = Arc::new(Shared {
            iptables,
            wanted: Mutex::default(),
        });
        let of_thread = Arc::clone(&shared);
        let watch = Watch::start("iptables", move |end| {
            of_thread.keep(announcements.as_ref(), &end, &on_look);
        })?;
        Ok(Self {
            shared,
            _watch: watch,
        })
    }

    /// Brings the rules in line at once, in the calling thread (which must be in the same network namespace), and keeps
    /// them so from now on, also after an error.
    pub fn sync(&self, wanted: &[Ruleset]) -> Result<IptablesReport, IptablesError> {
        // Held while writing: the thread must not put older rules over the new ones.
        let mut kept = self.shared.lock();
        if *kept != wanted {
            *kept = wanted.to_vec();
        }
        self.shared.iptables.sync(wanted)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Ruleset>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, announcements: Option<&Announcements>, end: &End, on_look: &OnLook) {
        let mut failing = false;
        loop {
            let looked = Instant::now();
            if let Some(announcements) = announcements {
                // What changed does not matter: the look sees it all.
                announcements.drain(|_| ());
            }
            let result = self.iptables.sync(&self.lock());
            let silent = matches!(&result, Ok(report) if report.writes == 0 && !failing);
            failing = result.is_err();
            if !silent {
                on_look(result);
            }
            if end.wait(announcements, PERIOD)
                || end.wait(None, PACE.saturating_sub(looked.elapsed()))
            {
                return;
            }
        }
    }
}
