//! Keys of requests that were not answered yet, next to a certificate folder: a request whose answer was lost
//! is repeated with the same key, so that the CA repeats its answer. A key that a certificate was issued for
//! is never used again.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use identity::{Clock as _, KeyDigest, Leaf, SystemClock};
use zeroize::Zeroizing;

use super::generation::{create_file, sync};
use super::own_file::open_own;
use super::{Folder, FolderError, MAX_FILE_BYTES, io_error};
use crate::key::{KeyType, PrivateKey};

/// A key for the next request.
#[derive(Clone, Debug)]
pub struct PendingKey {
    /// The key.
    pub key: PrivateKey,
    /// How long ago it was made; nothing if it is fresh.
    pub age: Duration,
}

impl Folder {
    /// The key of this kind that waits for its answer: the one made before, or a fresh one that is on disk
    /// before it is used. A key that the stored certificate or one of `used` has is replaced by a fresh one.
    pub fn next_key(&self, kind: KeyType, used: &[KeyDigest]) -> Result<PendingKey, FolderError> {
        let _lock = self.lock()?;
        let path = self.pending_path(kind);
        if let Some(pending) = read(&path)? {
            let digest = pending.key.digest();
            // After a crash between the swap of the link and the removal of the pending key the two are the
            // same.
            if !used.contains(&digest) && self.stored_digest() != Some(digest) {
                return Ok(pending);
            }
        }
        // A used key, one that was torn by a crash before its use, or a file of another owner.
        remove(&path)?;
        let key = PrivateKey::generate(kind)?;
        create_file(&path, key.to_pem().as_bytes(), 0o600)?;
        sync(self.parent())?;
        Ok(PendingKey {
            key,
            age: Duration::ZERO,
        })
    }

    /// As [`Folder::next_key`] where no key is known to have been used.
    pub fn pending_key(&self, kind: KeyType) -> Result<PrivateKey, FolderError> {
        Ok(self.next_key(kind, &[])?.key)
    }

    /// Forgets pending keys: one was answered, or will never be accepted.
    pub fn forget_pending(&self) -> Result<(), FolderError> {
        let _lock = self.lock()?;
        self.forget_pending_but(None)
    }

    /// Forgets pending keys except this one. The caller holds the lock.
    pub(super) fn forget_pending_but(&self, kept: Option<KeyDigest>) -> Result<(), FolderError> {
        let mut removed = false;
        for path in KeyType::ALL.iter().map(|kind| self.pending_path(*kind)) {
            let keeps = kept.is_some() && read(&path)?.map(|pending| pending.key.digest()) == kept;
            removed |= !keeps && remove(&path)?;
        }
        if removed { sync(self.parent()) } else { Ok(()) }
    }

    pub(super) fn pending_path(&self, kind: KeyType) -> PathBuf {
        self.beside(&format!(".pending-{}.pem", kind.word()))
    }

    /// The key of the certificate in the folder; `None` where it cannot be read.
    fn stored_digest(&self) -> Option<KeyDigest> {
        let stored = self.read().ok()??;
        let leaf = Leaf::parse(stored.chain.first()?).ok()?;
        Some(leaf.key_digest())
    }
}

/// Reads a pending key. `None` if there is none that can be used.
fn read(path: &Path) -> Result<Option<PendingKey>, FolderError> {
    let Some(file) = open_own(path)? else {
        return Ok(None);
    };
    let made = file.metadata().and_then(|facts| facts.modified());
    let made = made.map_err(io_error("examine", path))?;
    let mut text = Zeroizing::new(Vec::new());
    file.take(MAX_FILE_BYTES)
        .read_to_end(&mut text)
        .map_err(io_error("read", path))?;
    Ok(PrivateKey::from_pem(&text).ok().map(|key| PendingKey {
        key,
        age: SystemTime::from(SystemClock.now())
            .duration_since(made)
            .unwrap_or_default(),
    }))
}

/// Removes a file, and says whether there was one.
fn remove(path: &Path) -> Result<bool, FolderError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(io_error("remove", path)(e)),
    }
}
