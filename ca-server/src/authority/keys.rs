//! The folder `keys/`: private keys of authorities, and of the root where this instance made one. Files are
//! 0600 and written by rename; a key is found by the digest of its public key, which certificates carry and
//! file names cannot forge. A folder or key that other users can read or change is refused: a restored backup
//! or a volume may have lost its modes.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use identity::bundle::certificate_pem;
use identity::{KeyDigest, TrustDomain};
use issuance::{KeyError, PreparedAuthority, RootAuthority, RootError};
use rustix::fs::OFlags;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use zeroize::Zeroizing;

const ROOT_KEY: &str = "root-key.pem";
const ROOT: &str = "root.pem";
/// Largest key or certificate file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// The keys of one instance.
#[derive(Clone, Debug)]
pub struct KeyFolder {
    path: PathBuf,
}

/// A key that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file system refuses.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another user owns it or has access to it.
    #[error("{}: {why}", path.display())]
    Access {
        /// The file or folder.
        path: PathBuf,
        /// What was found, and what was expected.
        why: String,
    },
    /// The file cannot be replaced as a whole.
    #[error(transparent)]
    Write(#[from] runtime::atomic::WriteError),
    /// The file holds no usable key.
    #[error("{}: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// Key and certificate of the root do not fit.
    #[error("{}: {source}", path.display())]
    Root {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        source: RootError,
    },
}

impl KeyFolder {
    /// The folder at this path, which exists.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Keeps the key of an authority.
    pub fn save(&self, prepared: &PreparedAuthority) -> Result<(), KeyFileError> {
        self.is_private()?;
        let path = self.authority_path(prepared.public_key().digest());
        let pem = prepared.to_pkcs8_pem(None).map_err(|source| KeyFileError::Key {
            path: path.clone(),
            source,
        })?;
        Ok(runtime::atomic::write(&path, pem.as_bytes(), 0o600)?)
    }

    /// The kept key with this digest, if there is one.
    pub fn load(
        &self,
        trust_domain: &TrustDomain,
        digest: KeyDigest,
    ) -> Result<Option<PreparedAuthority>, KeyFileError> {
        self.is_private()?;
        let path = self.authority_path(digest);
        let Some(pem) = read(&path, Access::Owner)? else {
            return Ok(None);
        };
        PreparedAuthority::from_pkcs8_pem(trust_domain.clone(), &pem, None)
            .map(Some)
            .map_err(|source| KeyFileError::Key { path, source })
    }

    /// Removes the key of an authority that signs no more.
    pub fn remove(&self, digest: KeyDigest) -> Result<(), KeyFileError> {
        let path = self.authority_path(digest);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(KeyFileError::File { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Keeps a root that this instance made, certificate first: a key without its certificate could never be used.
    pub fn save_root(&self, root: &RootAuthority) -> Result<(), KeyFileError> {
        self.is_private()?;
        let pem = root.to_pkcs8_pem(None).map_err(|source| KeyFileError::Root {
            path: self.path.clone(),
            source: source.into(),
        })?;
        let certificate = certificate_pem(root.certificate());
        runtime::atomic::write(&self.path.join(ROOT), certificate.as_bytes(), 0o644)?;
        Ok(runtime::atomic::write(
            &self.path.join(ROOT_KEY),
            pem.as_bytes(),
            0o600,
        )?)
    }

    /// The root that this instance made, if it did.
    pub fn load_root(&self) -> Result<Option<RootAuthority>, KeyFileError> {
        self.is_private()?;
        let key = read(&self.path.join(ROOT_KEY), Access::Owner)?;
        let certificate = read(&self.path.join(ROOT), Access::Everyone)?;
        let (Some(key), Some(certificate)) = (key, certificate) else {
            return Ok(None);
        };
        let certificate =
            CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|e| KeyFileError::File {
                path: self.path.join(ROOT),
                source: io::Error::other(e.to_string()),
            })?;
        RootAuthority::from_parts(&key, None, certificate)
            .map(Some)
            .map_err(|source| KeyFileError::Root {
                path: self.path.clone(),
                source,
            })
    }

    /// Checks that no other user can read, replace or add keys.
    fn is_private(&self) -> Result<(), KeyFileError> {
        let facts = std::fs::metadata(&self.path).map_err(|source| KeyFileError::File {
            path: self.path.clone(),
            source,
        })?;
        is_private(&self.path, &facts)
    }

    fn authority_path(&self, digest: KeyDigest) -> PathBuf {
        self.path.join(format!("authority-{digest}.pem"))
    }
}

/// Which users may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Owner,
    Everyone,
}

fn read(path: &Path, access: Access) -> Result<Option<Zeroizing<String>>, KeyFileError> {
    let failed = |source| KeyFileError::File {
        path: path.to_owned(),
        source,
    };
    // A named pipe in place of a key must not hold up the start.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let facts = file.metadata().map_err(failed)?;
    if !facts.is_file() {
        return Err(failed(io::Error::other("is not a regular file")));
    }
    if facts.len() > MAX_FILE_BYTES {
        return Err(failed(io::Error::other(format!(
            "{} bytes, expected at most {MAX_FILE_BYTES}",
            facts.len()
        ))));
    }
    if access == Access::Owner {
        is_private(path, &facts)?;
    }
    // Room for all of it: growing would leave copies of a key behind.
    let room = usize::try_from(facts.len()).unwrap_or(0) + 1;
    let mut text = Zeroizing::new(String::with_capacity(room));
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// Checks that the process's user, or root, owns it, and that it is closed to group and others.
fn is_private(path: &Path, facts: &Metadata) -> Result<(), KeyFileError> {
    let wrong = |why| {
        Err(KeyFileError::Access {
            path: path.to_owned(),
            why,
        })
    };
    let user = rustix::process::geteuid().as_raw();
    let (owner, mode) = (facts.uid(), facts.mode() & 0o7777);
    if owner != user && owner != 0 {
        return wrong(format!(
            "its owner is the user {owner}, expected {user}, the user of this process"
        ));
    }
    if mode & 0o077 != 0 {
        let expected = if facts.is_dir() { "0700" } else { "0600" };
        return wrong(format!(
            "its mode is {mode:04o}, expected {expected}: other users have access"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use issuance::AuthorityKeyType;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    /// A folder for its owner only, whatever the umask.
    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        set_mode(dir.path(), 0o700);
        dir
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_key_or_folder_that_others_can_access_is_refused_with_its_path_and_mode() {
        let dir = folder();
        let keys = KeyFolder::new(dir.path().to_owned());
        let trust_domain = TrustDomain::new("example.org").unwrap();
        let prepared = PreparedAuthority::generate(trust_domain.clone(), AuthorityKeyType::P256).unwrap();
        keys.save(&prepared).unwrap();
        let digest = prepared.public_key().digest();
        assert!(keys.load(&trust_domain, digest).unwrap().is_some());

        let file = keys.authority_path(digest);
        for mode in [0o640, 0o604, 0o620] {
            set_mode(&file, mode);
            let error = keys.load(&trust_domain, digest).unwrap_err().to_string();
            assert!(error.contains(file.to_str().unwrap()), "{error}");
            assert!(error.contains(&format!("{mode:04o}, expected 0600")), "{error}");
        }
        set_mode(&file, 0o600);
        set_mode(dir.path(), 0o750);
        for error in [
            keys.load(&trust_domain, digest).map(drop).unwrap_err(),
            keys.save(&prepared).unwrap_err(),
            keys.load_root().map(drop).unwrap_err(),
        ] {
            assert!(error.to_string().contains("0750, expected 0700"), "{error}");
        }
        set_mode(dir.path(), 0o700);
        assert!(keys.load(&trust_domain, digest).unwrap().is_some());
    }

    #[test]
    fn a_named_pipe_in_place_of_a_key_is_an_error_and_holds_nothing_up() {
        let dir = folder();
        let keys = KeyFolder::new(dir.path().to_owned());
        let pipe = keys.path.join(ROOT_KEY);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let error = keys.load_root().map(drop).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
    }
}
