//! All records from a position on, in order: of an open journal up to its head, or of a folder (`export`), which needs no
//! lock and no server.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Damage, JournalError};
use crate::segment;
use crate::shared::Shared;
use crate::walk::{Step, Walk};
use crate::{Stored, recovery};

/// All records of the journal in this folder from a position on, read without its lock, beside a live server or without one.
/// A torn last batch is left out. Checksums and chain are checked from `from` on; `verify` checks all.
///
/// # Errors
/// `Io` if the folder cannot be read. The iterator ends after its first error.
pub fn export(
    dir: &Path,
    from: u64,
) -> Result<impl Iterator<Item = Result<Stored, JournalError>> + use<>, JournalError> {
    let segments = segment::list(dir)?;
    let first = segments.first().map_or(1, |(first, _)| *first);
    Ok(Scan::new(Source::Folder(segments), from.max(first)))
}

/// The iterator.
pub(crate) struct Scan {
    source: Source,
    /// The next position to hand out.
    position: u64,
    walk: Option<Walk>,
    /// What `position` was when the walk was opened.
    opened_at: u64,
    /// Records of the batch that was read last.
    ready: VecDeque<Stored>,
    is_done: bool,
}

enum Source {
    Live(Arc<Shared>),
    Folder(Vec<(u64, PathBuf)>),
}

impl Scan {
    pub(crate) fn live(shared: Arc<Shared>, from: u64) -> Self {
        Self::new(Source::Live(shared), from.max(1))
    }

    fn new(source: Source, position: u64) -> Self {
        Self {
            source,
            position,
            walk: None,
            opened_at: position,
            ready: VecDeque::new(),
            is_done: false,
        }
    }

    /// Reads on until there is a record or nothing more.
    fn fill(&mut self) -> Result<(), JournalError> {
        while self.ready.is_empty() {
            let Some(walk) = &mut self.walk else {
                (self.walk, self.opened_at) = (self.source.walk_at(self.position)?, self.position);
                if self.walk.is_none() {
                    return Ok(());
                }
                continue;
            };
            let torn = match walk.step()? {
                Step::Batch(batch) => {
                    batch.records(|record| {
                        if record.position >= self.position {
                            self.ready.push_back(Stored::from(&record));
                        }
                    });
                    continue;
                }
                Step::Torn(cut) => Some(Damage::Torn { bytes: cut.bytes }),
                Step::End => None,
            };
            let end = walk.position();
            if let Some(what) = torn.filter(|_| self.source.goes_on_after(end)) {
                return Err(walk.damaged(what));
            }
            // The head says that the position is there; without this check a wrong index would be asked for ever.
            if self.source.is_live() && end <= self.opened_at {
                let (found, expected) = (end, self.opened_at + 1);
                return Err(walk.damaged(Damage::Field {
                    field: "end of the segment",
                    found,
                    expected,
                }));
            }
            self.position = end.max(self.position);
            let read = walk.header().first;
            self.walk = None;
            self.source.finished(read, self.position)?;
        }
        Ok(())
    }
}

impl Iterator for Scan {
    type Item = Result<Stored, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        if let Err(error) = self.fill() {
            self.is_done = true;
            return Some(Err(error));
        }
        let stored = self.ready.pop_front();
        match &stored {
            Some(stored) => self.position = stored.position + 1,
            None => self.is_done = true,
        }
        stored.map(Ok)
    }
}

impl Source {
    fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// A walk that stands at the batch which holds this position; none if there is no segment for it.
    fn walk_at(&self, position: u64) -> Result<Option<Walk>, JournalError> {
        let opened = match self {
            Self::Live(shared) => shared
                .holding(position)
                .map(|s| Walk::open(&s.path, Some(s.length()))),
            Self::Folder(segments) => {
                let after = segments.partition_point(|(first, _)| *first <= position);
                after
                    .checked_sub(1)
                    .map(|last| Walk::open(&segments[last].1, None))
            }
        };
        let Some(mut walk) = opened.transpose()? else {
            return Ok(None);
        };
        walk.skip_to(position)?;
        Ok(Some(walk))
    }

    /// Forgets a folder's segments up to the one that was read, so that its end is not read again, and checks that no segment
    /// is missing after it.
    fn finished(&mut self, read: u64, position: u64) -> Result<(), JournalError> {
        let Self::Folder(segments) = self else {
            return Ok(());
        };
        segments.retain(|(first, _)| *first > read);
        match segments.first() {
            Some((found, path)) if *found != position => Err(recovery::gap(path, *found, position)),
            _ => Ok(()),
        }
    }

    fn goes_on_after(&self, position: u64) -> bool {
        match self {
            Self::Live(_) => true,
            Self::Folder(segments) => segments.last().is_some_and(|(first, _)| *first > position),
        }
    }
}
