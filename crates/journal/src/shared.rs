//! What the appending side makes known and readers see: the head, and for each segment its index. Locks are held for
//! look-ups and for the publication of a batch that is durable already; never while something is written or synced.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::batch;
use crate::error::{Damage, JournalError, io_error};
use crate::index::{self, IndexError, IndexFile, Key};
use crate::memory::Memory;
use crate::{Head, MAX_BATCH_BYTES, SegmentFacts, Stored, recovery, segment};

/// Most records fit into this, so that one read of the file is enough.
const READ_BYTES: usize = 2048;
const SOUND: &str = "nothing panics while it holds this lock";

/// The state that the journal and its readers share.
pub(crate) struct Shared {
    state: RwLock<State>,
}

struct State {
    head: Head,
    /// By first position; never empty; all but the last are sealed.
    segments: Vec<Arc<Segment>>,
}

/// One segment and its index.
pub(crate) struct Segment {
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
    index_path: PathBuf,
    index: RwLock<Index>,
    /// Held by whoever writes the index file.
    sealing: Mutex<()>,
}

/// Where a segment's index is.
pub(crate) enum Index {
    /// Of the open segment, and of one whose index file could not be written yet.
    Memory(Arc<Memory>),
    File(IndexFile),
}

impl Shared {
    pub(crate) fn new(head: Head, segments: Vec<Arc<Segment>>) -> Self {
        Self {
            state: RwLock::new(State { head, segments }),
        }
    }

    pub(crate) fn head(&self) -> Head {
        self.state().head
    }

    /// Makes a durable batch known, whose records are in the index already.
    pub(crate) fn set_head(&self, head: Head) {
        self.state.write().expect(SOUND).head = head;
    }

    pub(crate) fn push(&self, segment: Arc<Segment>) {
        self.state.write().expect(SOUND).segments.push(segment);
    }

    /// All segments, oldest first.
    pub(crate) fn segments(&self) -> Vec<Arc<Segment>> {
        self.state().segments.clone()
    }

    /// The segment that holds this position, if it is durable.
    pub(crate) fn holding(&self, position: u64) -> Option<Arc<Segment>> {
        let state = self.state();
        if position > state.head.position {
            return None;
        }
        let after = state
            .segments
            .partition_point(|segment| segment.first <= position);
        state.segments.get(after.checked_sub(1)?).cloned()
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().expect(SOUND)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("head", &self.head())
            .finish_non_exhaustive()
    }
}

impl Segment {
    pub(crate) fn new(dir: &Path, first: u64, index: Index) -> Self {
        let path = segment::path(dir, first);
        let index_path = index_path(&path);
        Self {
            first,
            path,
            index_path,
            index: RwLock::new(index),
            sealing: Mutex::new(()),
        }
    }

    /// Lets the appending side put a durable batch into the open segment's index.
    pub(crate) fn update(&self, update: impl FnOnce(&mut Memory)) {
        match &mut *self.index_mut() {
            Index::Memory(memory) => update(Arc::get_mut(memory).expect("only sealed segments are shared")),
            Index::File(_) => unreachable!("the open segment is never sealed"),
        }
    }

    /// Writes the index file of a sealed segment, unless it is written. On failure the index stays in memory.
    pub(crate) fn seal(&self) -> Result<(), JournalError> {
        let _alone = self.sealing.lock().expect(SOUND);
        // The index goes on answering while its file is written and synced.
        let memory = match &*self.index() {
            Index::File(_) => return Ok(()),
            Index::Memory(memory) => Arc::clone(memory),
        };
        index::write(&self.index_path, &memory)?;
        let file = IndexFile::open(&self.index_path, memory.first, memory.length);
        *self.index_mut() = Index::File(file.map_err(|error| self.index_error(error))?);
        Ok(())
    }

    /// The record at this position, which the segment holds.
    pub(crate) fn read(&self, position: u64) -> Result<Stored, JournalError> {
        let record = usize::try_from(position - self.first).expect("a segment has fewer records than 2^32");
        let at = self.look_up(
            |memory| memory.offsets.get(record).copied(),
            |file, path| file.offset(path, position).map(Some),
        )?;
        // Without an offset, the index was made again from a segment that has lost its end.
        let at = at.map_or(self.length(), u64::from);
        let damaged = |what| JournalError::Damaged {
            path: self.path.clone(),
            at,
            position,
            what,
        };
        let file = File::open(&self.path).map_err(io_error("open", &self.path))?;
        let mut bytes = read_up_to(&file, READ_BYTES, at).map_err(io_error("read", &self.path))?;
        let needed = bytes.first_chunk().map_or(0, |start| batch::record_bytes(*start));
        if needed > READ_BYTES && needed <= MAX_BATCH_BYTES {
            bytes = read_up_to(&file, needed, at).map_err(io_error("read", &self.path))?;
        }
        let (record, _) = batch::record(&bytes, position, 0).map_err(damaged)?;
        Ok(Stored::from(&record))
    }

    /// The keys in this range, in order, each with the position of its record; equal ones once.
    pub(crate) fn find(&self, keys: &RangeInclusive<Key>) -> Result<Vec<(Key, u64)>, JournalError> {
        let mut found = self.look_up(|memory| memory.find(keys), |file, path| file.find(path, keys))?;
        found.dedup();
        Ok(found
            .iter()
            .map(|entry| (entry.key(), self.first + u64::from(entry.record)))
            .collect())
    }

    pub(crate) fn newest_of_kind(&self, kind: u8) -> Option<u64> {
        let index = self.index();
        let kinds = match &*index {
            Index::Memory(memory) => &memory.kinds,
            Index::File(file) => &file.kinds,
        };
        kinds
            .iter()
            .find(|(known, _)| *known == kind)
            .map(|(_, position)| *position)
    }

    /// Bytes of it that are durable.
    pub(crate) fn length(&self) -> u64 {
        match &*self.index() {
            Index::Memory(memory) => memory.length,
            Index::File(file) => file.length,
        }
    }

    pub(crate) fn facts(&self) -> SegmentFacts {
        let (next, latest_expiry) = match &*self.index() {
            Index::Memory(memory) => (memory.next(), memory.latest_expiry),
            Index::File(file) => (file.next(), file.latest_expiry),
        };
        SegmentFacts {
            first: self.first,
            last: next - 1,
            latest_expiry,
            path: self.path.clone(),
        }
    }

    /// Asks the index wherever it is; one that proves broken is made again from the segment, which is the truth.
    fn look_up<T>(
        &self,
        in_memory: impl Fn(&Memory) -> T,
        in_file: impl FnOnce(&IndexFile, &Path) -> Result<T, IndexError>,
    ) -> Result<T, JournalError> {
        let answer = match &*self.index() {
            Index::Memory(memory) => return Ok(in_memory(memory)),
            Index::File(file) => in_file(file, &self.index_path),
        };
        match answer {
            Ok(answer) => Ok(answer),
            Err(IndexError::Broken) => {
                let memory = Arc::new(recovery::read_sealed(&self.path)?);
                let answer = in_memory(&memory);
                *self.index_mut() = Index::Memory(memory);
                // If it cannot be written now, it serves from memory and is written with the next sealed segment.
                let _ = self.seal();
                Ok(answer)
            }
            Err(error) => Err(self.index_error(error)),
        }
    }

    fn index_error(&self, error: IndexError) -> JournalError {
        match error {
            IndexError::Io(source) => io_error("read", &self.index_path)(source),
            IndexError::Broken => JournalError::Damaged {
                path: self.index_path.clone(),
                at: 0,
                position: self.first,
                what: Damage::Magic { expected: "index" },
            },
        }
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().expect(SOUND)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().expect(SOUND)
    }
}

/// The index file of the segment at this path.
pub(crate) fn index_path(segment: &Path) -> PathBuf {
    segment.with_extension("idx")
}

fn read_up_to(file: &File, limit: usize, at: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; limit];
    let mut there = 0;
    while there < limit {
        match file.read_at(&mut bytes[there..], at + there as u64) {
            Ok(0) => break,
            Ok(count) => there += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(there);
    Ok(bytes)
}
