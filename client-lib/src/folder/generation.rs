//! One folder of a certificate: written whole and synced before anything points to it, never changed afterwards.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use identity::TrustBundle;
use identity::bundle::certificate_pem;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::source_json::{Source, SourceJson};
use super::{FolderError, MAX_FILE_BYTES, Stored, io_error};
use crate::key::PrivateKey;

/// Leaf first, then intermediates.
const CHAIN: &str = "svid.pem";
/// PKCS#8.
const KEY: &str = "svid_key.pem";
/// Roots.
const BUNDLE: &str = "bundle.pem";
/// Where to renew.
const SOURCE: &str = "source.json";

pub(super) struct Generation {
    path: PathBuf,
}

impl Generation {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Writes the folder, or leaves nothing of it: it would hold a private key, and a full disk would not get
    /// space.
    pub(super) fn write(&self, stored: &Stored) -> Result<(), FolderError> {
        fs::DirBuilder::new()
            .mode(0o755)
            .create(&self.path)
            .map_err(io_error("make the folder", &self.path))?;
        self.fill(stored).inspect_err(|_| self.discard())
    }

    /// Removes a folder that nothing points to.
    pub(super) fn discard(&self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "unfinished certificate folder not removed");
        }
    }

    fn fill(&self, stored: &Stored) -> Result<(), FolderError> {
        let chain: String = stored.chain.iter().map(|der| certificate_pem(der)).collect();
        create_file(&self.path.join(CHAIN), chain.as_bytes(), 0o644)?;
        if let Some(key) = &stored.key {
            create_file(&self.path.join(KEY), key.to_pem().as_bytes(), 0o600)?;
        }
        create_file(&self.path.join(BUNDLE), stored.bundle.to_pem().as_bytes(), 0o644)?;
        let source = SourceJson::of(stored).to_text();
        create_file(&self.path.join(SOURCE), source.as_bytes(), 0o644)?;
        sync(&self.path)
    }

    pub(super) fn read(&self) -> Result<Stored, FolderError> {
        let Source {
            server,
            life,
            bundle_sequence,
            proof,
            receipt,
        } = {
            let path = self.path.join(SOURCE);
            let read = SourceJson::parse(&read_file(&path)?);
            read.map_err(|why| FolderError::Content { path, why })?
        };
        let path = self.path.join(CHAIN);
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read_file(&path)?)
            .collect::<Result<_, _>>()
            .map_err(|e| FolderError::Content {
                path,
                why: format!("{e}, expected PEM certificates"),
            })?;
        let key = match read_file(&self.path.join(KEY)) {
            Ok(text) => Some(PrivateKey::from_pem(&text)?),
            Err(FolderError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound && self.path.exists() =>
            {
                None
            }
            Err(other) => return Err(other),
        };
        let path = self.path.join(BUNDLE);
        let bundle =
            TrustBundle::from_pem(server.trust_domain().clone(), &read_file(&path)?).map_err(|e| {
                FolderError::Content {
                    path,
                    why: e.to_string(),
                }
            })?;
        Ok(Stored {
            chain,
            key,
            bundle: bundle.with_sequence(bundle_sequence),
            server,
            life,
            receipt,
            proof,
        })
    }
}

/// Reads a file whole, up to [`MAX_FILE_BYTES`].
pub(crate) fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, FolderError> {
    let file = File::open(path).map_err(io_error("open", path))?;
    let mut text = Zeroizing::new(Vec::new());
    let read = file
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(io_error("read", path))?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_FILE_BYTES) {
        return Err(FolderError::Content {
            path: path.to_owned(),
            why: format!("longer than {MAX_FILE_BYTES} bytes, expected a small file"),
        });
    }
    Ok(text)
}

/// Makes a file that must not exist yet, not even as a symbolic link, and syncs it; or leaves nothing of it.
pub(super) fn create_file(path: &Path, contents: &[u8], mode: u32) -> Result<(), FolderError> {
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(io_error("make", path))?;
    file.write_all(contents)
        .map_err(io_error("write", path))
        .and_then(|()| file.sync_all().map_err(io_error("sync", path)))
        .inspect_err(|_| {
            // The error to report is that of the write.
            let _ = fs::remove_file(path);
        })
}

/// Makes a folder and those above it that are missing; each is synced into its parent, or a power cut takes
/// it with everything in it.
pub(super) fn create_folders(folder: &Path) -> Result<(), FolderError> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_folders(parent)?;
    match fs::create_dir(folder) {
        Ok(()) => sync(parent),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(e) => Err(io_error("make the folder", folder)(e)),
    }
}

/// Makes renames and new names in a folder last.
pub(super) fn sync(folder: &Path) -> Result<(), FolderError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io_error("sync", folder))
}
