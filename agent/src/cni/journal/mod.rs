//! Which attachments exist: one file each under `STATE_DIR/endpoints`, named like the attachment's host-side veth.
//!
//! Write-ahead: the file is `.pending` before the first kernel object is made, `.ready` when all is made, `.removing`
//! before anything is taken away, and is removed after the last object is gone, before the addresses are given back.
//! Whatever moment a crash picks, the file leads to everything. A change of state is one rename: it works on a full
//! disk, and no file is ever replaced, which would make ext4 write the new one out at once.
//!
//! Nothing is synced to disk: when a process dies the page cache stays, and when the machine dies the boot id changes
//! and every file is void, whatever it holds.

mod error;
mod lock;
mod record;
mod recover;

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ipnet::IpNet;
use weft_core::model::{Endpoint, EndpointId};

use super::PodNetwork;
use super::identity::{self, PodRef};
use super::ipam::Pool;
use super::netconf::Bandwidth;
pub use error::JournalError;
use error::failed;
pub use record::{NetnsInode, Record, State, pod_mac};
pub use recover::Recovered;

/// What ADD knows before it has addresses.
#[derive(Debug)]
pub struct Intent<'a> {
    /// The attachment.
    pub id: &'a EndpointId,
    /// The pod.
    pub pod: &'a PodRef,
    /// Name of the network.
    pub network: &'a str,
    /// The namespace.
    pub netns: NetnsInode,
    /// CNI_NETNS
    pub netns_path: &'a str,
    /// Subnets, routes, MTU.
    pub pod_network: &'a PodNetwork,
    /// Limits asked for.
    pub bandwidth: Option<Bandwidth>,
}

/// The journal, held by one process.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    boot_id: String,
    /// Held as long as the journal is open.
    _lock: File,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    /// By host-side veth, which is also the file's name.
    records: HashMap<String, Record>,
    pool: Pool,
}

impl Journal {
    /// Opens or makes `STATE_DIR/endpoints`; waits a moment for another process to give it up. Read nothing from it before [`Journal::recover`].
    pub fn open(state_dir: &Path) -> Result<Self, JournalError> {
        let path = Path::new("/proc/sys/kernel/random/boot_id");
        let boot_id = fs::read_to_string(path).map_err(|e| failed("read", path, e))?;
        Self::open_as(state_dir, boot_id.trim())
    }

    /// [`Journal::open`] in a boot of that name.
    pub fn open_as(state_dir: &Path, boot_id: &str) -> Result<Self, JournalError> {
        let directory = state_dir.join("endpoints");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|e| failed("create directory", &directory, e))?;
        let path = directory.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| failed("open", &path, e))?;
        let lock = match lock::take(lock) {
            Ok(Some(lock)) => lock,
            Ok(None) => return Err(JournalError::InUse { path: directory }),
            Err(e) => return Err(failed("lock", &path, e)),
        };
        Ok(Self {
            directory,
            boot_id: boot_id.to_owned(),
            _lock: lock,
            index: Mutex::default(),
        })
    }

    /// Takes addresses and writes the intent. From here on [`Journal::forget`] is owed.
    pub fn reserve(&self, intent: &Intent<'_>) -> Result<Record, JournalError> {
        let host_ifname = identity::host_ifname(intent.id);
        let record = {
            let mut index = self.index();
            if let Some(holder) = index.records.get(&host_ifname) {
                return Err(JournalError::Collision {
                    id: intent.id.clone(),
                    host_ifname,
                    holder: holder.endpoint.id.clone(),
                });
            }
            let addresses = index.pool.take(&intent.pod_network.subnets)?;
            let record = Record {
                schema: record::SCHEMA,
                boot_id: self.boot_id.clone(),
                state: State::Pending,
                network: intent.network.to_owned(),
                endpoint: Endpoint {
                    id: intent.id.clone(),
                    project: intent.pod.namespace().to_owned(),
                    pod: intent.pod.name().to_owned(),
                    mac: pod_mac(&addresses),
                    addresses,
                    host_ifname: host_ifname.clone(),
                    host_ifindex: 0,
                },
                netns: intent.netns,
                netns_path: intent.netns_path.to_owned(),
                subnets: intent.pod_network.subnets.clone(),
                routes: intent.pod_network.routes.clone(),
                mtu: intent.pod_network.mtu,
                requested_ms: now_ms(),
                bandwidth: intent.bandwidth,
            };
            index.records.insert(host_ifname, record.clone());
            record
        };
        self.write(&record)
            .inspect_err(|_| self.drop_entry(&record))?;
        Ok(record)
    }

    /// The attachment is made: `record` with its interface index is what stands from now on.
    pub fn ready(&self, record: &mut Record) -> Result<(), JournalError> {
        self.pass_to(record, State::Ready)
    }

    /// The attachment is about to be removed: should that be cut short, it is not taken for a working one.
    pub fn removing(&self, record: &mut Record) -> Result<(), JournalError> {
        self.pass_to(record, State::Removing)
    }

    fn pass_to(&self, record: &mut Record, state: State) -> Result<(), JournalError> {
        let name = &record.endpoint.host_ifname;
        if record.state != state {
            let path = self.path(name, record.state);
            fs::rename(&path, self.path(name, state)).map_err(|e| failed("rename", &path, e))?;
        }
        record.state = state;
        self.index().records.insert(name.clone(), record.clone());
        Ok(())
    }

    /// Everything in the kernel is gone: the file goes, then the addresses are free.
    pub fn forget(&self, record: &Record) -> Result<(), JournalError> {
        for state in State::ALL {
            remove_file(&self.path(&record.endpoint.host_ifname, state))?;
        }
        self.drop_entry(record);
        Ok(())
    }

    /// The attachment with this id.
    pub fn get(&self, id: &EndpointId) -> Option<Record> {
        let index = self.index();
        let record = index.records.get(&identity::host_ifname(id))?;
        (record.endpoint.id == *id).then(|| record.clone())
    }

    /// Every attachment.
    pub fn list(&self) -> Vec<Record> {
        self.index().records.values().cloned().collect()
    }

    /// Is there an attachment with this host-side veth?
    pub fn knows(&self, host_ifname: &str) -> bool {
        self.index().records.contains_key(host_ifname)
    }

    /// The attachment in a namespace under an interface name.
    pub fn in_netns(&self, netns: NetnsInode, ifname: &str) -> Option<Record> {
        let index = self.index();
        let found = index.records.values().find(|r| {
            r.netns == netns && r.endpoint.id.ifname == ifname && r.state == State::Ready
        });
        found.cloned()
    }

    /// Addresses in use of a subnet, and how many it has.
    pub fn usage(&self, subnet: &IpNet) -> (u128, u128) {
        self.index().pool.usage(subnet)
    }

    fn drop_entry(&self, record: &Record) {
        let mut index = self.index();
        index.records.remove(&record.endpoint.host_ifname);
        index.pool.release(&record.endpoint.addresses);
    }

    fn path(&self, host_ifname: &str, state: State) -> PathBuf {
        let name = format!("{host_ifname}.{}", state.extension());
        self.directory.join(name)
    }

    fn write(&self, record: &Record) -> Result<(), JournalError> {
        let path = self.path(&record.endpoint.host_ifname, record.state);
        let temporary = path.with_extension("tmp");
        let attempt = || {
            let mut file = File::options()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(&serde_json::to_vec(record)?)?;
            fs::rename(&temporary, &path)
        };
        attempt().map_err(|e| {
            // Whatever is left of it, the next start removes.
            drop(fs::remove_file(&temporary));
            failed("write", &path, e)
        })
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // Nothing panics between two writes that belong together.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove_file(path: &Path) -> Result<(), JournalError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, e)),
        _ => Ok(()),
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
