use super::*;

fn parsed(text: &str) -> (Vec<String>, Vec<String>) {
    let reading = parse(Path::new("/etc/resolv.conf"), text.as_bytes());
    let servers = reading.servers.iter().map(ToString::to_string);
    let problems = reading.problems.into_iter().map(|problem| problem.message);
    (servers.collect(), problems.collect())
}

#[test]
fn servers_are_taken_in_order_and_nothing_else() {
    let text = "; generated\nsearch a.test b.test\ndomain c.test\n\
                options ndots:5 timeout:1 rotate made-up:3 ndots:many\nsortlist 10.0.0.0/nonsense\n\
                \tnameserver 192.0.2.2 # first\nnameserver 192.0.2.1\r\nnameserver 2001:db8::1\nlookup file bind\n";
    let (servers, problems) = parsed(text);
    assert_eq!(
        servers,
        ["192.0.2.2:53", "192.0.2.1:53", "[2001:db8::1]:53"]
    );
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn a_line_that_names_no_server_is_told_and_the_others_count() {
    let text = "nameserver ns.test\nnameserver 192.0.2.1\nnameserver\nnameserver 300.1.1.1\n";
    let (servers, problems) = parsed(text);
    assert_eq!(servers, ["192.0.2.1:53"]);
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems[0].starts_with("line 1 is left out: \"nameserver ns.test\"; the other"));
    assert!(problems[1].starts_with("line 3 "));
    assert!(problems[2].starts_with("line 4 "));
}

#[test]
fn a_file_without_servers_is_a_problem() {
    for text in [
        "",
        "# nothing\n",
        "search a.test\n",
        "{\"json\": true}",
        "\u{0}\u{0}",
    ] {
        let (servers, problems) = parsed(text);
        assert!(servers.is_empty(), "{text:?}");
        assert_eq!(problems.len(), 1, "{text:?}: {problems:?}");
        assert!(
            problems[0].contains("names no usable name server"),
            "{text:?}"
        );
    }
}

#[test]
fn every_directory_on_the_way_is_followed() {
    let dir = std::env::temp_dir().join(format!("weft-links-{:016x}", rand::random::<u64>()));
    let (etc, run) = (dir.join("etc"), dir.join("run"));
    std::fs::create_dir_all(&etc).unwrap();
    std::fs::create_dir_all(&run).unwrap();
    std::os::unix::fs::symlink("../run/a", etc.join("resolv.conf")).unwrap();
    std::os::unix::fs::symlink(run.join("ring"), run.join("ring")).unwrap();
    let found = directories(&etc.join("resolv.conf"));
    assert_eq!(found, BTreeSet::from([etc.clone(), etc.join("../run")]));
    let ring = directories(&run.join("ring"));
    assert_eq!(ring, BTreeSet::from([run.clone()]), "a ring of links ends");
    std::fs::remove_dir_all(&dir).unwrap();
}
