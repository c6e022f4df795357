//! The folder `keys/`: private keys of authorities, and of the root where this instance made one. Files are 0600 and written by
//! rename; a key is found by the digest of its public key, which certificates carry and file names cannot forge.

use std::io;
use std::path::{Path, PathBuf};

use identity::bundle::certificate_pem;
use identity::{KeyDigest, TrustDomain};
use issuance::{KeyError, PreparedAuthority, RootAuthority, RootError};
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
        let path = self.authority_path(digest);
        let Some(pem) = read(&path)? else {
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
        let (Some(key), Some(certificate)) = (read(&self.path.join(ROOT_KEY))?, read(&self.path.join(ROOT))?)
        else {
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

    fn authority_path(&self, digest: KeyDigest) -> PathBuf {
        self.path.join(format!("authority-{digest}.pem"))
    }
}

fn read(path: &Path) -> Result<Option<Zeroizing<String>>, KeyFileError> {
    let failed = |source| KeyFileError::File {
        path: path.to_owned(),
        source,
    };
    match std::fs::metadata(path) {
        Ok(facts) if facts.len() > MAX_FILE_BYTES => Err(failed(io::Error::other(format!(
            "{} bytes, expected at most {MAX_FILE_BYTES}",
            facts.len()
        )))),
        Ok(_) => std::fs::read_to_string(path)
            .map(|text| Some(Zeroizing::new(text)))
            .map_err(failed),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(e)),
    }
}
