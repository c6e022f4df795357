//! A certificate on disk. `D` is a symbolic link to a folder beside it that never changes: `svid.pem`, `svid_key.pem` (0600),
//! `bundle.pem`, `source.json`. A rotation writes the next folder, syncs it and swaps the link by rename, so whoever resolves
//! `D` once reads a pair that fits. The folder before is kept for readers that are still at it.

mod generation;
mod own_file;
mod pending;
mod source_json;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use identity::{Fingerprint, KeyDigest, Leaf, TrustBundle};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::identities::Snapshot;
use crate::key::{KeyError, PrivateKey};
use crate::renewal::Receipt;
use crate::server::CaServer;
use crate::svid::{Svid, SvidRefused};

use generation::{Generation, create_folders, sync};

#[cfg(feature = "grpc")]
pub(crate) use generation::read_file;
pub use pending::PendingKey;

/// Largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 20;
/// How often a reader starts over when two rotations went past it.
const READ_ATTEMPTS: u32 = 5;
/// How long the lock is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// Between the name of `D` and the number of a folder in use.
const GENERATION: &str = ".gen-";
/// Between the name of `D` and the number of a folder that is being removed.
const REMOVED: &str = ".old-";

/// The place of a certificate on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    link: PathBuf,
}

/// What a certificate folder holds.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Leaf first, then intermediates.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key; absent where the caller keeps it elsewhere and sent a request of its own.
    pub key: Option<PrivateKey>,
    /// Whom to trust.
    pub bundle: TrustBundle,
    /// Where to renew.
    pub server: CaServer,
    /// The life to ask for; absent: what the server gives.
    pub life: Option<Duration>,
    /// When the certificate was received; absent in a folder of an earlier release.
    pub receipt: Option<Receipt>,
    /// Names the proof of the last enrolment: `Proof::fingerprint`.
    pub proof: Option<Fingerprint>,
}

/// A folder that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `D` is there and is not ours.
    #[error("{} is no certificate folder, expected a symbolic link that an earlier issue made, or nothing", path.display())]
    NotOurs {
        /// Where.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error("lock {} is held by another process, waited {after:?}", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
        /// How long was waited.
        after: Duration,
    },
    /// The file system does not answer.
    #[error("file system of {} did not answer within {after:?}", path.display())]
    Slow {
        /// The folder.
        path: PathBuf,
        /// How long was waited.
        after: Duration,
    },
    /// A path without a last part.
    #[error("{} cannot hold a certificate, expected a path that ends with a name", path.display())]
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// A file says something else than it should.
    #[error("{}: {why}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and what was expected.
        why: String,
    },
    /// A key that cannot be read or made.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Stored {
    /// What to write of a snapshot whose key is ours.
    pub fn of(snapshot: &Snapshot, server: &CaServer, life: Option<Duration>) -> Self {
        Self {
            chain: snapshot.svid().chain().to_vec(),
            key: Some(snapshot.svid().key().clone()),
            bundle: TrustBundle::clone(snapshot.bundle()),
            server: server.clone(),
            life,
            receipt: Some(snapshot.svid().receipt().clone()),
            proof: None,
        }
    }

    /// The same, enrolled with the proof of this fingerprint.
    pub fn enrolled_with(self, proof: Option<Fingerprint>) -> Self {
        Self { proof, ..self }
    }

    /// The certificate and its key, if peers would accept them at `now`; `None` where the key is elsewhere.
    pub fn svid(&self, now: OffsetDateTime) -> Result<Option<Svid>, SvidRefused> {
        let svid = |key: &PrivateKey| Svid::new(self.chain.clone(), key.clone(), &self.bundle, now);
        self.key.as_ref().map(svid).transpose()
    }

    /// The certificate and its key, if peers would have accepted them when it was received; `None` where the
    /// key is elsewhere. Whether it is still valid is in its receipt: the wall clock of this machine may be
    /// wrong.
    pub fn svid_as_received(&self) -> Result<Option<Svid>, SvidRefused> {
        let Some(key) = &self.key else {
            return Ok(None);
        };
        let receipt = match (&self.receipt, self.chain.first()) {
            (None, Some(leaf)) => {
                let leaf = Leaf::parse(leaf).map_err(identity::VerifyError::from)?;
                Receipt::assumed(leaf.validity())
            }
            (Some(receipt), _) => receipt.clone(),
            (None, None) => return Err(identity::VerifyError::ChainLength { found: 0 }.into()),
        };
        Svid::received(self.chain.clone(), key.clone(), &self.bundle, receipt).map(Some)
    }
}

pub(crate) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io { doing, path, source }
}

impl Folder {
    /// The folder `D` at this path; nothing is touched.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, FolderError> {
        let link: PathBuf = path.into();
        // A trailing slash would make every later call follow the link.
        let link: PathBuf = link.components().collect();
        match link.file_name() {
            Some(_) => Ok(Self { link }),
            None => Err(FolderError::NoName { path: link }),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.link
    }

    /// Reads what is there; the link is resolved once. `None` if there is nothing yet.
    pub fn read(&self) -> Result<Option<Stored>, FolderError> {
        for _ in 0..READ_ATTEMPTS {
            let Some(target) = self.resolve()? else {
                return Ok(None);
            };
            match Generation::at(target.clone()).read() {
                // Two rotations went past since the link was resolved, and the folder is gone.
                Err(FolderError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound && self.resolve()? != Some(target) => {}
                other => return other.map(Some),
            }
        }
        Err(io_error("read", &self.link)(io::Error::other(
            "it is rotated faster than it can be read",
        )))
    }

    /// The folder that the link points to just now.
    fn resolve(&self) -> Result<Option<PathBuf>, FolderError> {
        match fs::read_link(&self.link) {
            Ok(target) => Ok(Some(self.parent().join(target))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            // No link: a copy that somebody made is read as it is.
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => Ok(Some(self.link.clone())),
            Err(e) => Err(io_error("resolve", &self.link)(e)),
        }
    }

    /// Writes the next folder, swaps the link, removes what is older than the folder before, and forgets
    /// pending keys.
    pub fn write(&self, stored: &Stored) -> Result<(), FolderError> {
        self.write_keeping(stored, None)
    }

    /// As [`Folder::write`], but keeps the pending key with this digest: its request is not answered yet.
    pub fn write_keeping(&self, stored: &Stored, pending: Option<KeyDigest>) -> Result<(), FolderError> {
        let _lock = self.lock()?;
        self.refuse_strangers()?;
        let before = fs::read_link(&self.link).ok();
        if let Err(error) = self.remove_unfinished(before.as_deref()) {
            tracing::warn!(path = %self.link.display(), %error, "unfinished certificate folder not removed");
        }
        let number = self.last_generation()?.saturating_add(1);
        let next = self.beside(&format!("{GENERATION}{number:08}"));
        let generation = Generation::at(next.clone());
        generation.write(stored)?;
        let name = next.file_name().expect("made from a name");
        // The folder is durable before anything points to it.
        sync(self.parent())
            .and_then(|()| self.swap_link(Path::new(name)))
            .inspect_err(|_| generation.discard())?;
        sync(self.parent())?;
        // The certificate is in place: clean-up that fails is repeated by the next rotation.
        let cleaned = self
            .remove_older(&[Some(PathBuf::from(name)), before])
            .and(self.forget_pending_but(pending));
        if let Err(error) = cleaned {
            tracing::warn!(path = %self.link.display(), %error, "certificate stored, but not everything old is removed");
        }
        Ok(())
    }

    fn swap_link(&self, target: &Path) -> Result<(), FolderError> {
        let swap = self.beside(".swap");
        let _ = fs::remove_file(&swap);
        symlink(target, &swap).map_err(io_error("make the link", &swap))?;
        fs::rename(&swap, &self.link).map_err(io_error("swap the link", &self.link))
    }

    fn refuse_strangers(&self) -> Result<(), FolderError> {
        match fs::symlink_metadata(&self.link) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(io_error("look at", &self.link)(e)),
            Ok(found) if found.is_symlink() => Ok(()),
            // An empty folder, as `mkdir` or a package leaves it, is replaced; `remove_dir` refuses any other.
            Ok(found) if found.is_dir() => fs::remove_dir(&self.link).map_err(|_| FolderError::NotOurs {
                path: self.link.clone(),
            }),
            Ok(_) => Err(FolderError::NotOurs {
                path: self.link.clone(),
            }),
        }
    }

    fn lock(&self) -> Result<File, FolderError> {
        create_folders(self.parent())?;
        own_file::lock(&self.beside(".lock"), LOCK_PATIENCE)
    }

    fn parent(&self) -> &Path {
        match self.link.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = std::ffi::OsString::from(".");
        name.push(self.link.file_name().expect("the constructor checked it"));
        name.push(suffix);
        self.parent().join(name)
    }

    /// Numbers and names of what lies beside `D` with this suffix and a number.
    fn numbered(&self, suffix: &str) -> Result<Vec<(u64, PathBuf)>, FolderError> {
        let prefix = self.beside(suffix);
        let prefix = prefix.file_name().expect("made from a name").as_encoded_bytes();
        let mut found = Vec::new();
        for entry in fs::read_dir(self.parent()).map_err(io_error("list", self.parent()))? {
            let name = entry.map_err(io_error("list", self.parent()))?.file_name();
            let number = name
                .as_encoded_bytes()
                .strip_prefix(prefix)
                .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
            found.extend(number.map(|number| (number, PathBuf::from(name))));
        }
        Ok(found)
    }

    fn last_generation(&self) -> Result<u64, FolderError> {
        Ok(self
            .numbered(GENERATION)?
            .iter()
            .map(|(n, _)| *n)
            .max()
            .unwrap_or(0))
    }

    /// Removes folders that were begun after the one in use and never finished: a crash left them, and each
    /// holds a private key.
    fn remove_unfinished(&self, current: Option<&Path>) -> Result<(), FolderError> {
        let folders = self.numbered(GENERATION)?;
        let Some((used, _)) = folders.iter().find(|(_, name)| Some(name.as_path()) == current) else {
            return Ok(());
        };
        let unfinished = folders.iter().filter(|(number, _)| number > used);
        first_error(unfinished.map(|(_, name)| remove_tree(&self.parent().join(name))))
    }

    /// Renames first: a reader of a folder finds all of its files or none, never a chain whose key is gone.
    /// One that cannot be removed does not stop the others.
    fn remove_older(&self, keep: &[Option<PathBuf>]) -> Result<(), FolderError> {
        let older = self.numbered(GENERATION)?;
        let older = older
            .iter()
            .filter(|(_, name)| !keep.iter().flatten().any(|kept| kept == name));
        let renamed = first_error(older.map(|(number, name)| {
            let path = self.parent().join(name);
            let away = self.beside(&format!("{REMOVED}{number}"));
            fs::rename(&path, away).map_err(io_error("rename", &path))
        }));
        // Also those that a crash left behind.
        let removed = self.numbered(REMOVED)?;
        renamed.and(first_error(
            removed
                .iter()
                .map(|(_, name)| remove_tree(&self.parent().join(name))),
        ))
    }
}

/// Goes through all, and returns the first error.
fn first_error(mut results: impl Iterator<Item = Result<(), FolderError>>) -> Result<(), FolderError> {
    let first = results.find(Result::is_err).unwrap_or(Ok(()));
    results.for_each(drop);
    first
}

/// Removes a folder, or a file or link in its place; nothing outside of it is followed.
fn remove_tree(path: &Path) -> Result<(), FolderError> {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let removed = if is_folder {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.map_err(io_error("remove", path))
}

#[cfg(test)]
mod tests;
