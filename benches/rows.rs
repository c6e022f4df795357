//! What the benches' tables share: a row with its target, and whether it was met.

use std::io::{Write, stdout};

pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) found: String,
    pub(crate) target: &'static str,
    pub(crate) met: bool,
    /// What stands behind, under the heading that the table gives it.
    pub(crate) remarks: String,
}

/// The one in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(crate) fn print(rows: &[Row], heading: &str) {
    say(&format!(
        "{:52} {:>16} {:>16}        {heading}",
        "", "measured", "target"
    ));
    for row in rows {
        say(&format!(
            "{:52} {:>16} {:>16} {:6} {}",
            row.what,
            row.found,
            row.target,
            if row.met { "met" } else { "MISSED" },
            row.remarks
        ));
    }
}

/// A line on stdout.
pub(crate) fn say(line: &str) {
    let mut out = stdout().lock();
    writeln!(out, "{}", line.trim_end()).expect("stdout takes the table");
}
