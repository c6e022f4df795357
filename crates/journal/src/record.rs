//! The values that go in and come out.

use std::fmt;
use std::path::PathBuf;

use crate::Hash;
use crate::batch::RecordView;
use crate::error::Hex;

/// A start reads the open segment, so that this bounds how long one takes.
const SEGMENT_BYTES: u64 = 32 << 20;
const SIGN_EVERY: u32 = 64;

/// How a journal is kept.
#[derive(Clone)]
pub struct Options {
    /// A segment that has reached this size is sealed before the next append; at most `MAX_SEGMENT_BYTES`.
    pub segment_bytes: u64,
    /// Every so many batches one is signed; 0 and 1 sign each.
    pub sign_every: u32,
    /// The journal key, PKCS#8 DER. A journal keeps the key that it was made with.
    pub signing_key_pkcs8: Vec<u8>,
}

impl Options {
    /// Segments of 32 MiB, a signature every 64 batches.
    pub fn new(signing_key_pkcs8: Vec<u8>) -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            sign_every: SIGN_EVERY,
            signing_key_pkcs8,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("segment_bytes", &self.segment_bytes)
            .field("sign_every", &self.sign_every)
            .finish_non_exhaustive()
    }
}

/// What is appended. Kinds and fields are the caller's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// What the payload is.
    pub kind: u8,
    /// Until when it matters, seconds since 1970; 0 for no end.
    pub ends: i64,
    /// What it is found by: field and fingerprint; at most 255.
    pub keys: Vec<(u8, u64)>,
    /// The caller's bytes. Long runs of zeros make damage harder to tell from a crash (see the crate's description).
    pub payload: Vec<u8>,
}

/// What was appended, as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place; the first record has 1.
    pub position: u64,
    /// As appended.
    pub kind: u8,
    /// As appended.
    pub ends: i64,
    /// As appended.
    pub payload: Vec<u8>,
}

impl From<&RecordView<'_>> for Stored {
    fn from(record: &RecordView<'_>) -> Self {
        Self {
            position: record.position,
            kind: record.kind,
            ends: record.ends,
            payload: record.payload.to_vec(),
        }
    }
}

/// Where a journal ends. Prints the hash in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Position of the last record; 0 if there is none.
    pub position: u64,
    /// Hash of the last batch; zeros if there is none.
    pub hash: Hash,
}

impl Head {
    /// Of a journal without batches.
    pub const EMPTY: Self = Self {
        position: 0,
        hash: [0; 32],
    };
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.hash).fmt(f)
    }
}

/// A position that is known to have been durable, and the file that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durable {
    /// The position.
    pub position: u64,
    /// The file, for messages.
    pub evidence: PathBuf,
}

/// A torn batch at the end of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub path: PathBuf,
    /// The byte where the batch starts.
    pub at: u64,
    /// Bytes from there to the end of the file.
    pub bytes: u64,
    /// The position of its first record, which is given anew.
    pub position: u64,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            at,
            bytes,
            position,
        } = self;
        write!(
            f,
            "{} at byte {at}: position {position}: a batch is incomplete, {bytes} bytes of it",
            path.display()
        )
    }
}

/// What is known of a segment without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Its first position.
    pub first: u64,
    /// Its last position; `first - 1` while it is empty.
    pub last: u64,
    /// The latest `ends` of its records, seconds since 1970; 0 if none ends.
    pub latest_expiry: i64,
    /// The file.
    pub path: PathBuf,
}
