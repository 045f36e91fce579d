//! The rooms of `agent/src` import what ARCHITECTURE.md lists, no more and no less, and there is no circle in it.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

type Imports = BTreeMap<String, BTreeSet<String>>;

/// What the list allows. Panics where a room stands above one that it imports.
fn listed(architecture: &str) -> Imports {
    let (_, list) = architecture.split_once("```rooms\n").unwrap();
    let (list, _) = list.split_once("```").unwrap();
    let mut rooms = Imports::new();
    for line in list.lines() {
        let (names, imports) = line.split_once(':').unwrap();
        let imports: BTreeSet<_> = imports.split_whitespace().map(str::to_owned).collect();
        for below in &imports {
            assert!(
                rooms.contains_key(below),
                "{below} has to stand above: {line}"
            );
        }
        for name in names.split(", ") {
            let before = rooms.insert(name.to_owned(), imports.clone());
            assert!(before.is_none(), "{name} stands twice");
        }
    }
    rooms
}

/// The rooms that a source names after `crate::`, beside comments and its unit tests.
fn named(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = code.lines().map(|line| line.split("//").next().unwrap());
    let code = lines.collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let (mut depth, mut begins, mut group) = (0, true, String::new());
        for character in rest.chars() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => begins = true,
                _ if depth > 1 || character.is_whitespace() && depth == 1 => {}
                _ if begins && (character.is_alphanumeric() || character == '_') => {
                    group.push(character);
                    continue;
                }
                _ => begins = false,
            }
            found.extend((!group.is_empty()).then(|| std::mem::take(&mut group)));
            if depth == 0 {
                break;
            }
        }
    }
    found
}

fn gather(path: &Path, room: &str, imports: &mut Imports) {
    let name = path.file_stem().unwrap().to_str().unwrap();
    if name == "tests" {
        return;
    }
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            gather(&entry.unwrap().path(), room, imports);
        }
        return;
    }
    let mut found = named(&fs::read_to_string(path).unwrap());
    found.remove(room);
    imports.entry(room.to_owned()).or_default().extend(found);
}

#[test]
fn rooms_import_what_the_architecture_lists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = listed(&fs::read_to_string(root.join("../ARCHITECTURE.md")).unwrap());
    let mut imports = Imports::new();
    for entry in fs::read_dir(root.join("src")).unwrap() {
        let path = entry.unwrap().path();
        let room = path.file_stem().unwrap().to_str().unwrap().to_owned();
        // They put the rooms together.
        if !["lib", "main", "bin"].contains(&room.as_str()) {
            gather(&path, &room, &mut imports);
        }
    }
    let rooms: BTreeSet<_> = listed.keys().chain(imports.keys()).collect();
    for room in rooms {
        let (is, may) = (imports.get(room), listed.get(room));
        assert_eq!(
            is, may,
            "{room}: what it imports, and what ARCHITECTURE.md lists"
        );
    }
}

#[test]
fn names_of_rooms_are_found_wherever_they_stand() {
    let source = "use crate::{api::view::{self, x}, store, netlink::a};\nuse crate::sync::Handle; // crate::dns\n\
                  fn f() { crate::bpf::maps::g() }\n#[cfg(test)]\nmod tests {\n use crate::cli; }";
    let found: Vec<_> = named(source).into_iter().collect();
    assert_eq!(found, ["api", "bpf", "netlink", "store", "sync"]);
}
