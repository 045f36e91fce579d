//! A data path that remembers what it was told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use weft_agent::cni::{AttachError, DataPath, NotReady, PodNetwork};
use weft_agent::netlink::Netlink;
use weft_core::model::{Endpoint, EndpointId};

/// Remembers endpoints; fails and blocks on demand. Like the real one it sets the host-side veth up.
pub struct Fake {
    pub network: Mutex<PodNetwork>,
    pub endpoints: Mutex<HashMap<EndpointId, Endpoint>>,
    /// Projects nobody knows.
    pub unknown_project: Mutex<Option<String>>,
    pub fail_attach: AtomicBool,
    pub fail_detach: AtomicBool,
    pub fail_verify: AtomicBool,
    /// `attach` waits while this is set, then fails at its deadline.
    pub hold_attach: Mutex<bool>,
    pub released: Condvar,
}

impl Fake {
    pub fn new(subnets: &[&str]) -> Self {
        Self {
            network: Mutex::new(PodNetwork {
                subnets: subnets.iter().map(|s| s.parse().unwrap()).collect(),
                routes: ["10.128.0.0/14", "172.30.0.0/16", "fd01::/48"]
                    .map(|r| r.parse().unwrap())
                    .to_vec(),
                mtu: 1450,
            }),
            endpoints: Mutex::default(),
            unknown_project: Mutex::default(),
            fail_attach: AtomicBool::default(),
            fail_detach: AtomicBool::default(),
            fail_verify: AtomicBool::default(),
            hold_attach: Mutex::default(),
            released: Condvar::new(),
        }
    }
}

impl DataPath for Fake {
    fn pod_network(&self, project: &str, _deadline: Instant) -> Result<PodNetwork, NotReady> {
        if self.unknown_project.lock().unwrap().as_deref() == Some(project) {
            return Err(NotReady(format!(
                "project {project} has no NetNamespace yet"
            )));
        }
        Ok(self.network.lock().unwrap().clone())
    }

    fn attach(&self, endpoint: Endpoint, deadline: Instant) -> Result<(), AttachError> {
        let held = self.hold_attach.lock().unwrap();
        let patience = deadline.saturating_duration_since(Instant::now());
        let (held, _) = self
            .released
            .wait_timeout_while(held, patience, |h| *h)
            .unwrap();
        if *held {
            return Err(AttachError::Deadline("rows".into()));
        }
        drop(held);
        if self.fail_attach.load(Ordering::SeqCst) {
            return Err(AttachError::Failed("the kernel refused the program".into()));
        }
        let fail = |e: weft_agent::netlink::NetlinkError| AttachError::Failed(e.to_string());
        let mut netlink = Netlink::open().map_err(fail)?;
        let link = netlink.link(&endpoint.host_ifname).map_err(fail)?.unwrap();
        assert_eq!(link.index, endpoint.host_ifindex);
        netlink.set_link_up(endpoint.host_ifindex).map_err(fail)?;
        self.endpoints
            .lock()
            .unwrap()
            .insert(endpoint.id.clone(), endpoint);
        Ok(())
    }

    fn detach(&self, id: &EndpointId, _deadline: Instant) -> Result<(), AttachError> {
        if self.fail_detach.load(Ordering::SeqCst) {
            return Err(AttachError::Failed("the map is away".into()));
        }
        self.endpoints.lock().unwrap().remove(id);
        Ok(())
    }

    fn verify(&self, endpoint: &Endpoint, _deadline: Instant) -> Result<(), AttachError> {
        let known = self.endpoints.lock().unwrap().get(&endpoint.id) == Some(endpoint);
        if !known || self.fail_verify.load(Ordering::SeqCst) {
            return Err(AttachError::Missing(format!("row of {}", endpoint.id)));
        }
        Ok(())
    }
}
