//! Why a store could not be opened or closed.

use std::io;
use std::path::{Path, PathBuf};

use identity::Reason;
use journal::JournalError;

/// What went wrong with the store's files.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The journal; its words name file, byte and position.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A small file could not be written.
    #[error(transparent)]
    Write(#[from] runtime::atomic::WriteError),
    /// The journal's key is gone, and the journal is there.
    #[error("{} is missing, but the journal in {} was signed with it: put the key back from a copy", key.display(), journal.display())]
    KeyMissing {
        /// Where the key has to be.
        key: PathBuf,
        /// The journal's folder.
        journal: PathBuf,
    },
    /// The journal's key is not the one that it was signed with, or not a key.
    #[error("{}: {source}", key.display())]
    Key {
        /// The file of the key.
        key: PathBuf,
        /// What is wrong.
        source: Box<JournalError>,
    },
    /// An entry whose checksum is right and whose content is not.
    #[error(
        "entry at position {position} of the journal cannot be read: {why}; was it written by a newer program?"
    )]
    Entry {
        /// Its position.
        position: u64,
        /// What the decoder said.
        why: String,
    },
    /// The disk did not answer in time while the store was closed.
    #[error(
        "the store did not close in time because its disk does not answer; everything that was acknowledged is in the \
         journal, and the next start reads it as after a crash"
    )]
    Stalled,
    /// It was closed before, or its thread has ended.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// The word for a caller.
    pub fn reason(&self) -> Reason {
        Reason::StoreUnavailable
    }
}

/// For `map_err`: names the action and the file.
pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { action, path, source }
}
