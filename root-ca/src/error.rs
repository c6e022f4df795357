//! Why the ceremony stops.

use std::io;
use std::path::PathBuf;

use identity::Reason;
use issuance::{CsrError, KeyError, ProfileError, RootError, SignError};

/// What went wrong, and where.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    /// A file that would have to be overwritten.
    #[error("{} exists and is never overwritten, expected a path where nothing is", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file that cannot be read.
    #[error("{} cannot be read: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder that cannot be written.
    #[error("{} cannot be written: {source}", .path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that is longer than anything of its kind.
    #[error("{} is longer than {limit} bytes, which nothing of its kind is", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How long it may be.
        limit: u64,
    },
    /// A file that is not what it should be.
    #[error("{}: {why}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What was found, and what was expected.
        why: String,
    },
    /// A CSR that is refused.
    #[error("{}: {source}", .path.display())]
    Csr {
        /// The file.
        path: PathBuf,
        /// The check that it fails.
        source: CsrError,
    },
    /// The root's files do not make a root, or none can be made.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A key that cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The root does not sign this.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The longest lifetime is out of range.
    #[error("--max-life: {0}")]
    MaxLife(#[from] ProfileError),
    /// There is nobody to ask.
    #[error("nothing was signed: there is no terminal to ask on, expected --yes or a terminal")]
    NobodyThere,
    /// The answer was no.
    #[error("nothing was signed: the answer was no")]
    Declined,
    /// The terminal is gone.
    #[error("terminal failed: {source}")]
    Terminal {
        /// What the system said.
        source: io::Error,
    },
}

impl CeremonyError {
    /// The stable word for it.
    pub fn reason(&self) -> Reason {
        match self {
            CeremonyError::Exists { .. } | CeremonyError::Declined => Reason::Conflict,
            CeremonyError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Reason::NotFound
            }
            CeremonyError::TooLarge { .. } => Reason::TooLarge,
            CeremonyError::Read { .. }
            | CeremonyError::Content { .. }
            | CeremonyError::MaxLife(_)
            | CeremonyError::NobodyThere => Reason::ResourceInvalid,
            CeremonyError::Csr { source, .. } => source.reason(),
            CeremonyError::Root(error) => error.reason(),
            CeremonyError::Key(error) => error.reason(),
            CeremonyError::Sign(error) => error.reason(),
            CeremonyError::Write { .. } | CeremonyError::Terminal { .. } => Reason::Internal,
        }
    }
}
