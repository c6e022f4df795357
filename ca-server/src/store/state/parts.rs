//! The rows of the state in parts by ranges of their keys, so that a snapshot of any size is written, and an
//! index built, without holding the state for long or having it in memory twice.

use std::collections::btree_map::Range;
use std::ops::Bound;

use prost::Message as _;

use super::State;
use crate::store::entry::SnapshotPart;
use crate::store::rows::{Row, RowKey, RowKind};

/// Rows of one range of keys.
pub(in crate::store) struct Part {
    pub(in crate::store) rows: Vec<Row>,
    /// The key of the last row; `None` if no row follows.
    pub(in crate::store) through: Option<RowKey>,
}

impl State {
    /// The rows that follow this key (none: from the first), until they have this many bytes.
    pub(in crate::store) fn part_after(&self, after: &[u8], bytes: usize) -> Part {
        let mut rows = Vec::new();
        let mut left = bytes;
        for (key, kind) in self.rows_after(after) {
            let row = Row::from(kind.clone());
            let size = row.encoded_len();
            rows.push(row);
            if size >= left {
                let is_last = self.rows_after(key).next().is_none();
                let through = (!is_last).then(|| key.clone());
                return Part { rows, through };
            }
            left -= size;
        }
        Part { rows, through: None }
    }

    /// Replaces the rows of a range of keys by those that it had at this position.
    pub(in crate::store) fn restore_part(&mut self, position: u64, part: SnapshotPart) {
        let range = (
            Bound::Excluded(part.after),
            match part.through.is_empty() {
                true => Bound::Unbounded,
                false => Bound::Included(part.through),
            },
        );
        let replaced: Vec<RowKey> = self.rows.range(range).map(|(key, _)| key.clone()).collect();
        for key in &replaced {
            self.rows.remove(key);
        }
        for row in part.rows {
            self.put(row);
        }
        self.list_authority_keys();
        self.position = position;
    }

    fn rows_after(&self, after: &[u8]) -> Range<'_, RowKey, RowKind> {
        self.rows
            .range::<[u8], _>((Bound::Excluded(after), Bound::Unbounded))
    }
}
