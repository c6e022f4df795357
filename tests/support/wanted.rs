//! Keys and CSRs of OpenSSL's making, and what it reads in certificates.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{openssl, run};

/// `openssl ARGUMENTS`
pub fn ask_openssl(arguments: &[&str]) -> Command {
    let mut command = openssl(Path::new("."));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A private key and its CSR, both PEM files.
pub struct Wanted {
    /// PKCS#8.
    pub key: PathBuf,
    /// PKCS#10.
    pub csr: PathBuf,
}

impl Wanted {
    /// A P-256 key and a CSR without names.
    pub fn new(folder: &Path, name: &str) -> Self {
        Self::with(folder, name, "EC", &["ec_paramgen_curve:P-256"], &[])
    }

    /// A P-256 key and a CSR with these subject alternative names, in OpenSSL's notation.
    pub fn named(folder: &Path, name: &str, names: &str) -> Self {
        let extension = format!("subjectAltName={names}");
        Self::with(
            folder,
            name,
            "EC",
            &["ec_paramgen_curve:P-256"],
            &["-addext", &extension],
        )
    }

    /// A key of this algorithm with these options, and a CSR made with further arguments.
    pub fn with(folder: &Path, name: &str, algorithm: &str, options: &[&str], more: &[&str]) -> Self {
        let key = folder.join(format!("{name}.key"));
        let mut generate = ask_openssl(&["genpkey", "-algorithm", algorithm]);
        for option in options {
            generate.args(["-pkeyopt", option]);
        }
        run(generate.arg("-out").arg(&key));
        let wanted = Self {
            csr: folder.join(format!("{name}.csr")),
            key,
        };
        wanted.request(more);
        wanted
    }

    /// Makes the CSR again with other arguments.
    pub fn request(&self, more: &[&str]) {
        let mut request = ask_openssl(&["req", "-new", "-subj", "/CN=ignored"]);
        request.arg("-key").arg(&self.key).arg("-out").arg(&self.csr);
        run(request.args(more));
    }

    /// The CSR, PEM.
    pub fn pem(&self) -> String {
        std::fs::read_to_string(&self.csr).expect("a CSR")
    }
}

/// What `openssl x509` says of a certificate, PEM or DER.
pub fn certificate_text(path: &Path) -> String {
    run(ask_openssl(&["x509", "-noout", "-text", "-nameopt", "RFC2253", "-in"]).arg(path))
}

/// A serial number as this CA writes it: lower-case hex without leading zero bytes.
pub fn serial_of(path: &Path) -> String {
    let told = run(ask_openssl(&["x509", "-noout", "-serial", "-in"]).arg(path));
    told.trim()
        .strip_prefix("serial=")
        .expect("openssl's words")
        .to_lowercase()
}
