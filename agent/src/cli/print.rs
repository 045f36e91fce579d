//! Tables and JSON on standard output.

use std::io::{self, Write as _};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// Pretty-printed JSON.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// A table without lines, as `kubectl` prints them.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    line(&table.trim_fmt());
}

/// A line. If nobody reads any more (`weft get pods | head`), the program ends quietly with the exit code that a shell gives
/// to a program ended by SIGPIPE. The signal itself stays ignored: a server that hangs up would raise it too.
pub fn line(text: &str) {
    let mut out = io::stdout().lock();
    let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) else {
        return;
    };
    if error.kind() != io::ErrorKind::BrokenPipe {
        eprintln!("weft: write to standard output: {error}");
        std::process::exit(1);
    }
    std::process::exit(128 + nix::libc::SIGPIPE)
}
