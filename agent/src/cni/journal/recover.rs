//! What a start makes of the files that the last one left.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use tracing::{info, warn};
use weft_core::model::Endpoint;

use super::error::{JournalError, failed};
use super::record::{Record, SCHEMA, State};
use super::{Journal, remove_file};
use crate::cni::identity::{self, is_host_ifname};
use crate::netlink::Netlink;

/// Outcome of [`Journal::recover`].
#[derive(Debug, Default)]
pub struct Recovered {
    /// Attachments that are as they were left: the sync loop must know them before its first pass.
    pub adopted: Vec<Endpoint>,
    /// Attachments that were half-way, or whose interface is gone. Their links are deleted; rows, files and addresses
    /// follow when the server starts, since that needs the data path.
    pub undone: usize,
    /// What an operator should know.
    pub problems: Vec<String>,
}

/// The part of a file that every schema has.
#[derive(Deserialize)]
struct Versioned {
    schema: u32,
}

impl Journal {
    /// Reads every file and compares it with the links of the calling thread's network namespace.
    ///
    /// Call once, before the sync loop's first pass and before [`crate::cni::serve`].
    pub fn recover(&self) -> Result<Recovered, JournalError> {
        let mut netlink = Netlink::open()?;
        let mut links: HashMap<String, u32> = netlink
            .veths()?
            .into_iter()
            .filter(|l| is_host_ifname(&l.name))
            .map(|l| (l.name, l.index))
            .collect();
        let mut recovered = Recovered::default();
        let files = self.read_all(&mut netlink, &mut links, &mut recovered)?;
        let mut records: Vec<Record> = files.into_values().collect();
        // The youngest last: the search for addresses goes on after it.
        records.sort_by_key(|r| r.requested_ms);
        for mut record in records {
            let link = links.remove(&record.endpoint.host_ifname);
            record.endpoint.host_ifindex = link.unwrap_or(0);
            let mut index = self.index();
            index.pool.occupy(&record.endpoint.addresses);
            for (subnet, address) in record.subnets.iter().zip(&record.endpoint.addresses) {
                index.pool.resume_after(subnet, *address);
            }
            let name = record.endpoint.host_ifname.clone();
            index.records.insert(name.clone(), record.clone());
            drop(index);
            let why = if record.boot_id != self.boot_id {
                "it was made before the machine restarted"
            } else if record.state != State::Ready {
                "it was not finished"
            } else if link.is_none() {
                "its interface is gone"
            } else {
                recovered.adopted.push(record.endpoint);
                continue;
            };
            info!(attachment = %record.endpoint.id, pod = %record.endpoint.pod, why, "attachment is undone");
            self.removing(&mut record)?;
            netlink.delete_link(&name)?;
            recovered.undone += 1;
        }
        // Not deleted: a start with the wrong stateDir would end every pod of the node. GC asks the runtime.
        for name in links.keys() {
            let text = format!(
                "interface {name} belongs to no attachment in {}; its pod has no network; CNI GC removes it",
                self.directory.display()
            );
            warn!("{text}");
            recovered.problems.push(text);
        }
        Ok(recovered)
    }

    /// By host-side veth.
    fn read_all(
        &self,
        netlink: &mut Netlink,
        links: &mut HashMap<String, u32>,
        recovered: &mut Recovered,
    ) -> Result<HashMap<String, Record>, JournalError> {
        let mut records: HashMap<String, Record> = HashMap::new();
        let mut report = |text: String| {
            warn!("{text}");
            recovered.problems.push(text);
        };
        let list = fs::read_dir(&self.directory).map_err(|e| failed("list", &self.directory, e))?;
        for entry in list {
            let path = entry
                .map_err(|e| failed("list", &self.directory, e))?
                .path();
            let extension = path.extension().and_then(|e| e.to_str());
            if extension == Some("tmp") {
                remove_file(&path)?; // a write that was cut short, before anything was made
            }
            let state = State::ALL
                .into_iter()
                .find(|s| Some(s.extension()) == extension);
            let Some(state) = state else { continue };
            match read(&path, state)? {
                Err(problem) => {
                    report(format!(
                        "{} is damaged ({problem}); its attachment is removed, the pod must be started again",
                        path.display()
                    ));
                    remove_damaged(&path, netlink, links)?;
                    recovered.undone += 1;
                }
                Ok(record) => match records.entry(record.endpoint.host_ifname.clone()) {
                    Entry::Vacant(entry) => drop(entry.insert(record)),
                    Entry::Occupied(mut entry) => {
                        report(format!(
                            "{} exists in two states; its attachment is removed, the pod must be started again",
                            path.display()
                        ));
                        entry.get_mut().state = State::Removing;
                    }
                },
            }
        }
        Ok(records)
    }
}

/// The file's name is all that is left, and it is the link's name.
fn remove_damaged(
    path: &Path,
    netlink: &mut Netlink,
    links: &mut HashMap<String, u32>,
) -> Result<(), JournalError> {
    if let Some(name) = stem(path).filter(|n| is_host_ifname(n)) {
        netlink.delete_link(&name)?;
        links.remove(&name);
    }
    remove_file(path)
}

fn stem(path: &Path) -> Option<String> {
    Some(path.file_stem()?.to_str()?.to_owned())
}

/// The inner error says why the content is no record.
fn read(path: &Path, state: State) -> Result<Result<Record, String>, JournalError> {
    let bytes = fs::read(path).map_err(|e| failed("read", path, e))?;
    let schema = match serde_json::from_slice::<Versioned>(&bytes) {
        Ok(versioned) => versioned.schema,
        Err(e) => return Ok(Err(e.to_string())),
    };
    if schema > SCHEMA {
        return Err(JournalError::Newer {
            path: path.to_owned(),
            schema,
        });
    }
    let record = match serde_json::from_slice::<Record>(&bytes) {
        Ok(record) => Record { state, ..record },
        Err(e) => return Ok(Err(e.to_string())),
    };
    // The name leads to the link, so a file under another name would lead to the wrong one.
    let expected = identity::host_ifname(&record.endpoint.id);
    if record.endpoint.host_ifname != expected || stem(path).as_deref() != Some(&expected) {
        return Ok(Err(format!("it holds attachment {}", record.endpoint.id)));
    }
    Ok(Ok(record))
}
