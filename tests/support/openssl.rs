//! Roots and authority certificates made with openssl, as a company's own PKI would make them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::run;

/// A root whose key openssl keeps in a folder.
pub struct OpensslRoot {
    folder: PathBuf,
}

/// What an authority's certificate says beside its key; see x509v3_config(5).
pub const AUTHORITY_PROFILE: &str = "basicConstraints = critical, CA:TRUE, pathlen:0\n\
    keyUsage = critical, keyCertSign, cRLSign\n\
    subjectKeyIdentifier = hash\n\
    authorityKeyIdentifier = keyid\n\
    subjectAltName = URI:spiffe://example.org\n";

/// Has openssl make a key of P-256, not encrypted, and a request of it; `-x509` after it makes a certificate instead.
pub const REQUEST: [&str; 6] = [
    "req",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
];

impl OpensslRoot {
    /// Makes a root in this folder, which must not exist.
    pub fn make(folder: PathBuf) -> Self {
        std::fs::create_dir(&folder).expect("a new folder");
        run(openssl(&folder)
            .args(REQUEST)
            .args([
                "-x509",
                "-keyout",
                "root-key.pem",
                "-out",
                "root.pem",
                "-days",
                "3650",
            ])
            .args(["-subj", "/O=A Company/CN=Company root"])
            .args(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]));
        Self { folder }
    }

    /// Its certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("root.pem")
    }

    /// Signs a CSR as openssl does when it copies what is asked for.
    pub fn sign_as_asked(&self, csr: &Path, out: &Path) {
        run(self.signing(csr, out).args(["-copy_extensions", "copy"]));
    }

    /// Signs a CSR with these extensions and none of its own.
    pub fn sign(&self, csr: &Path, out: &Path, extensions: &str) {
        let file = self.folder.join("extensions.cnf");
        std::fs::write(&file, extensions).expect("a file of extensions");
        run(self.signing(csr, out).arg("-extfile").arg(&file));
    }

    fn signing(&self, csr: &Path, out: &Path) -> Command {
        let mut command = openssl(&self.folder);
        command
            .args([
                "x509",
                "-req",
                "-CA",
                "root.pem",
                "-CAkey",
                "root-key.pem",
                "-days",
                "90",
                "-in",
            ])
            .arg(csr)
            .arg("-out")
            .arg(out);
        command
    }
}

/// `openssl`, run in this folder.
pub fn openssl(folder: &Path) -> Command {
    let mut command = Command::new("openssl");
    command.current_dir(folder);
    command
}
