//! A reader that has enough ends a command quietly.

use std::process::{Command, Stdio};

#[test]
fn a_command_whose_output_nobody_reads_ends_quietly() {
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    let output = Command::new(env!("CARGO_BIN_EXE_weft"))
        .args(["preflight", "-o", "json"])
        .stdout(Stdio::from(write))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(141), "as after SIGPIPE");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
