//! A segment: one append-only file, named by its first position. Its header of 88 bytes says where it stands in the chain
//! and whose signatures it carries; batches follow without gaps.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::batch::checksum;
use crate::bytes::Cursor;
use crate::error::{Damage, JournalError, io_error};
use crate::{FORMAT_VERSION, Hash, files};

pub(crate) const HEADER_BYTES: usize = 88;
const MAGIC: &[u8; 8] = b"SIGNETJL";
const SUFFIX: &str = "seg";
const NAME_DIGITS: usize = 20;

/// The fixed start of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Position of the first record that goes into it.
    pub(crate) first: u64,
    /// Hash of the batch before its first.
    pub(crate) before: Hash,
    /// Ed25519 key of the signatures in it.
    pub(crate) public_key: [u8; 32],
}

/// Where the segment that starts at this position lies.
pub(crate) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.{SUFFIX}"))
}

/// All segments of a folder by first position; other files are not looked at.
pub(crate) fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, JournalError> {
    let mut found: Vec<_> = files::names(dir)?
        .into_iter()
        .filter_map(|path| Some((first_position(&path)?, path)))
        .collect();
    found.sort();
    Ok(found)
}

/// Makes a durable segment without batches, and opens it for appending.
pub(crate) fn create(dir: &Path, header: &SegmentHeader) -> Result<File, JournalError> {
    files::write_whole(&path(dir, header.first), &encode(header))
}

/// Reads the header from an open segment, and checks that the file's name says the same.
pub(crate) fn read_header(file: &mut impl Read, path: &Path) -> Result<SegmentHeader, JournalError> {
    let first = first_position(path).unwrap_or_default();
    let damaged = |what| JournalError::Damaged {
        path: path.to_owned(),
        at: 0,
        position: first,
        what,
    };
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    file.take(HEADER_BYTES as u64)
        .read_to_end(&mut bytes)
        .map_err(io_error("read", path))?;
    let Ok(bytes) = <[u8; HEADER_BYTES]>::try_from(bytes.as_slice()) else {
        return Err(damaged(Damage::Field {
            field: "length of the segment's header",
            found: bytes.len() as u64,
            expected: HEADER_BYTES as u64,
        }));
    };
    let (version, header) = decode(&bytes).map_err(damaged)?;
    if version > FORMAT_VERSION {
        return Err(JournalError::Version {
            path: path.to_owned(),
            found: version,
            known: FORMAT_VERSION,
        });
    }
    if header.first != first {
        return Err(damaged(Damage::Field {
            field: "first position in the segment's header",
            found: header.first,
            expected: first,
        }));
    }
    Ok(header)
}

fn first_position(path: &Path) -> Option<u64> {
    let digits = path
        .file_name()?
        .to_str()?
        .strip_suffix(SUFFIX)?
        .strip_suffix('.')?;
    let named = digits.len() == NAME_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    // Positions start at 1.
    named
        .then(|| digits.parse().ok().filter(|first| *first > 0))
        .flatten()
}

/// The header as it stands in the file.
pub(crate) fn encode(header: &SegmentHeader) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&header.first.to_le_bytes());
    bytes[24..56].copy_from_slice(&header.before);
    bytes[56..].copy_from_slice(&header.public_key);
    let checksum = header_checksum(&bytes);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Every version keeps the magic, the version, and a checksum of these 88 bytes, so that a bit flip in the version is not
/// taken for a newer one.
fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<(u32, SegmentHeader), Damage> {
    let mut cursor = Cursor(bytes);
    if cursor.array() != *MAGIC {
        return Err(Damage::Magic { expected: "segment" });
    }
    let version = cursor.u32();
    checksum("segment's header", cursor.u32(), header_checksum(bytes))?;
    Ok((
        version,
        SegmentHeader {
            first: cursor.u64(),
            before: cursor.array(),
            public_key: cursor.array(),
        },
    ))
}

fn header_checksum(bytes: &[u8; HEADER_BYTES]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&bytes[..12]);
    checksum.update(&bytes[16..]);
    checksum.finalize()
}
