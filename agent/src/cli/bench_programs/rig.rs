//! Programs over maps of their own.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use weft_core::compile::{Tables, compile};
use weft_core::diff::diff;

use super::cluster::Cluster;
use super::packets::Case;
use crate::apply::object::{Object, load};
use crate::apply::pins::Pins;
use crate::bpf::maps::Maps;
use crate::observe;

/// A folder of pins that goes with the value.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("weft: remove {}: {error}", self.0.display());
        }
    }
}

/// Programs over maps of their own, filled with the rows of a cluster.
pub struct Rig {
    object: Object,
    /// Its maps.
    pub maps: Maps,
    cluster: Cluster,
    _folder: Folder,
}

impl Rig {
    /// Loads the programs and writes the rows.
    pub fn new(bpf_dir: &Path, cluster: Cluster) -> anyhow::Result<Self> {
        let name = format!("weft-bench-{:016x}", rand::random::<u64>());
        let folder = Folder(bpf_dir.join(name));
        let mut object = load(&Pins::open(&folder.0)?)?;
        let mut maps = Maps::take(&mut object.ebpf)?;
        for write in diff(&compile(&cluster.world), &Tables::default()) {
            maps.write(&write)?;
        }
        for endpoint in cluster.world.endpoints.values() {
            maps.count(endpoint.host_ifindex)?;
        }
        Ok(Self {
            object,
            maps,
            cluster,
            _folder: folder,
        })
    }

    /// Nanoseconds of one packet; `round` picks the flow. Fails if the program does something else than the case says.
    pub fn measure(&self, case: &Case, round: u32, repeat: u32) -> anyhow::Result<u64> {
        let Case { program, name, .. } = case;
        let context = || format!("{program}: {name}");
        let frame = (case.frame)(&self.cluster, round).with_context(context)?;
        let dropped = || -> anyhow::Result<u64> {
            let drops = observe::maps::drops_by_reason(&self.maps)?;
            let reason = case.reason.and_then(|reason| drops.get(&reason).copied());
            Ok(reason.unwrap_or_default().packets)
        };
        let before = dropped()?;
        if let Some(asked) = case.asked {
            let frame = asked(&self.cluster, round).with_context(context)?;
            self.test_run(&Case::ASKING, &frame, 1)?;
        }
        self.test_run(case, &frame, 1)?;
        ensure!(
            case.reason.is_none() || dropped()? == before + 1,
            "{program}: {name}: dropped for another reason than {:?}",
            case.reason
        );
        self.test_run(case, &frame, repeat)
    }

    fn test_run(&self, case: &Case, frame: &[u8], repeat: u32) -> anyhow::Result<u64> {
        let Case {
            program,
            name,
            code,
            ..
        } = case;
        let found = self.object.ebpf.program(program);
        let classifier: &SchedClassifier = found.context("no such program")?.try_into()?;
        // Without a context the packet is on the loopback device, whose index is 1 everywhere.
        let run = classifier
            .test_run(TestRunOptions {
                data_in: Some(frame),
                repeat,
                ..TestRunOptions::default()
            })
            .with_context(|| format!("{program}: {name}: run the program (as root)"))?;
        if run.return_value.cast_signed() != *code {
            bail!(
                "{program}: {name}: returned {}, not {code}: this would measure something else",
                run.return_value.cast_signed()
            );
        }
        Ok(u64::try_from(run.duration.as_nanos())?)
    }
}
