//! A server under an off-line root of root-ca.

use std::path::Path;

use tempfile::TempDir;

use super::{Server, Settings, program, run, signet};

/// `root-ca sign` for this CSR.
pub fn root_ca_sign(root: &Path, csr: &Path, out: &Path, life: &str) {
    run(program("root-ca")
        .args(["sign", "--yes", "--life", life, "--root"])
        .arg(root)
        .arg("--csr")
        .arg(csr)
        .arg("--out")
        .arg(out));
}

/// `signet server run` whose authority lives so long; the root lies in its folder, in `root`.
pub fn server_under_root(life: &str) -> Server {
    let folder = TempDir::new().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let authority = |verb: &str| {
        let mut command = signet();
        command.args(["authority", verb, "--data"]).arg(path("data"));
        command
    };
    run(program("root-ca")
        .args(["init", "--trust-domain", "example.org", "--out"])
        .arg(path("root")));
    run(authority("prepare").arg("--csr-out").arg(path("ca.csr")));
    root_ca_sign(&path("root"), &path("ca.csr"), &path("ca.pem"), life);
    run(authority("activate")
        .arg("--chain")
        .arg(path("ca.pem"))
        .arg("--root")
        .arg(path("root/root.pem")));
    let settings = Settings {
        without_root: true,
        ..Settings::default()
    };
    Server::start_in(folder, settings)
}
