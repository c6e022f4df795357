//! What can be wrong with a journal, in the words that a start, an append and `verify` share: which file, which byte, what
//! was found and what was expected.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::Hash;

/// Why the journal could not be opened, written, read or verified.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `write`, `sync`, ...
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another process has the journal open for appending.
    #[error("the journal in {} is in use by another process: stop that one first", dir.display())]
    InUse {
        /// The journal's folder.
        dir: PathBuf,
    },
    /// Bytes that cannot be what the journal wrote.
    #[error("{} at byte {at}: position {position}: {what}; restore the journal's folder from a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the bad entry starts.
        at: u64,
        /// The record there, or the one expected there.
        position: u64,
        /// What is wrong.
        what: Damage,
    },
    /// A newer program wrote this.
    #[error("{} has format version {found}, this program knows versions up to {known}: use the newer program", path.display())]
    Version {
        /// The segment.
        path: PathBuf,
        /// The version it names.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// The segments are signed by another key than the one given.
    #[error("{} is signed by the journal key {}, but the key given is {}: give the key that the journal was made with", path.display(), Hex(found), Hex(given))]
    OtherKey {
        /// The segment.
        path: PathBuf,
        /// Its Ed25519 public key.
        found: [u8; 32],
        /// The public key of the key given.
        given: [u8; 32],
    },
    /// The journal ends before a position that was durable once.
    #[error(
        "the journal in {} ends at position {found}, but position {known} was durable before, as {} says: it was lost or rolled back; \
         restore its folder from a copy",
        dir.display(), evidence.display()
    )]
    RolledBack {
        /// The journal's folder.
        dir: PathBuf,
        /// Its last position.
        found: u64,
        /// The position that is known elsewhere.
        known: u64,
        /// The file that says so.
        evidence: PathBuf,
    },
    /// The signing key is no key.
    #[error("the journal's signing key is not an Ed25519 key in PKCS#8: {why}")]
    BadKey {
        /// ring's word for it.
        why: String,
    },
    /// More than the format has room for.
    #[error("{what} of {found} is too large, at most {limit}")]
    TooLarge {
        /// What is.
        what: &'static str,
        /// Its size.
        found: u64,
        /// The largest that is accepted.
        limit: u64,
    },
}

/// What is wrong with the bytes at a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The four or eight bytes that open each structure are others.
    #[error("no {expected} starts here")]
    Magic {
        /// What should.
        expected: &'static str,
    },
    /// A CRC-32 does not match.
    #[error("the checksum of the {of} is {found:08x}, the bytes give {expected:08x}")]
    Checksum {
        /// Of what.
        of: &'static str,
        /// The stored one.
        found: u32,
        /// The computed one.
        expected: u32,
    },
    /// A length or a reserved field that no writer makes.
    #[error("the {field} is {found}, expected {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// The stored value.
        found: u64,
        /// What it had to be.
        expected: u64,
    },
    /// The batch does not follow the one before it.
    #[error(
        "it follows a batch with hash {}, but the one before has {}",
        Hex(found),
        Hex(expected)
    )]
    Chain {
        /// The hash in the batch.
        found: Hash,
        /// The hash of the batch before.
        expected: Hash,
    },
    /// The Ed25519 signature does not verify.
    #[error("its signature was not made by the journal key {}", Hex(public_key))]
    Signature {
        /// The key in the segment's header.
        public_key: [u8; 32],
    },
    /// A sealed segment's last batch carries no signature.
    #[error("the segment ends without a signature, though another follows")]
    Unsigned,
    /// The file ends within a batch, where it must not.
    #[error(
        "a batch is incomplete, {bytes} bytes of it are there; only the last batch of a journal that was not closed may be"
    )]
    Torn {
        /// Bytes from its start to the end of the file.
        bytes: u64,
    },
    /// The last batch is incomplete, and is known to have been complete.
    #[error(
        "a batch is incomplete, {bytes} bytes of it are there, but position {acknowledged} was acknowledged, as {} says",
        evidence.display()
    )]
    TornAcknowledged {
        /// Bytes from its start to the end of the file.
        bytes: u64,
        /// The position that was acknowledged.
        acknowledged: u64,
        /// The file that says so.
        evidence: PathBuf,
    },
    /// No segment starts here, and a later one is there.
    #[error("no segment starts here: this file is missing, or the segment before it has lost its end; {} follows", next.display())]
    Missing {
        /// The next segment that is there.
        next: PathBuf,
    },
    /// No segment follows a sealed one.
    #[error(
        "no segment starts here: this file is missing, as position {acknowledged} was acknowledged, as {} says",
        evidence.display()
    )]
    MissingLast {
        /// The position that was acknowledged.
        acknowledged: u64,
        /// The file that says so.
        evidence: PathBuf,
    },
    /// The mark of a clean close is not what was written.
    #[error("the mark of a clean close is broken; without this file the journal opens as after a crash")]
    BrokenMark,
    /// The journal was closed, and is not what it was then.
    #[error(
        "the journal was closed at position {position} with hash {}, which is not what is here",
        Hex(hash)
    )]
    NotAsClosed {
        /// The head's position at the close.
        position: u64,
        /// The head's hash at the close.
        hash: Hash,
    },
}

/// Lower-case hexadecimal.
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// For `map_err`: names the action and the file.
pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    move |source| JournalError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}
