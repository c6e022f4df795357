//! Reads one segment from its start, batch by batch, and judges what it meets: a good batch, the end, a last batch that was
//! never completely written (torn), or damage.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::batch::{self, BatchHeader, RecordView, Wrong};
use crate::error::{Damage, JournalError, io_error};
use crate::segment::{self, SegmentHeader};
use crate::{Cut, Hash, Head};

/// What a disk writes as one; a sector that was never written reads as zeros.
const SECTOR_BYTES: usize = 512;
/// A segment is rolled long before; offsets in it have four bytes.
const SEGMENT_LIMIT_BYTES: u64 = u32::MAX as u64;
const READ_AHEAD_BYTES: usize = 256 * 1024;

/// A place in a segment, with what the next batch has to follow.
pub(crate) struct Walk {
    path: PathBuf,
    file: BufReader<File>,
    header: SegmentHeader,
    /// Where reading ends: the file's length, or what a live journal has made known.
    length: u64,
    at: u64,
    position: u64,
    /// Not known after batches were skipped.
    before: Option<Hash>,
    batch: Vec<u8>,
}

/// What stands at a place.
pub(crate) enum Step<'a> {
    Batch(Batch<'a>),
    Torn(Cut),
    End,
}

/// A batch whose checksums and place in the chain are right. Its signature has not been looked at.
pub(crate) struct Batch<'a> {
    pub(crate) header: BatchHeader,
    pub(crate) at: u64,
    pub(crate) bytes: &'a [u8],
    pub(crate) hash: Hash,
}

impl Walk {
    /// Starts at the first batch; `length` bounds what is read.
    pub(crate) fn open(path: &Path, length: Option<u64>) -> Result<Self, JournalError> {
        let file = File::open(path).map_err(io_error("open", path))?;
        let length = match length {
            Some(length) => length,
            None => file.metadata().map_err(io_error("read", path))?.len(),
        };
        let mut file = BufReader::with_capacity(READ_AHEAD_BYTES, file);
        let header = segment::read_header(&mut file, path)?;
        if length > SEGMENT_LIMIT_BYTES {
            let (at, position) = (SEGMENT_LIMIT_BYTES, header.first);
            let what = Damage::Field {
                field: "length of the segment",
                found: length,
                expected: SEGMENT_LIMIT_BYTES,
            };
            return Err(JournalError::Damaged {
                path: path.to_owned(),
                at,
                position,
                what,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            header,
            length,
            at: segment::HEADER_BYTES as u64,
            position: header.first,
            before: Some(header.before),
            batch: Vec::new(),
        })
    }

    pub(crate) fn header(&self) -> &SegmentHeader {
        &self.header
    }

    /// Bytes judged so far.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// The position that comes next.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The head after the last batch. Only for a walk that skipped nothing.
    pub(crate) fn head(&self) -> Head {
        let hash = self.before.expect("the hash is known where nothing was skipped");
        Head {
            position: self.position - 1,
            hash,
        }
    }

    /// Passes over whole batches before the one that holds `position`, reading their headers only.
    pub(crate) fn skip_to(&mut self, position: u64) -> Result<(), JournalError> {
        while self.left() >= batch::HEADER_BYTES as u64 {
            let start = self.at;
            let Ok(header) = self.read_batch_header()? else {
                break;
            };
            let end = header.first.saturating_add(u64::from(header.records));
            if header.first != self.position
                || end > position
                || u64::from(header.length) > self.length - start
            {
                break;
            }
            let rest = i64::from(header.length) - batch::HEADER_BYTES as i64;
            self.file
                .seek_relative(rest)
                .map_err(io_error("read", &self.path))?;
            (self.at, self.position, self.before) = (start + u64::from(header.length), end, None);
        }
        let here = SeekFrom::Start(self.at);
        self.file
            .seek(here)
            .map(drop)
            .map_err(io_error("read", &self.path))
    }

    /// Judges what comes next, and passes over it if it is a good batch.
    pub(crate) fn step(&mut self) -> Result<Step<'_>, JournalError> {
        if self.left() == 0 {
            return Ok(Step::End);
        }
        if self.left() < batch::HEADER_BYTES as u64 {
            return Ok(Step::Torn(self.cut()));
        }
        let header = match self.read_batch_header()? {
            Ok(header) => header,
            Err(_) if self.is_unwritten_header()? => return Ok(Step::Torn(self.cut())),
            Err(what) => return Err(self.damaged(what)),
        };
        self.check_place(&header).map_err(|what| self.damaged(what))?;
        if u64::from(header.length) > self.left() {
            return Ok(Step::Torn(self.cut()));
        }
        self.batch.resize(header.length as usize, 0);
        self.file
            .read_exact(&mut self.batch[batch::HEADER_BYTES..])
            .map_err(io_error("read", &self.path))?;
        if let Err(Wrong {
            offset,
            position,
            what,
        }) = batch::check(&self.batch, &header, |_| ())
        {
            let is_last = u64::from(header.length) == self.left();
            if is_last && has_unwritten_sector(&self.batch, self.at, self.batch.len()) {
                return Ok(Step::Torn(self.cut()));
            }
            let at = self.at + offset as u64;
            return Err(JournalError::Damaged {
                path: self.path.clone(),
                at,
                position,
                what,
            });
        }
        let (at, hash) = (self.at, batch::hash(&self.batch));
        self.at += u64::from(header.length);
        self.position += u64::from(header.records);
        self.before = Some(hash);
        Ok(Step::Batch(Batch {
            header,
            at,
            bytes: &self.batch,
            hash,
        }))
    }

    /// Damage at the place reached.
    pub(crate) fn damaged(&self, what: Damage) -> JournalError {
        JournalError::Damaged {
            path: self.path.clone(),
            at: self.at,
            position: self.position,
            what,
        }
    }

    fn left(&self) -> u64 {
        self.length.saturating_sub(self.at)
    }

    fn cut(&self) -> Cut {
        Cut {
            path: self.path.clone(),
            at: self.at,
            bytes: self.left(),
            position: self.position,
        }
    }

    fn read_batch_header(&mut self) -> Result<Result<BatchHeader, Damage>, JournalError> {
        self.batch.resize(batch::HEADER_BYTES, 0);
        self.file
            .read_exact(&mut self.batch)
            .map_err(io_error("read", &self.path))?;
        let bytes = self
            .batch
            .as_slice()
            .try_into()
            .expect("the buffer has the header's size");
        Ok(batch::header(bytes))
    }

    fn check_place(&self, header: &BatchHeader) -> Result<(), Damage> {
        if header.first != self.position {
            return Err(Damage::Field {
                field: "batch's first position",
                found: header.first,
                expected: self.position,
            });
        }
        if header.first.checked_add(u64::from(header.records)).is_none() {
            return Err(Damage::Field {
                field: "batch's number of records",
                found: u64::from(header.records),
                expected: 0,
            });
        }
        match self.before {
            Some(expected) if header.before != expected => Err(Damage::Chain {
                found: header.before,
                expected,
            }),
            _ => Ok(()),
        }
    }

    /// Whether a header that cannot be read lies in a sector that was never written. Only one batch is written at a time, so
    /// whatever is followed by a batch was complete once, and its loss is damage.
    fn is_unwritten_header(&self) -> Result<bool, JournalError> {
        let mut rest = vec![0; usize::try_from(self.left()).expect("a segment fits into memory")];
        self.file
            .get_ref()
            .read_exact_at(&mut rest, self.at)
            .map_err(io_error("read", &self.path))?;
        Ok(has_unwritten_sector(&rest, self.at, batch::HEADER_BYTES) && !holds_batch(&rest[1..]))
    }
}

impl<'a> Batch<'a> {
    /// Calls `each` for its records.
    pub(crate) fn records(&self, each: impl FnMut(RecordView<'a>)) {
        batch::check(self.bytes, &self.header, each).expect("the batch was checked by the walk");
    }
}

/// Whether one of the sectors of which the first `within` bytes have a part is zero as far as `bytes` reach; they start at
/// `at` in their file. A part counts: what a batch shares with the batch before was written earlier.
fn has_unwritten_sector(bytes: &[u8], at: u64, within: usize) -> bool {
    let into_sector = usize::try_from(at % SECTOR_BYTES as u64).expect("less than a sector");
    let mut start = 0;
    let mut end = (SECTOR_BYTES - into_sector).min(bytes.len());
    while start < within.min(bytes.len()) {
        if bytes[start..end].iter().all(|byte| *byte == 0) {
            return true;
        }
        (start, end) = (end, (end + SECTOR_BYTES).min(bytes.len()));
    }
    false
}

fn holds_batch(bytes: &[u8]) -> bool {
    bytes.windows(batch::HEADER_BYTES).any(|window| {
        window.first() == Some(&b'J')
            && batch::header(window.try_into().expect("a window of the header's size")).is_ok()
    })
}
