//! Snapshots of the state in the journal: when one is due, and what its next record is. A state that fits one
//! part is one record. A larger one is written part by part between batches of entries: each part holds the
//! rows of a range of keys as they are at its position, so a start that reads all parts and all entries from
//! the first part on comes to the same state. Only the last part makes the snapshot count; a crash before it
//! leaves the snapshot before in force.

use std::time::{Duration, Instant};

use journal::Record;
use prost::Message as _;

use super::entry::{KIND_SNAPSHOT, KIND_SNAPSHOT_END, KIND_SNAPSHOT_PART, Snapshot, SnapshotPart};
use super::rows::RowKey;
use super::state::{Part, State};

/// Entries between two snapshots: a start reads at most so many. Few in tests, so that they come to it.
pub(super) const SNAPSHOT_EVERY: u64 = if cfg!(test) { 100 } else { 50_000 };
/// Bytes of rows in one part: no request waits for more than one of them to be written.
pub(super) const PART_BYTES: usize = if cfg!(test) { 4 << 10 } else { 1 << 20 };
/// Pause after a snapshot that could not be written; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// The snapshots of one store.
#[derive(Debug)]
pub(super) struct Snapshots {
    /// Position of the record that completed the newest.
    newest: u64,
    progress: Option<Progress>,
    retry: Option<Retry>,
}

/// A snapshot of which some parts are written.
#[derive(Debug)]
struct Progress {
    /// Position of the first part.
    begins: u64,
    /// The last key that is written.
    after: RowKey,
}

#[derive(Debug)]
struct Retry {
    at: Instant,
    pause: Duration,
}

/// The next record of a snapshot.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) record: Record,
    /// The last key in it; `None` if it completes the snapshot.
    through: Option<RowKey>,
}

impl Snapshots {
    /// Of a store whose newest snapshot was completed at this position; 0 without one.
    pub(super) fn after(newest: u64) -> Self {
        Self {
            newest,
            progress: None,
            retry: None,
        }
    }

    /// Whether a record should be written now that the journal has reached `position`.
    pub(super) fn is_due(&self, position: u64) -> bool {
        let is_wanted = self.progress.is_some() || position >= self.newest + SNAPSHOT_EVERY;
        is_wanted && self.retry.as_ref().is_none_or(|retry| Instant::now() >= retry.at)
    }

    /// Whether some parts are written and others are not.
    pub(super) fn is_under_way(&self) -> bool {
        self.progress.is_some()
    }

    /// Whether the journal ends with a snapshot.
    pub(super) fn is_at(&self, position: u64) -> bool {
        self.newest == position
    }

    /// The record that comes next, `at` seconds since 1970.
    pub(super) fn step(&self, state: &State, at: i64) -> Step {
        let after = self.progress.as_ref().map(|progress| progress.after.clone());
        let Part { rows, through } = state.part_after(after.as_deref().unwrap_or_default(), PART_BYTES);
        let (kind, payload) = match (after, &through) {
            (None, None) => (KIND_SNAPSHOT, Snapshot { at, rows }.encode_to_vec()),
            (after, through) => {
                let part = SnapshotPart {
                    at,
                    after: after.unwrap_or_default(),
                    through: through.clone().unwrap_or_default(),
                    rows,
                    begins: self.progress.as_ref().map_or(0, |progress| progress.begins),
                };
                let kind = match through {
                    Some(_) => KIND_SNAPSHOT_PART,
                    None => KIND_SNAPSHOT_END,
                };
                (kind, part.encode_to_vec())
            }
        };
        let record = Record {
            kind,
            payload,
            ..Record::default()
        };
        Step { record, through }
    }

    /// The record is durable at this position. Returns whether it completed the snapshot.
    pub(super) fn written(&mut self, position: u64, step: Step) -> bool {
        match step.through {
            Some(after) => {
                let begins = self
                    .progress
                    .as_ref()
                    .map_or(position, |progress| progress.begins);
                self.progress = Some(Progress { begins, after });
                false
            }
            None => {
                *self = Self::after(position);
                true
            }
        }
    }

    /// The record could not be written: the whole snapshot is tried again later.
    pub(super) fn failed(&mut self, now: Instant) -> Duration {
        let pause = self
            .retry
            .as_ref()
            .map_or(FIRST_PAUSE, |retry| (2 * retry.pause).min(LONGEST_PAUSE));
        self.progress = None;
        self.retry = Some(Retry {
            at: now + pause,
            pause,
        });
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_pause_up_to_an_hour() {
        let mut snapshots = Snapshots::after(0);
        let now = Instant::now();
        let pauses: Vec<_> = (0..8).map(|_| snapshots.failed(now).as_secs()).collect();
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert!(!snapshots.is_due(SNAPSHOT_EVERY), "the pause is not over");
        let Some(long_ago) = now.checked_sub(LONGEST_PAUSE) else {
            return;
        };
        let mut snapshots = Snapshots::after(0);
        snapshots.failed(long_ago);
        assert!(snapshots.is_due(SNAPSHOT_EVERY));
        assert!(!snapshots.is_due(SNAPSHOT_EVERY - 1), "not enough entries");
    }
}
