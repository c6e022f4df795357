//! A certificate on disk. `D` is a symbolic link to a folder beside it that never changes: `svid.pem`, `svid_key.pem` (0600),
//! `bundle.pem`, `source.json`. A rotation writes the next folder, syncs it and swaps the link by rename, so whoever resolves
//! `D` once reads a pair that fits. The folder before is kept for readers that are still at it.

mod generation;
mod source_json;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use identity::TrustBundle;
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::identities::Snapshot;
use crate::key::{KeyError, KeyType, PrivateKey};
use crate::server::CaServer;
use crate::svid::{Svid, SvidRefused};

use generation::{Generation, create_file, sync};

pub(crate) use generation::read_file;

/// Largest file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 20;
/// How often a reader starts over when two rotations went past it.
const READ_ATTEMPTS: u32 = 5;
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
        }
    }

    /// The certificate and its key, if peers would accept them at `now`; `None` where the key is elsewhere.
    pub fn svid(&self, now: OffsetDateTime) -> Result<Option<Svid>, SvidRefused> {
        let svid = |key: &PrivateKey| Svid::new(self.chain.clone(), key.clone(), &self.bundle, now);
        self.key.as_ref().map(svid).transpose()
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

    /// Writes the next folder, swaps the link, removes what is older than the folder before, and forgets the pending key.
    pub fn write(&self, stored: &Stored) -> Result<(), FolderError> {
        let _lock = self.lock()?;
        self.refuse_strangers()?;
        let before = fs::read_link(&self.link).ok();
        let next = self.beside(&format!("{GENERATION}{:08}", self.last_generation()? + 1));
        Generation::at(next.clone()).write(stored)?;
        let name = next.file_name().expect("made from a name");
        let swap = self.beside(".swap");
        let _ = fs::remove_file(&swap);
        symlink(name, &swap).map_err(io_error("make the link", &swap))?;
        fs::rename(&swap, &self.link).map_err(io_error("swap the link", &self.link))?;
        sync(self.parent())?;
        self.remove_older(&[Some(PathBuf::from(name)), before])?;
        self.forget_pending()
    }

    /// The key of this kind that waits for its answer: the one made before, or a fresh one that is on disk before it is used. A request whose
    /// answer was lost is repeated with it.
    pub fn pending_key(&self, kind: KeyType) -> Result<PrivateKey, FolderError> {
        let _lock = self.lock()?;
        let path = self.pending_path(kind);
        match read_file(&path) {
            Ok(text) => match PrivateKey::from_pem(&text) {
                Ok(key) => return Ok(key),
                // Torn by a crash before it was ever used: make another.
                Err(_) => fs::remove_file(&path).map_err(io_error("remove", &path))?,
            },
            Err(FolderError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(other) => return Err(other),
        }
        let key = PrivateKey::generate(kind)?;
        create_file(&path, key.to_pem().as_bytes(), 0o600)?;
        sync(self.parent())?;
        Ok(key)
    }

    /// Forgets pending keys: one was answered, or will never be accepted.
    pub fn forget_pending(&self) -> Result<(), FolderError> {
        for path in KeyType::ALL.iter().map(|kind| self.pending_path(*kind)) {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_error("remove", &path)(e)),
                _ => {}
            }
        }
        Ok(())
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
        fs::create_dir_all(self.parent()).map_err(io_error("make the folder", self.parent()))?;
        let path = self.beside(".lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(io_error("open", &path))?;
        file.lock().map_err(io_error("lock", &path))?;
        Ok(file)
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

    fn pending_path(&self, kind: KeyType) -> PathBuf {
        self.beside(&format!(".pending-{}.pem", kind.word()))
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

    /// Renames first: a reader of a folder finds all of its files or none, never a chain whose key is gone.
    fn remove_older(&self, keep: &[Option<PathBuf>]) -> Result<(), FolderError> {
        for (number, name) in self.numbered(GENERATION)? {
            if !keep.iter().flatten().any(|kept| *kept == name) {
                let path = self.parent().join(name);
                let away = self.beside(&format!("{REMOVED}{number}"));
                fs::rename(&path, away).map_err(io_error("rename", &path))?;
            }
        }
        // Also those that a crash left behind.
        for (_, name) in self.numbered(REMOVED)? {
            let path = self.parent().join(name);
            fs::remove_dir_all(&path).map_err(io_error("remove", &path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
