//! STATUS: can ADD be served?

use std::time::{Duration, Instant};

use super::{Done, Service};
use crate::cni::spec::{CniError, code};

/// Runtimes ask every few seconds and wait for the answer.
const PATIENCE: Duration = Duration::from_secs(2);

impl Service {
    pub(super) fn status(&self, deadline: Instant) -> Result<Done, CniError> {
        let unavailable = |msg: String| CniError::new(code::NOT_AVAILABLE, msg);
        let network = self
            .datapath
            .node_network(deadline.min(Instant::now() + PATIENCE))
            .map_err(|e| unavailable(format!("no pod can be attached yet: {e}")))?;
        for subnet in &network.subnets {
            let (used, capacity) = self.journal.usage(subnet);
            if used >= capacity {
                return Err(unavailable(format!(
                    "no address is free in subnet {subnet} of this node: all {capacity} are in use"
                )));
            }
        }
        Ok(Done::default())
    }
}
