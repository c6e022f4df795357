//! The reading side: look-ups from memory and index files, beside appends and never waiting for one.

use std::sync::Arc;

use crate::error::JournalError;
use crate::scan::Scan;
use crate::shared::Shared;
use crate::{Head, SegmentFacts, Stored};

/// Reads what is durable. Cheap to clone; usable from any thread.
#[derive(Clone, Debug)]
pub struct Reader {
    shared: Arc<Shared>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The last durable position, and the hash of the last batch.
    pub fn head(&self) -> Head {
        self.shared.head()
    }

    /// The record at this position; `None` before the first and after the head.
    ///
    /// # Errors
    /// `Damaged` if its checksum does not match, `Io`.
    pub fn read(&self, position: u64) -> Result<Option<Stored>, JournalError> {
        self.shared
            .holding(position)
            .map(|segment| segment.read(position))
            .transpose()
    }

    /// Positions of the records that were given this key, newest first. Fingerprints may collide: the caller confirms each
    /// in the record.
    ///
    /// # Errors
    /// `Damaged` if an index had to be made again and its segment is damaged, `Io`.
    pub fn find(&self, field: u8, fingerprint: u64) -> Result<Vec<u64>, JournalError> {
        let key = (field, fingerprint);
        let mut found = Vec::new();
        for segment in self.shared.segments().iter().rev() {
            found.extend(
                segment
                    .find(&(key..=key))?
                    .into_iter()
                    .rev()
                    .map(|(_, position)| position),
            );
        }
        Ok(found)
    }

    /// All keys of one field in the segment that holds this position, by fingerprint: fingerprint and position. For a caller
    /// that keeps them in memory, and chooses segments by their latest expiry. Empty where no segment holds it.
    ///
    /// # Errors
    /// As `find`.
    pub fn keys_of_segment(&self, holding: u64, field: u8) -> Result<Vec<(u64, u64)>, JournalError> {
        let Some(segment) = self.shared.holding(holding) else {
            return Ok(Vec::new());
        };
        let found = segment.find(&((field, 0)..=(field, u64::MAX)))?;
        Ok(found
            .into_iter()
            .map(|((_, fingerprint), position)| (fingerprint, position))
            .collect())
    }

    /// Position of the newest record of this kind. Each index knows the newest of each kind, so that nothing is scanned.
    ///
    /// # Errors
    /// As `find`.
    pub fn newest_of_kind(&self, kind: u8) -> Result<Option<u64>, JournalError> {
        Ok(self
            .shared
            .segments()
            .iter()
            .rev()
            .find_map(|segment| segment.newest_of_kind(kind)))
    }

    /// All records from this position on, up to the head as it is when the end is reached.
    pub fn scan(&self, from: u64) -> impl Iterator<Item = Result<Stored, JournalError>> + use<> {
        Scan::live(Arc::clone(&self.shared), from)
    }

    /// What is known of each segment, oldest first. The last one is open.
    pub fn segments(&self) -> Vec<SegmentFacts> {
        self.shared
            .segments()
            .iter()
            .map(|segment| segment.facts())
            .collect()
    }
}
