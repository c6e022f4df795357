//! `signet cert` on a full disk, and next to users who would stop it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use identity::Leaf;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::support::{Background, Server, fails, run, signet, wait_for};

const RENEWED: &str = "signet_certificates_issued_total{profile=\"workload\",method=\"renewal\"}";
const WEB: &str = "spiffe://example.org/ns/default/sa/web";

fn issue(server: &Server, more: &[&str]) -> PathBuf {
    let out = server.path("web");
    run(signet()
        .args(["cert", "issue", "--token-file"])
        .arg(server.token_file(WEB, &[]))
        .arg("--out")
        .arg(&out)
        .args(more));
    out
}

fn serial(folder: &Path) -> Option<String> {
    let text = std::fs::read(folder.join("svid.pem")).ok()?;
    let leaf = CertificateDer::from_pem_slice(&text).ok()?;
    Some(Leaf::parse(&leaf).ok()?.serial().to_string())
}

/// Names next to the folder that contain this.
fn names(folder: &Path, part: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder.parent().expect("a parent")).expect("a folder");
    let names = entries.map(|entry| {
        entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .into_owned()
    });
    names.filter(|name| name.contains(part)).collect()
}

#[test]
fn a_daemon_on_a_full_disk_renews_in_memory_and_writes_when_there_is_space() {
    let server = Server::up();
    let web = issue(&server, &["--life", "10s"]);
    // A limit on the size of files fails as a full disk does: names can be made, bytes cannot be written.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    shell.arg(signet().get_program());
    shell.args(["cert", "renew", "--daemon"]).arg(&web);
    let daemon = Background::start(&mut shell, &server.path("daemon.log"));
    wait_for("a renewal", || (server.metric(RENEWED) >= 1.0).then_some(()));
    let limit = |size: &str| {
        let mut prlimit = Command::new("prlimit");
        run(prlimit.args(["--pid", &daemon.pid().to_string(), &format!("--fsize={size}:")]));
    };
    limit("16");
    let full_since = server.metric(RENEWED);
    let before = wait_for("a certificate", || serial(&web));
    wait_for("two renewals in memory", || {
        (server.metric(RENEWED) >= full_since + 3.0).then_some(())
    });
    let after = serial(&web).expect("the old certificate is still there");
    // One may be being written, or just be replaced.
    wait_for("at most two folders", || {
        (names(&web, ".gen-").len() <= 2).then_some(())
    });
    limit("unlimited");
    wait_for("the certificate in memory to be written", || {
        (serial(&web)? != after).then_some(())
    });
    // One may be being written, or just be replaced.
    wait_for("at most two folders", || {
        (names(&web, ".gen-").len() <= 2).then_some(())
    });
    let keys = server.certificates(WEB);
    let mut digests: Vec<_> = keys.iter().map(|c| c["keyDigest"].to_string()).collect();
    digests.sort();
    digests.dedup();
    assert_eq!(
        digests.len(),
        keys.len(),
        "a key was certified twice, {before} to {after}"
    );
    let (code, said) = daemon.terminate();
    assert_eq!(code, 0, "{said}");
}

/// A command of the user that owns nothing; as another user than root, of this one.
fn as_nobody() -> Command {
    let is_root = run(Command::new("id").arg("-u")).trim() == "0";
    let mut command = Command::new(if is_root { "setpriv" } else { "env" });
    if is_root {
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    command
}

#[test]
fn a_user_who_holds_the_lock_file_of_an_earlier_release_does_not_stop_renewal() {
    let server = Server::up();
    std::fs::set_permissions(server.folder(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let web = issue(&server, &[]);
    let lock = server.path(".web.lock");
    let mode = std::fs::metadata(&lock).expect("a lock").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    std::fs::set_permissions(&lock, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    let script = "echo held; exec sleep 60";
    let mut holder = Background::start(
        as_nobody()
            .args(["flock", "--exclusive"])
            .arg(&lock)
            .args(["-c", script]),
        &server.path("holder.log"),
    );
    holder.line("held");
    let first = serial(&web);
    run(signet().args(["cert", "renew", "--force"]).arg(&web));
    assert_ne!(serial(&web), first);
    let mode = std::fs::metadata(&lock).expect("a lock").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_lock_that_is_held_ends_a_command_with_an_error_and_costs_nothing() {
    let server = Server::up();
    let web = issue(&server, &[]);
    let lock = std::fs::File::open(server.path(".web.lock")).expect("a lock");
    lock.lock().expect("nobody holds it");
    let (code, text) = fails(signet().args(["cert", "renew", "--force"]).arg(&web));
    assert_eq!(code, 1);
    assert!(
        text.contains(".web.lock") && text.contains("another process"),
        "{text}"
    );
    assert_eq!(server.metric(RENEWED), 0.0);
}

#[test]
fn a_bundle_by_hand_decides_which_server_a_renewal_trusts() {
    let server = Server::up();
    let web = issue(&server, &[]);
    let renew = |bundle: &Path| {
        let mut command = signet();
        command.args(["cert", "renew", "--force"]).arg(&web);
        command.arg("--bundle").arg(bundle);
        command
    };
    let right = server.path("right.pem");
    std::fs::copy(web.join("bundle.pem"), &right).expect("a copy");
    run(&mut renew(&right));

    let stranger = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = params.self_signed(&stranger).expect("a root").pem();
    let wrong = server.path("wrong.pem");
    std::fs::write(&wrong, root).expect("a file");
    let (code, text) = fails(&mut renew(&wrong));
    assert_eq!(code, 1);
    assert!(text.contains("is not the CA"), "{text}");
    std::fs::write(&wrong, "").expect("a file");
    let (_, text) = fails(&mut renew(&wrong));
    assert!(text.contains("expected a root"), "{text}");
}
