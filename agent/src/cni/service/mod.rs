//! The commands, as the agent carries them out. Any number at once; requests for one attachment one after another.

mod add;
mod busy;
mod check;
mod del;
mod gc;
mod status;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tracing::{info, warn};
use weft_netns::{NetNs, NsId};

use super::DataPath;
use super::journal::{Journal, JournalError, Record, State};
use super::protocol::{Call, Verb};
use super::spec::{CniError, code};
use busy::Busy;

/// How long an undo may take beyond the request's own deadline.
const UNDO_GRACE: Duration = Duration::from_secs(10);

/// Everything the commands work on.
pub struct Service {
    journal: Journal,
    datapath: Arc<dyn DataPath>,
    /// Attachments that a request works on now.
    busy: Busy,
    /// The agent's own namespace: no pod's.
    own_netns: NsId,
}

/// A request that was carried out.
#[derive(Debug, Default)]
pub struct Done {
    /// What the plugin prints.
    pub result: Option<Value>,
    /// ADD made this attachment: it is undone if nobody can be told.
    pub made: Option<Record>,
}

impl Service {
    /// Call in the network namespace where host-side veths live.
    pub fn new(journal: Journal, datapath: Arc<dyn DataPath>) -> Result<Self, weft_netns::Error> {
        Ok(Self {
            journal,
            datapath,
            busy: Busy::default(),
            own_netns: NetNs::current()?.id(),
        })
    }

    /// The attachments.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Carries one request out. `netns` is the descriptor that came with it.
    pub fn run(
        &self,
        call: &Call,
        netns: Option<OwnedFd>,
        deadline: Instant,
    ) -> Result<Done, CniError> {
        match &call.verb {
            Verb::Add { netns: path, .. } => {
                self.add(call, &self.pod_netns(netns, path)?, deadline)
            }
            Verb::Del { attachment } => self.del(attachment.id(), deadline),
            Verb::Check {
                attachment,
                netns: path,
                prev_result,
            } => self.check(
                attachment.id(),
                &self.pod_netns(netns, path)?,
                path,
                prev_result,
                deadline,
            ),
            Verb::Gc { valid } => self.gc(&call.network, valid, deadline),
            Verb::Status => self.status(deadline),
        }
    }

    /// Removes what [`Journal::recover`] found unfinished, see [`unfinished`]. What fails is tried again by GC, DEL, or
    /// the next start.
    pub fn finish_recovery(&self, unfinished: &[Record]) {
        for record in unfinished {
            let id = &record.endpoint.id;
            match self.remove_if(record, Instant::now() + UNDO_GRACE) {
                Ok(()) => info!(attachment = %id, "unfinished attachment removed"),
                Err(e) => {
                    warn!(attachment = %id, error = %e, "unfinished attachment stays; GC tries again");
                }
            }
        }
    }

    fn pod_netns(&self, fd: Option<OwnedFd>, path: &str) -> Result<NetNs, CniError> {
        let invalid = |msg: String| CniError::new(code::INVALID_ENVIRONMENT, msg);
        let fd =
            fd.ok_or_else(|| invalid(format!("CNI_NETNS={path}: no descriptor came with it")))?;
        let netns = NetNs::from_fd(fd).map_err(|e| invalid(format!("CNI_NETNS={path}: {e}")))?;
        if netns.id() == self.own_netns {
            return Err(invalid(format!(
                "CNI_NETNS={path} is the node's own network namespace; a pod on the host network is not attached"
            )));
        }
        Ok(netns)
    }
}

/// The attachments that are not what a runtime was told. Only before requests are served: later these are also the ones
/// being made.
pub fn unfinished(journal: &Journal) -> Vec<Record> {
    let mut records = journal.list();
    records.retain(|r| r.state != State::Ready);
    records
}

impl From<Option<Value>> for Done {
    fn from(result: Option<Value>) -> Self {
        Self { result, made: None }
    }
}

impl From<JournalError> for CniError {
    fn from(error: JournalError) -> Self {
        let code = match &error {
            JournalError::Exhausted(_) => code::SUBNET_EXHAUSTED,
            JournalError::Collision { .. } => code::CONFLICT,
            _ => code::IO_FAILURE,
        };
        Self::new(code, error.to_string())
    }
}
