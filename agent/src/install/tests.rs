use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::cni::netconf::NetConf;
use crate::store::scratch::Scratch;

fn places(dir: &Path) -> Places {
    Places {
        bin_dir: dir.join("opt/cni/bin"),
        conf_dir: dir.join("etc/cni/net.d"),
        state_dir: dir.join("state"),
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn what_was_put_is_there_whole_and_goes_alone() {
    let scratch = Scratch::new();
    let places = places(scratch.path());
    let plugin = scratch.path().join("built");
    fs::write(&plugin, "#!/bin/true").unwrap();
    fs::create_dir_all(&places.conf_dir).unwrap();
    fs::write(places.conf_dir.join("99-loopback.conf"), "{}").unwrap();

    let put = places.put_plugin(&plugin).unwrap();
    assert_eq!(
        fs::metadata(&put).unwrap().permissions().mode() & 0o777,
        0o755
    );
    let (path, new) = places.put_configuration(Path::new("/run/weft")).unwrap();
    assert!(new);
    assert!(
        !places.put_configuration(Path::new("/run/weft")).unwrap().1,
        "the same again"
    );
    // An upgrade replaces the plugin while the old one may be running.
    fs::write(&plugin, "#!/bin/false").unwrap();
    places.put_plugin(&plugin).unwrap();
    assert_eq!(fs::read_to_string(&put).unwrap(), "#!/bin/false");
    assert_eq!(names(&places.bin_dir), [PLUGIN], "nothing temporary stays");

    assert_eq!(places.remove().unwrap(), [path, put]);
    assert_eq!(
        names(&places.conf_dir),
        ["99-loopback.conf"],
        "of somebody else"
    );
    assert!(names(&places.bin_dir).is_empty() && names(&places.state_dir).is_empty());
    assert!(
        places.remove().unwrap().is_empty(),
        "a second time is no error"
    );
}

#[test]
fn what_was_not_put_by_us_is_not_removed() {
    let scratch = Scratch::new();
    let places = places(scratch.path());
    fs::create_dir_all(&places.conf_dir).unwrap();
    let path = places.conf_dir.join(CONFIGURATION);
    fs::write(&path, "{}").unwrap();
    assert!(places.remove().unwrap().is_empty());
    assert!(path.exists());
}

#[test]
fn the_plugin_understands_the_configuration() {
    for (dir, wanted) in [("/run/weft", None), ("/run/other", Some("/run/other"))] {
        let list: Value = serde_json::from_str(&configuration(Path::new(dir))).unwrap();
        assert_eq!(list["plugins"][0]["runDir"].as_str(), wanted);
        // What a runtime without `cniVersions` asks for and can read.
        assert_eq!(list["cniVersion"], "1.0.0");
        // As a runtime makes a plugin's configuration of the list's.
        let mut one = list["plugins"][0].clone();
        one["cniVersion"] = list["cniVersion"].clone();
        one["name"] = list["name"].clone();
        let parsed = NetConf::parse(one.to_string().as_bytes()).unwrap();
        assert_eq!(
            (parsed.network.as_str(), parsed.run_dir.as_path()),
            ("weft", Path::new(dir))
        );
    }
}
