//! What a start does: finds the segments, trusts the indexes of sealed ones where they fit the chain, reads the open one, and
//! tells a torn last batch, which is cut off, from damage, which stops the start.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Damage, JournalError, io_error};
use crate::index::{IndexError, IndexFile};
use crate::mark::{self, Mark};
use crate::memory::Memory;
use crate::segment::{self, SegmentHeader};
use crate::shared::{Index, Segment, index_path};
use crate::walk::{Step, Walk};
use crate::{Cut, Durable, Head, acknowledged, batch, files};

/// A journal as a start finds it, ready for the next batch.
pub(crate) struct Recovered {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) head: Head,
    /// Batches since the last signature.
    pub(crate) unsigned: u32,
    /// The last segment, open for writing, and its length.
    pub(crate) tail: File,
    pub(crate) length: u64,
    pub(crate) clean: bool,
    pub(crate) cut: Option<Cut>,
}

/// One segment, read from start to end.
struct Read {
    header: SegmentHeader,
    memory: Memory,
    head: Head,
    unsigned: u32,
    /// Where the last batch starts, or where the first would.
    last_at: u64,
    cut: Option<Cut>,
}

/// Recovers the journal of a folder, making an empty one where there is none. `known` is a position that was
/// durable once.
pub(crate) fn recover(
    dir: &Path,
    public_key: &[u8; 32],
    known: Option<&Durable>,
) -> Result<Recovered, JournalError> {
    files::remove_unfinished(dir)?;
    let durable = [acknowledged(dir), known.cloned()];
    let durable = durable
        .into_iter()
        .flatten()
        .max_by_key(|durable| durable.position);
    let mark = mark::read(dir)?;
    let mut listed = segment::list(dir)?;
    if listed.is_empty() {
        if let Some(mark) = mark {
            return Err(not_as_closed(dir, &mark, 0));
        }
        let header = SegmentHeader {
            first: 1,
            before: Head::EMPTY.hash,
            public_key: *public_key,
        };
        segment::create(dir, &header)?;
        listed = segment::list(dir)?;
    }
    let (_, last) = listed.pop().expect("a segment was found or made");
    let mut sealed = Sealed::new(dir, public_key);
    for (first, path) in &listed {
        sealed.follow(&read_header(path)?, path)?;
        sealed.push(*first, path)?;
    }
    let read = read_segment(&last, true)?;
    sealed.follow(&read.header, &last)?;
    check_end(dir, &read, mark.as_ref(), sealed.end.as_ref(), durable.as_ref())?;
    let mut segments = sealed.segments;
    let tail = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&last)
        .map_err(io_error("open", &last))?;
    if read.cut.is_some() {
        tail.set_len(read.memory.length).map_err(io_error("cut", &last))?;
    }
    match mark {
        Some(_) => mark::remove(dir)?,
        None => make_durable(&tail, &last, &read)?,
    }
    let (head, unsigned, length) = (read.head, read.unsigned, read.memory.length);
    segments.push(Arc::new(Segment::new(
        dir,
        read.header.first,
        Index::Memory(Arc::new(read.memory)),
    )));
    Ok(Recovered {
        segments,
        head,
        unsigned,
        tail,
        length,
        clean: mark.is_some(),
        cut: read.cut,
    })
}

/// The index of a sealed segment, made from all of its bytes.
pub(crate) fn read_sealed(path: &Path) -> Result<Memory, JournalError> {
    read_sealed_segment(path).map(|read| read.memory)
}

/// Damage at the end of a journal that was closed elsewhere.
pub(crate) fn not_as_closed(dir: &Path, mark: &Mark, at: u64) -> JournalError {
    JournalError::Damaged {
        path: segment::path(dir, mark.segment),
        at,
        position: mark.head.position,
        what: Damage::NotAsClosed {
            position: mark.head.position,
            hash: mark.head.hash,
        },
    }
}

/// A segment goes on where the one before ended, and all are signed by one key.
pub(crate) fn check_header(
    header: &SegmentHeader,
    path: &Path,
    before: &Head,
    public_key: &[u8; 32],
) -> Result<(), JournalError> {
    let expected = before.position + 1;
    if header.first != expected {
        return Err(gap(path, header.first, expected));
    }
    if header.before != before.hash {
        let what = Damage::Chain {
            found: header.before,
            expected: before.hash,
        };
        return Err(JournalError::Damaged {
            path: path.to_owned(),
            at: 0,
            position: header.first,
            what,
        });
    }
    if header.public_key != *public_key {
        let (found, given) = (header.public_key, *public_key);
        return Err(JournalError::OtherKey {
            path: path.to_owned(),
            found,
            given,
        });
    }
    Ok(())
}

/// The segment before this one is missing or lacks its end.
pub(crate) fn gap(path: &Path, found: u64, expected: u64) -> JournalError {
    if let (true, Some(dir)) = (found > expected, path.parent()) {
        return JournalError::Damaged {
            path: segment::path(dir, expected),
            at: 0,
            position: expected,
            what: Damage::Missing {
                next: path.to_owned(),
            },
        };
    }
    let field = "segment's first position, after those of the segment before,";
    let what = Damage::Field {
        field,
        found,
        expected,
    };
    JournalError::Damaged {
        path: path.to_owned(),
        at: 0,
        position: expected,
        what,
    }
}

fn read_header(path: &Path) -> Result<SegmentHeader, JournalError> {
    segment::read_header(&mut File::open(path).map_err(io_error("open", path))?, path)
}

/// The position that was acknowledged, as the journal's own file has it.
pub(crate) fn acknowledged(dir: &Path) -> Option<Durable> {
    let position = acknowledged::read(dir)?;
    let evidence = acknowledged::path(dir);
    Some(Durable { position, evidence })
}

/// The sealed segments that have been found so far, and where the last of them ends.
struct Sealed<'a> {
    dir: &'a Path,
    public_key: &'a [u8; 32],
    segments: Vec<Arc<Segment>>,
    end: Option<Mark>,
    /// The end is the one that an index file gives, which may be of another journal.
    is_end_from_file: bool,
}

impl<'a> Sealed<'a> {
    fn new(dir: &'a Path, public_key: &'a [u8; 32]) -> Self {
        Self {
            dir,
            public_key,
            segments: Vec::new(),
            end: None,
            is_end_from_file: false,
        }
    }

    /// Checks that a segment goes on where the last one ends. If it does not, the index of the last one may
    /// be stale: it is read again from the segment itself.
    fn follow(&mut self, header: &SegmentHeader, path: &Path) -> Result<(), JournalError> {
        let head = |end: &Option<Mark>| end.map_or(Head::EMPTY, |end| end.head);
        let checked = check_header(header, path, &head(&self.end), self.public_key);
        let (Err(_), true, Some(end)) = (&checked, self.is_end_from_file, self.end) else {
            return checked;
        };
        let path_of_end = segment::path(self.dir, end.segment);
        let read = read_sealed_segment(&path_of_end)?;
        if read.head == end.head {
            return checked;
        }
        self.segments.pop();
        self.add(
            end.segment,
            Index::Memory(Arc::new(read.memory)),
            read.head,
            end.length,
        );
        check_header(header, path, &read.head, self.public_key)
    }

    /// Takes in a sealed segment that follows the last one.
    fn push(&mut self, first: u64, path: &Path) -> Result<(), JournalError> {
        let length = path.metadata().map_err(io_error("read", path))?.len();
        let (index, head) = sealed_index(first, path, length)?;
        self.is_end_from_file = matches!(index, Index::File(_));
        self.add(first, index, head, length);
        Ok(())
    }

    fn add(&mut self, first: u64, index: Index, head: Head, length: u64) {
        let segment = Segment::new(self.dir, first, index);
        // Does nothing if the file is there; if it cannot be written, the index serves from memory.
        let _ = segment.seal();
        self.segments.push(Arc::new(segment));
        self.end = Some(Mark {
            segment: first,
            length,
            head,
        });
    }
}

/// From the index file if it fits, else from the segment.
fn sealed_index(first: u64, path: &Path, length: u64) -> Result<(Index, Head), JournalError> {
    let index_path = index_path(path);
    match IndexFile::open(&index_path, first, length) {
        Ok(file) => {
            let head = Head {
                position: file.next() - 1,
                hash: file.hash,
            };
            Ok((Index::File(file), head))
        }
        Err(IndexError::Broken) => {
            let read = read_sealed_segment(path)?;
            Ok((Index::Memory(Arc::new(read.memory)), read.head))
        }
        Err(IndexError::Io(source)) => Err(io_error("read", &index_path)(source)),
    }
}

/// Reads a segment that another follows: it ends with a signature.
fn read_sealed_segment(path: &Path) -> Result<Read, JournalError> {
    let read = read_segment(path, false)?;
    if read.unsigned > 0 {
        return Err(JournalError::Damaged {
            path: path.to_owned(),
            at: read.memory.length,
            position: read.head.position + 1,
            what: Damage::Unsigned,
        });
    }
    Ok(read)
}

fn read_segment(path: &Path, may_be_torn: bool) -> Result<Read, JournalError> {
    let mut walk = Walk::open(path, None)?;
    let header = *walk.header();
    let mut memory = Memory::new(header.first, walk.at(), header.before);
    let (mut unsigned, mut signed_at, mut last_at) = (0, None, walk.at());
    let cut = loop {
        match walk.step()? {
            Step::Batch(batch) => {
                last_at = batch.at;
                batch.records(|record| memory.add_read(batch.at, &record));
                (unsigned, signed_at) = match batch.header.signed {
                    true => (0, Some((batch.at, batch.header))),
                    false => (unsigned + 1, signed_at),
                };
            }
            Step::End => break None,
            Step::Torn(cut) if may_be_torn => break Some(cut),
            Step::Torn(cut) => return Err(walk.damaged(Damage::Torn { bytes: cut.bytes })),
        }
    };
    // One signature vouches for all before it.
    if let Some((at, signed)) = signed_at {
        let mut bytes = vec![0; signed.length as usize];
        let file = File::open(path).map_err(io_error("open", path))?;
        file.read_exact_at(&mut bytes, at)
            .map_err(io_error("read", path))?;
        batch::check_signature(&bytes, &header.public_key).map_err(|what| JournalError::Damaged {
            path: path.to_owned(),
            at,
            position: signed.first,
            what,
        })?;
    }
    let head = walk.head();
    memory.end_at(walk.at(), head.hash);
    Ok(Read {
        header,
        memory,
        head,
        unsigned,
        last_at,
        cut,
    })
}

/// After a crash, the last batch may have been read from a page cache whose sync failed or never came. It is written again as
/// it was read, so that the sync speaks of pages that are dirty; batches before it had a sync that succeeded.
fn make_durable(tail: &File, path: &Path, read: &Read) -> Result<(), JournalError> {
    let bytes_of_last = read.memory.length - read.last_at;
    if bytes_of_last > 0 {
        let mut last = vec![0; usize::try_from(bytes_of_last).expect("a batch fits into memory")];
        tail.read_exact_at(&mut last, read.last_at)
            .map_err(io_error("read", path))?;
        let (found, expected) = (batch::hash(&last), read.head.hash);
        if found != expected {
            let (at, position) = (read.last_at, read.head.position);
            let what = Damage::Chain { found, expected };
            return Err(JournalError::Damaged {
                path: path.to_owned(),
                at,
                position,
                what,
            });
        }
        tail.write_all_at(&last, read.last_at)
            .map_err(io_error("write", path))?;
    }
    tail.sync_all().map_err(io_error("sync", path))
}

/// Whether the end is one that a crash may leave. `sealed` is where the segment before the last ends.
fn check_end(
    dir: &Path,
    read: &Read,
    mark: Option<&Mark>,
    sealed: Option<&Mark>,
    durable: Option<&Durable>,
) -> Result<(), JournalError> {
    let end = Mark {
        segment: read.header.first,
        length: read.memory.length,
        head: read.head,
    };
    if let Some(mark) = mark
        && (!mark.is_end(&end, sealed) || read.cut.is_some())
    {
        return Err(not_as_closed(dir, mark, end.length));
    }
    check_durable(dir, &end, read.cut.as_ref(), durable)
}

/// Whether a journal with this end still holds what was durable once.
pub(crate) fn check_durable(
    dir: &Path,
    end: &Mark,
    cut: Option<&Cut>,
    durable: Option<&Durable>,
) -> Result<(), JournalError> {
    let found = end.head.position;
    let Some(Durable { position, evidence }) = durable.filter(|durable| durable.position > found) else {
        return Ok(());
    };
    let (acknowledged, evidence) = (*position, evidence.clone());
    if let Some(cut) = cut {
        return Err(JournalError::Damaged {
            path: cut.path.clone(),
            at: cut.at,
            position: cut.position,
            what: Damage::TornAcknowledged {
                bytes: cut.bytes,
                acknowledged,
                evidence,
            },
        });
    }
    // Only a sealed segment has an index, and another segment followed it.
    let index = index_path(&segment::path(dir, end.segment));
    if IndexFile::open(&index, end.segment, end.length).is_ok() {
        return Err(JournalError::Damaged {
            path: segment::path(dir, found + 1),
            at: 0,
            position: found + 1,
            what: Damage::MissingLast {
                acknowledged,
                evidence,
            },
        });
    }
    Err(JournalError::RolledBack {
        dir: dir.to_owned(),
        found,
        known: acknowledged,
        evidence,
    })
}
