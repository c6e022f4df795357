//! What a store of this house is kept on: something that appends durably, and something that finds again.

use std::collections::HashMap;
use std::time::Duration;

use journal::{Head, Record};
use proto::Refusal;

use super::entry::Entry;
use super::error::StoreError;
use super::rows::{RowKey, RowKind};

/// The reading side of a record; never waits for an append.
pub trait Records: Send + Sync {
    /// The entry at this position; `None` where there is none, or something else.
    fn entry(&self, position: u64) -> Result<Option<Entry>, Refusal>;

    /// Positions of the records with this fingerprint in this field, newest first.
    fn find(&self, field: u8, fingerprint: u64) -> Result<Vec<u64>, Refusal>;

    /// Where the record ends.
    fn head(&self) -> Head;
}

/// The appending side, owned by the writer.
pub trait Medium: Send + 'static {
    /// Makes the records durable as one batch, all or none.
    fn append(&mut self, records: &[Record]) -> Result<(), String>;

    /// Is told what became of rows, after it is durable.
    fn note(&mut self, position: u64, changes: HashMap<RowKey, Option<RowKind>>);

    /// Tells of a position whether all certificates recorded there have ended before `now`.
    fn has_ended(&self, now: i64) -> impl Fn(u64) -> bool;

    /// A snapshot is complete, or could not be written.
    fn snapshot_ended(&mut self, is_complete: bool) {
        let _ = is_complete;
    }

    /// Puts all away.
    fn close(self) -> Result<(), StoreError>;
}

/// Follows what a store does, for metrics. Called by the writer, which waits for it.
pub trait Observer: Send + 'static {
    /// A batch became durable, and took so long.
    fn synced(&self, took: Duration);

    /// A snapshot of the state is complete, or could not be written.
    fn snapshot_ended(&self, is_complete: bool) {
        let _ = is_complete;
    }
}

impl<F: Fn(Duration) + Send + 'static> Observer for F {
    fn synced(&self, took: Duration) {
        self(took);
    }
}
