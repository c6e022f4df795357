//! The appending side: one batch is one write and one sync. It is the only writer of its folder, and it makes known to
//! readers only what is durable.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::signature::Ed25519KeyPair;
use zeroize::Zeroizing;

use crate::acknowledged::Acknowledged;
use crate::error::{JournalError, io_error};
use crate::mark::{self, Mark};
use crate::memory::Memory;
use crate::reader::Reader;
use crate::recovery::{self, Recovered};
use crate::sealing::Sealer;
use crate::segment::{self, SegmentHeader};
use crate::shared::{Index, Segment, Shared};
use crate::{Cut, Durable, Head, MAX_SEGMENT_BYTES, Options, Record, batch, files, key};

/// After a batch larger than this the buffer is given back.
const KEPT_BUFFER_BYTES: usize = 4 << 20;
/// Disks write in units of at most this; what shares one with a batch that failed is written again.
const BLOCK_BYTES: u64 = 4096;

/// A journal that is open for appending. There is one for a folder, ensured by a lock on the file `lock`.
pub struct Journal {
    dir: PathBuf,
    shared: Arc<Shared>,
    head: Head,
    tail: Tail,
    /// Batches since the last signature.
    unsigned: u32,
    sign_every: u32,
    segment_bytes: u64,
    key: Ed25519KeyPair,
    buffer: Vec<u8>,
    offsets: Vec<u32>,
    acknowledged: Acknowledged,
    /// Stops before the lock is released.
    sealer: Sealer,
    _lock: File,
}

/// What a start found.
#[derive(Debug)]
pub struct Opened {
    /// The journal.
    pub journal: Journal,
    /// Whether it was closed by `close`, or is new.
    pub clean: bool,
    /// The torn batch that was cut off its end, to be told to the operator.
    pub cut: Option<Cut>,
}

/// The end of the open segment.
struct Tail {
    segment: Arc<Segment>,
    file: File,
    /// Bytes that are durable.
    length: u64,
    /// The durable bytes since the last multiple of `BLOCK_BYTES`.
    block: Vec<u8>,
    /// A write or sync failed, and what the file holds after `length`, and around it, is not known.
    suspect: bool,
}

impl Journal {
    /// Opens the journal of a folder, or makes both. Reads the open segment, and of sealed ones headers and indexes; a
    /// missing or broken index is made again. A torn last batch is cut off.
    ///
    /// # Errors
    /// `Damaged` with file and byte, `Version`, `OtherKey`, `InUse`, `BadKey`, `TooLarge` for options, `Io`.
    pub fn open(dir: &Path, options: Options) -> Result<Opened, JournalError> {
        Self::open_knowing(dir, options, None)
    }

    /// As `open`, for a caller that knows of a position that was durable: if the journal ends before it, or
    /// its torn last batch held it, that is no crash but a loss. The journal knows of one itself.
    ///
    /// # Errors
    /// As `open`; `RolledBack`.
    pub fn open_knowing(
        dir: &Path,
        options: Options,
        durable: Option<&Durable>,
    ) -> Result<Opened, JournalError> {
        let secret = Zeroizing::new(options.signing_key_pkcs8);
        let key = key::parse(&secret)?;
        if options.segment_bytes > MAX_SEGMENT_BYTES {
            let (found, limit) = (options.segment_bytes, MAX_SEGMENT_BYTES);
            return Err(JournalError::TooLarge {
                what: "a segment",
                found,
                limit,
            });
        }
        files::make_folder(dir)?;
        let lock = lock(dir)?;
        let is_new = segment::list(dir)?.is_empty();
        let recovered = recovery::recover(dir, &key::public_key_of(&key), durable)?;
        let (clean, cut) = (recovered.clean || is_new, recovered.cut.clone());
        let shared = Arc::new(Shared::new(recovered.head, recovered.segments.clone()));
        let sealer =
            Sealer::start(Arc::clone(&shared)).map_err(io_error("start the sealing thread for", dir))?;
        let journal = Self {
            dir: dir.to_owned(),
            shared,
            head: recovered.head,
            unsigned: recovered.unsigned,
            tail: Tail::of(recovered)?,
            sign_every: options.sign_every,
            segment_bytes: options.segment_bytes,
            key,
            acknowledged: Acknowledged::open(dir)?,
            buffer: Vec::new(),
            offsets: Vec::new(),
            sealer,
            _lock: lock,
        };
        Ok(Opened { journal, clean, cut })
    }

    /// Appends the records as one batch, and returns the position of the first; the others follow. They are durable when it
    /// returns. No records: nothing is written, and the position that comes next is returned.
    ///
    /// # Errors
    /// `TooLarge` before anything is written. `Io` when the system refused: readers never see these records, and the
    /// file is cut back to what it was, at once or before the next append, which can succeed when the cause is gone. Only if
    /// the process ends before it could be cut may a start find the records of a failed append.
    pub fn append(&mut self, records: &[Record]) -> Result<u64, JournalError> {
        let first = self.head.position + 1;
        if records.is_empty() {
            return Ok(first);
        }
        batch::check_size(records)?;
        self.tail.mend()?;
        if self.tail.length >= self.segment_bytes && first > self.tail.segment.first {
            self.roll()?;
        }
        let sign = self.unsigned.saturating_add(1) >= self.sign_every;
        self.write(records, sign)?;
        Ok(first)
    }

    /// Puts a signature over all that is not signed yet.
    ///
    /// # Errors
    /// As `append`.
    pub fn seal(&mut self) -> Result<(), JournalError> {
        self.tail.mend()?;
        if self.unsigned > 0 {
            self.write(&[], true)
        } else {
            Ok(())
        }
    }

    /// The last position, and the hash of the last batch.
    pub fn head(&self) -> Head {
        self.head
    }

    /// For look-ups, from any thread, also after this journal was closed.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// Signs the end and leaves the mark of a clean close: any other end found later is damage.
    ///
    /// # Errors
    /// As `append`; then the next start takes it for a crash.
    pub fn close(mut self) -> Result<Head, JournalError> {
        self.seal()?;
        let mark = Mark {
            segment: self.tail.segment.first,
            length: self.tail.length,
            head: self.head,
        };
        mark::write(&self.dir, &mark)?;
        Ok(self.head)
    }

    /// Writes one batch at the durable end, syncs it, and makes it known.
    fn write(&mut self, records: &[Record], sign: bool) -> Result<(), JournalError> {
        let key = sign.then_some(&self.key);
        let first = self.head.position + 1;
        let hash = batch::encode(
            &mut self.buffer,
            &mut self.offsets,
            records,
            first,
            &self.head.hash,
            key,
        );
        self.tail.write(&self.buffer)?;
        let written = self.buffer.len() as u64;
        self.head = Head {
            position: self.head.position + records.len() as u64,
            hash,
        };
        self.tail
            .segment
            .update(|memory| memory.add_written(records, &self.offsets, written, hash));
        self.shared.set_head(self.head);
        if !records.is_empty() {
            self.acknowledged.note(self.head.position);
        }
        self.unsigned = if sign { 0 } else { self.unsigned + 1 };
        if self.buffer.capacity() > KEPT_BUFFER_BYTES {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Seals the open segment, signed, and goes on in a new one.
    fn roll(&mut self) -> Result<(), JournalError> {
        self.seal()?;
        let header = SegmentHeader {
            first: self.head.position + 1,
            before: self.head.hash,
            public_key: key::public_key_of(&self.key),
        };
        let file = segment::create(&self.dir, &header)?;
        let length = segment::HEADER_BYTES as u64;
        let memory = Memory::new(header.first, length, header.before);
        let segment = Arc::new(Segment::new(
            &self.dir,
            header.first,
            Index::Memory(Arc::new(memory)),
        ));
        let block = segment::encode(&header).to_vec();
        self.shared.push(Arc::clone(&segment));
        self.tail = Tail {
            segment,
            file,
            length,
            block,
            suspect: false,
        };
        self.sealer.wake();
        Ok(())
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("dir", &self.dir)
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

impl Tail {
    fn of(recovered: Recovered) -> Result<Self, JournalError> {
        let segment = recovered
            .segments
            .last()
            .cloned()
            .expect("a recovered journal has a segment");
        let (file, length) = (recovered.tail, recovered.length);
        let mut block = vec![0; usize::try_from(length % BLOCK_BYTES).expect("less than a block")];
        let start = length - block.len() as u64;
        file.read_exact_at(&mut block, start)
            .map_err(io_error("read", &segment.path))?;
        Ok(Self {
            segment,
            file,
            length,
            block,
            suspect: false,
        })
    }

    /// Makes a batch durable at the end. On failure the file is mended at once if that is possible.
    fn write(&mut self, batch: &[u8]) -> Result<(), JournalError> {
        let path = &self.segment.path;
        let written = self
            .file
            .write_all_at(batch, self.length)
            .map_err(io_error("write", path))
            .and_then(|()| self.file.sync_data().map_err(io_error("sync", path)));
        if let Err(error) = written {
            self.suspect = true;
            // The caller is told of the first failure; of this one at the next append, if it lasts.
            let _ = self.mend();
            return Err(error);
        }
        self.length += batch.len() as u64;
        let in_block = usize::try_from(self.length % BLOCK_BYTES).expect("less than a block");
        if in_block <= batch.len() {
            self.block.clear();
            self.block.extend_from_slice(&batch[batch.len() - in_block..]);
        } else {
            self.block.extend_from_slice(batch);
        }
        Ok(())
    }

    /// Brings the file back to its durable length after a failure.
    ///
    /// After a failed sync Linux may mark the pages clean that it could not write: they look right in the page cache, a second
    /// sync of them succeeds, and the disk holds something else ("fsyncgate"). So nothing is read back here. The failed batch
    /// is cut off; earlier batches are safe, for their syncs succeeded, except where the last of them shares a block of
    /// the disk with the failed one. That block is written again, from our own copy, through a new descriptor, whose sync
    /// then speaks of pages that are dirty.
    fn mend(&mut self) -> Result<(), JournalError> {
        if !self.suspect {
            return Ok(());
        }
        let path = &self.segment.path;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(io_error("open", path))?;
        file.set_len(self.length).map_err(io_error("cut back", path))?;
        file.write_all_at(&self.block, self.length - self.block.len() as u64)
            .map_err(io_error("write", path))?;
        file.sync_all().map_err(io_error("sync", path))?;
        (self.file, self.suspect) = (file, false);
        Ok(())
    }
}

fn lock(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(io_error("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io_error("lock", &path)(source)),
    }
}

#[cfg(test)]
mod tests;
