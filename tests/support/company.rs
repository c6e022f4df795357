//! A company's own hierarchy of authorities, made with `openssl ca`, which gives each certificate any
//! validity and extensions.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use time::OffsetDateTime;
use time::macros::format_description;

use super::{REQUEST, openssl, run};

/// Extensions of a certificate authority; see x509v3_config(5).
pub const POLICY_PROFILE: &str = "basicConstraints = critical, CA:TRUE\n\
    keyUsage = critical, keyCertSign, cRLSign\n\
    subjectKeyIdentifier = hash\n\
    authorityKeyIdentifier = keyid\n";

const CONFIGURATION: &str = "[ ca ]\ndefault_ca = this\n[ this ]\ndatabase = index.txt\nnew_certs_dir = .\n\
    certificate = ca.pem\nprivate_key = ca-key.pem\ndefault_md = sha256\nserial = serial\npolicy = any\nunique_subject = no\n\
    [ any ]\ncommonName = supplied\n";

/// An authority whose key openssl keeps in a folder.
pub struct Company {
    folder: PathBuf,
}

/// What a certificate is to be: its subject's common name, its extensions, and how long it is valid from now.
pub struct Order<'a> {
    pub name: &'a str,
    pub extensions: &'a str,
    pub lifetime: Duration,
}

impl Company {
    /// Makes a root in this folder, which must not exist.
    pub fn root(folder: PathBuf) -> Self {
        let company = Self::prepare(folder);
        run(company
            .openssl()
            .args(REQUEST)
            .args(["-x509", "-keyout", "ca-key.pem", "-out", "ca.pem", "-days", "30"])
            .args(["-subj", "/CN=Company Root"])
            .args(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]));
        company
    }

    /// Makes an authority below this one in a folder, which must not exist.
    pub fn below(&self, folder: PathBuf, order: &Order<'_>) -> Self {
        let company = Self::prepare(folder);
        run(company.openssl().args(REQUEST).args([
            "-keyout",
            "ca-key.pem",
            "-out",
            "ca.csr",
            "-subj",
            "/CN=x",
        ]));
        self.certify(&company.folder.join("ca.csr"), &company.certificate(), order);
        company
    }

    fn prepare(folder: PathBuf) -> Self {
        std::fs::create_dir(&folder).expect("a new folder");
        std::fs::write(folder.join("ca.cnf"), CONFIGURATION).expect("a configuration");
        std::fs::write(folder.join("index.txt"), "").expect("an index");
        Self { folder }
    }

    /// Certifies the key of a CSR.
    pub fn certify(&self, csr: &Path, out: &Path, order: &Order<'_>) {
        let moment = format_description!("[year][month][day][hour][minute][second]Z");
        let now = OffsetDateTime::now_utc();
        let at = |at: OffsetDateTime| at.format(moment).expect("a time");
        let extensions = self.folder.join("extensions.cnf");
        std::fs::write(&extensions, order.extensions).expect("a file of extensions");
        run(self
            .openssl()
            .args(["ca", "-batch", "-notext", "-rand_serial", "-config", "ca.cnf"])
            .args(["-subj", &format!("/CN={}", order.name)])
            .args(["-startdate", &at(now - Duration::from_secs(60))])
            .args(["-enddate", &at(now + order.lifetime)])
            .arg("-extfile")
            .arg(&extensions)
            .arg("-in")
            .arg(csr)
            .arg("-out")
            .arg(out));
    }

    /// Its certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    fn openssl(&self) -> Command {
        openssl(&self.folder)
    }
}
