//! Tables and JSON on standard output.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// Pretty-printed JSON.
#[expect(clippy::print_stdout, reason = "this is what the command is for")]
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// A table without lines, as `kubectl` prints them.
#[expect(clippy::print_stdout, reason = "this is what the command is for")]
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    println!("{}", table.trim_fmt());
}

/// A line.
#[expect(clippy::print_stdout, reason = "this is what the command is for")]
pub fn line(text: &str) {
    println!("{text}");
}
