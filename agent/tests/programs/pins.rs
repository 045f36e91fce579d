//! A start over the pins of an earlier one.

use std::collections::BTreeSet;
use std::path::Path;

use aya::maps::{HashMap, MapData, MapInfo, PerCpuHashMap};
use weft_agent::apply::object::load;
use weft_agent::apply::pins::Pins;
use weft_agent::bpf::maps::Maps;
use weft_agent::observe;
use weft_core::compile::Tables;
use weft_core::diff::Write;
use weft_ebpf::addr::Addr;
use weft_ebpf::rows::{
    EndpointRow, NodeRow, PrefixKey, PrefixRow, ProjectKey, ProjectRow, TABLE_CAPACITY, class,
};
use weft_ebpf::tables::{SHAPES, map};

use crate::rig::{BpfFs, in_namespace};

fn some_rows() -> Vec<Write> {
    let addr = Addr::v4([10, 128, 2, 5]);
    vec![
        Write::Node(NodeRow {
            overlay_ifindex: 7,
            vxlan_port: 4789,
            ..NodeRow::default()
        }),
        Write::Prefix(
            PrefixKey {
                prefix_len: 110,
                addr: Addr::v4([10, 128, 0, 0]),
            },
            Some(PrefixRow {
                class: class::PODS,
                subnet_lens: [119, 0, 0, 0],
            }),
        ),
        Write::Project(
            ProjectKey(1),
            Some(ProjectRow {
                policy: 0,
                vnid: 10,
                flags: 0,
            }),
        ),
        Write::Endpoint(
            addr,
            Some(EndpointRow {
                project: ProjectKey(1),
                ifindex: 3,
                mac: [2; 6],
                flags: 0,
                reserved: 0,
            }),
        ),
    ]
}

/// Loads over the pins; says which maps were replaced.
fn start(pins: &Pins) -> (Vec<&'static str>, Maps) {
    let mut object = load(pins).unwrap();
    (
        object.replaced.clone(),
        Maps::take(&mut object.ebpf).unwrap(),
    )
}

#[test]
fn rows_outlive_the_process_that_wrote_them() {
    in_namespace(|| {
        let folder = BpfFs::new();
        let pins = Pins::open(folder.path()).unwrap();
        let mut expected = Tables::default();
        {
            let (_, mut maps) = start(&pins);
            for write in some_rows() {
                maps.write(&write).unwrap();
                expected.write(&write);
            }
            maps.count(3).unwrap();
        }
        let (replaced, maps) = start(&pins);
        assert_eq!(replaced, Vec::<&str>::new(), "the same shape is kept");
        assert_eq!(observe::maps::tables(&maps).unwrap(), expected);
        assert_eq!(
            observe::maps::counted(&maps).unwrap(),
            BTreeSet::from([3]),
            "counters go on"
        );
    });
}

/// aya itself reuses whatever is pinned: user space would then read and write past the ends of values.
#[test]
fn a_pin_of_another_shape_is_replaced() {
    type Pin = fn(&Path);
    const ON_DEMAND: u32 = 1; // BPF_F_NO_PREALLOC
    let pins: [(&str, Pin); 5] = [
        ("key size", |path| {
            let map = HashMap::<MapData, [u8; 12], [u8; 24]>::create(TABLE_CAPACITY, ON_DEMAND);
            map.unwrap().pin(path).unwrap();
        }),
        ("value size", |path| {
            let map = HashMap::<MapData, [u8; 16], [u8; 28]>::create(TABLE_CAPACITY, ON_DEMAND);
            map.unwrap().pin(path).unwrap();
        }),
        ("capacity", |path| {
            let map = HashMap::<MapData, [u8; 16], [u8; 24]>::create(1, ON_DEMAND);
            map.unwrap().pin(path).unwrap();
        }),
        ("type", |path| {
            let map =
                PerCpuHashMap::<MapData, [u8; 16], [u8; 24]>::create(TABLE_CAPACITY, ON_DEMAND);
            map.unwrap().pin(path).unwrap();
        }),
        ("no map at all", |path| std::fs::create_dir(path).unwrap()),
    ];
    in_namespace(|| {
        for (other, pin) in pins {
            let folder = BpfFs::new();
            let pins = Pins::open(folder.path()).unwrap();
            // A start before, so that the other maps have pins and rows.
            let (_, mut maps) = start(&pins);
            for write in some_rows() {
                maps.write(&write).unwrap();
            }
            let mut expected = observe::maps::tables(&maps).unwrap();
            let path = pins.map(map::ENDPOINTS);
            std::fs::remove_file(&path).unwrap();
            pin(&path);
            if path.is_dir() {
                // Not ours to remove: the start fails, and says where.
                let error = load(&pins).map(drop).unwrap_err().to_string();
                assert!(error.contains(path.to_str().unwrap()), "{other}: {error}");
                continue;
            }

            let (replaced, mut maps) = start(&pins);
            assert_eq!(replaced, vec![map::ENDPOINTS], "{other}");
            expected.endpoints.clear();
            let found = observe::maps::tables(&maps).unwrap();
            assert_eq!(
                found, expected,
                "{other}: this map is new, the others keep their rows"
            );
            for write in some_rows() {
                maps.write(&write).unwrap();
            }
            drop(maps);
            let (replaced, maps) = start(&pins);
            assert_eq!(replaced, Vec::<&str>::new(), "{other}: the new pin fits");
            assert_eq!(
                observe::maps::tables(&maps).unwrap().endpoints.len(),
                1,
                "{other}"
            );
        }
    });
}

/// What the object makes is what a start accepts: a shape that is wrong in the list would be replaced in each start.
#[test]
fn every_map_is_pinned_in_its_own_shape() {
    in_namespace(|| {
        let folder = BpfFs::new();
        let pins = Pins::open(folder.path()).unwrap();
        let id = |name: &str| MapInfo::from_pin(pins.map(name)).unwrap().id();
        drop(start(&pins));
        let before: Vec<_> = SHAPES.iter().map(|shape| id(shape.name)).collect();
        let (replaced, _maps) = start(&pins);
        assert_eq!(replaced, Vec::<&str>::new());
        for (shape, before) in SHAPES.iter().zip(before) {
            assert_eq!(id(shape.name), before, "{}", shape.name);
        }
    });
}

/// A map that a program declares by itself would be lost at each start, and nobody would compare its shape.
#[test]
fn the_object_has_the_maps_of_the_list_and_no_others() {
    // Of one run of a program, and of no use after it.
    let unpinned = BTreeSet::from(["SCRATCH"]);
    in_namespace(|| {
        let folder = BpfFs::new();
        let object = load(&Pins::open(folder.path()).unwrap()).unwrap();
        let names = object.ebpf.maps().map(|(name, _)| name);
        // What begins with a dot are the compiler's constants.
        let found: BTreeSet<_> = names.filter(|name| !name.starts_with('.')).collect();
        let listed: BTreeSet<_> = SHAPES.iter().map(|shape| shape.name).collect();
        assert_eq!(&listed | &unpinned, found);
    });
}
