//! The one place that prints: results to standard output, remarks and errors to standard error, in the format that was asked for.

use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::{Value, json};
use time::OffsetDateTime;

pub(crate) use identity::moment;
use identity::printable::{printable, printable_json, printable_lines};

use crate::failure::Failure;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Table,
    Wide,
    Json,
    Yaml,
}

impl Format {
    pub(crate) fn is_for_people(self) -> bool {
        matches!(self, Format::Table | Format::Wide)
    }
}

/// Prints a line, or several, of a result.
pub(crate) fn say(text: &str) -> Result<(), Failure> {
    let text = printable_lines(text);
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|e| Failure::internal(format!("cannot write to standard output: {e}")))
}

/// Says something beside the result.
pub(crate) fn remark(text: &str) {
    // Nobody listens if this fails, and the result is not concerned.
    let _ = writeln!(io::stderr(), "{}", printable_lines(text));
}

/// Tells why the command failed.
pub(crate) fn complain(failure: &Failure, format: Format) {
    match format {
        Format::Json => remark(&printable_json(&failure.json().to_string())),
        _ => remark(&failure.text()),
    }
}

/// Prints a value for programs, or what `text` makes of it for people.
pub(crate) fn show(format: Format, value: &Value, text: impl FnOnce() -> String) -> Result<(), Failure> {
    match format {
        Format::Table | Format::Wide => say(text().trim_end_matches('\n')),
        Format::Json => say(&printable_json(&format!("{value:#}"))),
        Format::Yaml => say(yaml(value).trim_end_matches('\n')),
    }
}

pub(crate) fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).expect("maps, lists and words can be written as YAML")
}

/// A list for programs.
pub(crate) fn items(items: impl IntoIterator<Item = Value>) -> Value {
    let items: Vec<Value> = items.into_iter().collect();
    json!({ "items": items })
}

/// A table as kubectl prints it: columns three spaces apart, no lines.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            rows: vec![header.into_iter().map(str::to_owned).collect()],
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let shown = |cell: String| {
            if cell.is_empty() {
                "<none>".to_owned()
            } else {
                printable(&cell).into_owned()
            }
        };
        self.rows.push(cells.into_iter().map(shown).collect());
    }

    pub(crate) fn text(&self) -> String {
        columns(&self.rows, 3)
    }
}

/// Rows with their columns aligned, `gap` spaces apart; trailing spaces are dropped.
pub(crate) fn columns(rows: &[Vec<String>], gap: usize) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..count)
        .map(|column| width(column).unwrap_or(0) + gap)
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<String>().trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// How long ago, as kubectl prints ages: the more, the coarser.
pub(crate) fn age(since: OffsetDateTime, now: OffsetDateTime) -> String {
    let seconds = (now - since).whole_seconds().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let with = |whole: i64, unit: char, part: i64, small: char| match part {
        0 => format!("{whole}{unit}"),
        part => format!("{whole}{unit}{part}{small}"),
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => with(minutes, 'm', seconds % 60, 's'),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => with(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => with(days, 'd', hours % 24, 'h'),
        () if days < 2 * 365 => format!("{days}d"),
        () if days < 8 * 365 => with(days / 365, 'y', days % 365, 'd'),
        () => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;
    use time::macros::datetime;

    #[test]
    fn ages_are_those_of_kubectl() {
        let now = datetime!(2026-01-01 0:00 UTC);
        for (seconds, expected) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (121, "2m1s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (10_860, "3h1m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (8 * 86_400, "8d"),
            (800 * 86_400, "2y70d"),
            (3000 * 86_400, "8y"),
        ] {
            assert_eq!(age(now - Duration::seconds(seconds), now), expected, "{seconds}");
        }
    }

    #[test]
    fn json_keeps_its_values_and_tables_their_rows_whatever_a_stranger_wrote() {
        let hostile = "a\u{9b}2J\u{202e}\u{e0041}\u{7f}\nb\u{1b}";
        let value = json!({ "subject": hostile });
        let printed = printable_json(&format!("{value:#}"));
        assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), value);
        assert_eq!(printable_lines(&printed), printed);
        let mut table = Table::new(["SUBJECT"]);
        table.row([hostile.to_owned()]);
        assert_eq!(table.text().lines().count(), 2, "{}", table.text());
    }

    #[test]
    fn a_table_aligns_its_columns_and_shows_what_is_empty() {
        let mut table = Table::new(["NAME", "AGE"]);
        table.row(["details".to_owned(), "5m".to_owned()]);
        table.row(["a".to_owned(), String::new()]);
        assert_eq!(table.text(), "NAME      AGE\ndetails   5m\na         <none>");
    }
}
