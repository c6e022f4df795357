//! The index file of a sealed segment: fixed-width entries in blocks of 1024 bytes that carry their own checksums, so that a
//! look-up reads and trusts a few blocks. It holds nothing that its segment does not: what is broken is made again.

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::bytes::Cursor;
use crate::error::JournalError;
use crate::memory::Memory;
use crate::{FORMAT_VERSION, Hash, files};

const MAGIC: &[u8; 8] = b"SIGNETJI";
const BLOCK_BYTES: usize = 1024;
const CHECKSUM_BYTES: usize = 4;
const KIND_BYTES: usize = 9;
const OFFSET_BYTES: usize = 4;
const KEY_BYTES: usize = 17;
/// A look-up reads this many blocks at first, and twice as many each time it has to go on, up to the most.
const FIRST_READ_BLOCKS: u64 = 2;
const MOST_READ_BLOCKS: u64 = 256;

/// Field and fingerprint.
pub(crate) type Key = (u8, u64);

/// One index key of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyEntry {
    pub(crate) field: u8,
    pub(crate) fingerprint: u64,
    /// Position of the record, less the segment's first.
    pub(crate) record: u32,
}

impl KeyEntry {
    pub(crate) fn key(&self) -> Key {
        (self.field, self.fingerprint)
    }
}

/// An index file, as its first block describes it. The file is opened for each look-up: a server has many sealed segments
/// and few file descriptors.
#[derive(Clone, Debug)]
pub(crate) struct IndexFile {
    pub(crate) first: u64,
    pub(crate) records: u64,
    /// Bytes of the segment.
    pub(crate) length: u64,
    pub(crate) latest_expiry: i64,
    /// Hash of the segment's last batch.
    pub(crate) hash: Hash,
    /// Newest position of each kind.
    pub(crate) kinds: Vec<(u8, u64)>,
    offsets: Table,
    keys: Table,
}

/// Entries of one width in consecutive blocks.
#[derive(Clone, Copy, Debug)]
struct Table {
    first_block: u64,
    entries: u64,
    width: usize,
}

/// Why an index gave no answer.
#[derive(Debug)]
pub(crate) enum IndexError {
    /// It is missing or not what was written: to be made again from its segment.
    Broken,
    /// The system refused.
    Io(io::Error),
}

impl From<io::Error> for IndexError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => Self::Broken,
            _ => Self::Io(error),
        }
    }
}

/// Writes the index of a segment, by a file beside it and a rename.
pub(crate) fn write(path: &Path, memory: &Memory) -> Result<(), JournalError> {
    let keys = memory.sorted_keys();
    let mut out =
        Vec::with_capacity((memory.offsets.len() * OFFSET_BYTES + keys.len() * KEY_BYTES) * 65 / 64 + 4096);
    let mut header = Vec::with_capacity(BLOCK_BYTES - CHECKSUM_BYTES);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    header.extend_from_slice(&memory.first.to_le_bytes());
    header.extend_from_slice(&(memory.offsets.len() as u64).to_le_bytes());
    header.extend_from_slice(&memory.length.to_le_bytes());
    header.extend_from_slice(&memory.latest_expiry.to_le_bytes());
    header.extend_from_slice(&memory.hash);
    header.extend_from_slice(&(memory.kinds.len() as u64).to_le_bytes());
    header.extend_from_slice(&(keys.len() as u64).to_le_bytes());
    put_block(&mut out, &header);
    put_table(
        &mut out,
        KIND_BYTES,
        memory.kinds.iter(),
        |block, (kind, position)| {
            block.push(*kind);
            block.extend_from_slice(&position.to_le_bytes());
        },
    );
    put_table(&mut out, OFFSET_BYTES, memory.offsets.iter(), |block, offset| {
        block.extend_from_slice(&offset.to_le_bytes());
    });
    put_table(&mut out, KEY_BYTES, keys.iter(), |block, entry| {
        block.push(entry.field);
        block.extend_from_slice(&entry.fingerprint.to_le_bytes());
        block.extend_from_slice(&(memory.first + u64::from(entry.record)).to_le_bytes());
    });
    files::write_whole(path, &out).map(drop)
}

impl IndexFile {
    /// Reads the first block and the newest positions by kind. `first` is the segment's first position, `length` its bytes.
    pub(crate) fn open(path: &Path, first: u64, length: u64) -> Result<Self, IndexError> {
        let file = File::open(path)?;
        let header = read_blocks(&file, 0, 1)?;
        let mut cursor = Cursor(content_of(0, &header)?);
        if cursor.array() != *MAGIC || cursor.u32() != FORMAT_VERSION {
            return Err(IndexError::Broken);
        }
        let (found_first, records) = (cursor.u64(), cursor.u64());
        let (found_length, latest_expiry, hash) = (cursor.u64(), cursor.i64(), cursor.array());
        let kinds = Table {
            first_block: 1,
            entries: cursor.u64(),
            width: KIND_BYTES,
        };
        let offsets = Table {
            first_block: kinds.end()?,
            entries: records,
            width: OFFSET_BYTES,
        };
        let keys = Table {
            first_block: offsets.end()?,
            entries: cursor.u64(),
            width: KEY_BYTES,
        };
        let whole = keys.end()?.checked_mul(BLOCK_BYTES as u64) == Some(file.metadata()?.len());
        if found_first != first || found_length != length || !whole || kinds.entries > 256 {
            return Err(IndexError::Broken);
        }
        let kinds = (0..kinds.entries)
            .map(|i| kinds.entry(&file, i, |mut entry| (entry.u8(), entry.u64())))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            first,
            records,
            length,
            latest_expiry,
            hash,
            kinds,
            offsets,
            keys,
        })
    }

    /// The position after the last record.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.records
    }

    /// Where the record at this position starts in the segment. The segment holds the position.
    pub(crate) fn offset(&self, path: &Path, position: u64) -> Result<u32, IndexError> {
        self.offsets
            .entry(&File::open(path)?, position - self.first, |mut entry| entry.u32())
    }

    /// The entries with these keys, in order.
    pub(crate) fn find(&self, path: &Path, keys: &RangeInclusive<Key>) -> Result<Vec<KeyEntry>, IndexError> {
        let file = File::open(path)?;
        // The first block that starts at or after the first key; its first entry is there or in the block before.
        let (mut low, mut high) = (0, self.keys.blocks());
        while low < high {
            let middle = low + (high - low) / 2;
            let start = self.keys.entry(&file, middle * self.keys.per_block(), |entry| {
                self.key_entry(entry)
            })??;
            if start.key() < *keys.start() {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let mut found = Vec::new();
        let (mut next, mut count) = (low.saturating_sub(1), FIRST_READ_BLOCKS);
        while next < self.keys.blocks() {
            let blocks = next..self.keys.blocks().min(next + count);
            let bytes = read_blocks(&file, self.keys.first_block + next, blocks.end - next)?;
            (next, count) = (blocks.end, (2 * count).min(MOST_READ_BLOCKS));
            for (block, bytes) in blocks.zip(bytes.chunks_exact(BLOCK_BYTES)) {
                let content = content_of(self.keys.first_block + block, bytes)?;
                for entry in content.chunks_exact(KEY_BYTES).take(self.keys.entries_in(block)) {
                    let entry = self.key_entry(Cursor(entry))?;
                    if entry.key() > *keys.end() {
                        return Ok(found);
                    }
                    if keys.contains(&entry.key()) {
                        found.push(entry);
                    }
                }
            }
        }
        Ok(found)
    }

    fn key_entry(&self, mut entry: Cursor<'_>) -> Result<KeyEntry, IndexError> {
        let (field, fingerprint, position) = (entry.u8(), entry.u64(), entry.u64());
        let record = position
            .checked_sub(self.first)
            .and_then(|record| u32::try_from(record).ok());
        Ok(KeyEntry {
            field,
            fingerprint,
            record: record.ok_or(IndexError::Broken)?,
        })
    }
}

impl Table {
    fn per_block(&self) -> u64 {
        ((BLOCK_BYTES - CHECKSUM_BYTES) / self.width) as u64
    }

    fn blocks(&self) -> u64 {
        self.entries.div_ceil(self.per_block())
    }

    /// The block after its last.
    fn end(&self) -> Result<u64, IndexError> {
        self.first_block
            .checked_add(self.blocks())
            .ok_or(IndexError::Broken)
    }

    fn entries_in(&self, block: u64) -> usize {
        let entries = (self.entries - block * self.per_block()).min(self.per_block());
        usize::try_from(entries).expect("a block has few entries")
    }

    fn entry<T>(&self, file: &File, entry: u64, read: impl Fn(Cursor<'_>) -> T) -> Result<T, IndexError> {
        let block = self.first_block + entry / self.per_block();
        let bytes = read_blocks(file, block, 1)?;
        let content = content_of(block, &bytes)?;
        let within = usize::try_from(entry % self.per_block()).expect("a block has few entries");
        Ok(read(Cursor(&content[within * self.width..])))
    }
}

/// Some blocks as they are in the file.
fn read_blocks(file: &File, first: u64, count: u64) -> Result<Vec<u8>, IndexError> {
    let at = first.checked_mul(BLOCK_BYTES as u64).ok_or(IndexError::Broken)?;
    let count = usize::try_from(count).map_err(|_| IndexError::Broken)?;
    let mut bytes = vec![0; count * BLOCK_BYTES];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// What a block holds, after its checksum was compared. The block's number is under the checksum too.
fn content_of(block: u64, bytes: &[u8]) -> Result<&[u8], IndexError> {
    let mut cursor = Cursor(bytes);
    if cursor.u32() != block_checksum(block, cursor.0) {
        return Err(IndexError::Broken);
    }
    Ok(cursor.0)
}

fn put_table<T>(
    out: &mut Vec<u8>,
    width: usize,
    entries: impl Iterator<Item = T>,
    put: impl Fn(&mut Vec<u8>, T),
) {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    for entry in entries {
        put(&mut block, entry);
        if block.len() + width > BLOCK_BYTES - CHECKSUM_BYTES {
            put_block(out, &block);
            block.clear();
        }
    }
    if !block.is_empty() {
        put_block(out, &block);
    }
}

fn put_block(out: &mut Vec<u8>, content: &[u8]) {
    let block = (out.len() / BLOCK_BYTES) as u64;
    let start = out.len() + CHECKSUM_BYTES;
    out.extend_from_slice(&[0; CHECKSUM_BYTES]);
    out.extend_from_slice(content);
    out.resize(start + BLOCK_BYTES - CHECKSUM_BYTES, 0);
    let checksum = block_checksum(block, &out[start..]);
    out[start - CHECKSUM_BYTES..start].copy_from_slice(&checksum.to_le_bytes());
}

fn block_checksum(block: u64, content: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&block.to_le_bytes());
    checksum.update(content);
    checksum.finalize()
}
