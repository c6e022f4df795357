//! The append-only record of what the authority did: the truth from which all else is made again. Records go
//! into batches, a batch is one write and one `fdatasync`, each batch names the one before by SHA-256 (a hash
//! chain), and the server's journal key signs at intervals. What a record means is the caller's: here it is a
//! kind, an expiry, index keys and bytes.
//!
//! # The folder
//!
//! | file | what it is |
//! |---|---|
//! | `NNNNNNNNNNNNNNNNNNNN.seg` | a segment; the name is its first position in 20 decimal digits. All but the last are sealed and never change |
//! | `NNNNNNNNNNNNNNNNNNNN.idx` | the index of the sealed segment of that name; made again from it when missing or broken |
//! | `closed` | the mark of a clean close; removed at the next open before anything is appended |
//! | `acknowledged` | the last position that was acknowledged, or an earlier one; written after each batch, and not synced |
//! | `lock` | empty; whoever appends holds an exclusive `flock` on it |
//! | `*.tmp` | a file that was being written when a crash came; removed at the next open |
//!
//! All numbers are little-endian. Checksums are CRC-32 as in IEEE 802.3 and gzip. Positions count records,
//! from 1. Before the first batch the head is position 0 with a hash of 32 zero bytes.
//!
//! # A segment: header, then batches without gaps
//!
//! | offset | bytes | header of a segment |
//! |---|---|---|
//! | 0 | 8 | `SIGNETJL` |
//! | 8 | 4 | format version, now 1; a newer one is refused |
//! | 12 | 4 | checksum of bytes 0 to 11 and 16 to 87 |
//! | 16 | 8 | first position |
//! | 24 | 32 | hash of the batch before the first |
//! | 56 | 32 | Ed25519 public key of the signatures in this segment |
//!
//! | offset | bytes | batch |
//! |---|---|---|
//! | 0 | 4 | `JBAT` |
//! | 4 | 4 | checksum of bytes 8 to 63 |
//! | 8 | 4 | length L of the batch, all of it; at most 64 MiB |
//! | 12 | 4 | number of records; 0 in a batch that only signs |
//! | 16 | 8 | position of the first record, or the next position if there is none |
//! | 24 | 1 | 1 if signed, else 0 |
//! | 25 | 7 | zero |
//! | 32 | 32 | hash of the batch before |
//! | 64 | | records |
//! | L - 72 | 64 | if signed: Ed25519 signature of the 24 bytes `signet journal batch v1` NUL and the SHA-256 of bytes 0 to L - 73 |
//! | L - 8 | 4 | checksum of bytes 0 to L - 9 |
//! | L - 4 | 4 | `JEND` |
//!
//! The hash of a batch is the SHA-256 of its L bytes. A sealed segment ends with a signed batch.
//!
//! | offset | bytes | record |
//! |---|---|---|
//! | 0 | 4 | length R of what follows the checksum |
//! | 4 | 4 | checksum of the position (8 bytes) and the R bytes |
//! | 8 | 1 | kind |
//! | 9 | 1 | number of keys K |
//! | 10 | 8 | expiry, signed, seconds since 1970; 0 for none |
//! | 18 | 9 K | keys: field (1), fingerprint (8) |
//! | 18 + 9 K | | payload |
//!
//! # An index
//!
//! Blocks of 1024 bytes: a checksum (4) of the block's number (8) and its content, then 1020 bytes of
//! content, padded with zeros. Block 0 holds `SIGNETJI`, format version (4), first position (8), number of
//! records (8), length of the segment (8), latest expiry (8), hash of the segment's last batch (32), number
//! of kinds (8), number of keys (8). Three tables follow, each from a block of its own, entries never
//! straddling blocks:
//!
//! | bytes | entry |
//! |---|---|
//! | 9 | kind (1), position of its newest record (8) |
//! | 4 | where in the segment a record starts; in order of position |
//! | 17 | field (1), fingerprint (8), position (8); in this order |
//!
//! # The mark of a clean close
//!
//! `SIGNETJC`, first position of the last segment (8), its length (8), head position (8), head hash (32),
//! checksum of these 64 bytes (4).
//!
//! # The last acknowledged position
//!
//! `SIGNETJA`, position (8), checksum of these 16 bytes (4). A file that is missing or broken says nothing.
//!
//! # What a crash may leave, and what is damage
//!
//! Only one batch is being written at a time, so only the last batch of the last segment may be incomplete
//! (*torn*): the file ends before its length, or a sector of 512 bytes that it touches holds only zeros where
//! the batch should be (a batch neither begins nor ends with a zero byte). It is cut off and reported, unless
//! something shows that it was acknowledged: the file `acknowledged`, or a position that the caller knows.
//! All else that does not match is damage and stops the start: a wrong last batch that is complete, any wrong
//! batch before it, a torn batch after a clean close or at a position that was acknowledged, a gap between
//! segments. What remains undecided: after a power cut `acknowledged` may be behind, and then a disk that
//! lost a batch which it had confirmed looks like one that was interrupted.
//!
//! After a crash at a roll, or a roll whose last sync failed, an empty segment may follow the one that a
//! clean close names.
//!
//! # What is checked when
//!
//! A start reads the open segment and the headers and indexes of the sealed ones. A look-up checks the
//! record's checksum, which finds accidents, not intent: a record in a sealed segment that was forged
//! together with its checksum is served. Only `verify`, which follows all hashes and signatures, finds it.

mod acknowledged;
mod batch;
mod bytes;
mod error;
mod files;
mod index;
mod journal;
mod key;
mod mark;
mod memory;
mod reader;
mod record;
mod recovery;
mod scan;
mod sealing;
mod segment;
mod shared;
mod verify;
mod walk;

pub use error::{Damage, JournalError};
pub use journal::{Journal, Opened};
pub use key::{generate_signing_key, public_key};
pub use reader::Reader;
pub use record::{Cut, Durable, Head, Options, Record, SegmentFacts, Stored};
pub use scan::export;
pub use verify::{Verified, verify};

/// SHA-256 of a batch.
pub type Hash = [u8; 32];

/// The version of the format that this crate writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// The largest batch: its payloads, 18 bytes a record and 9 a key, and 136.
pub const MAX_BATCH_BYTES: usize = 64 << 20;

/// The largest size at which a segment may be set to roll.
pub const MAX_SEGMENT_BYTES: u64 = 1 << 30;
