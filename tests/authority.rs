//! Signing authorities under an off-line root: prepared, signed by root-ca or openssl, activated with and without a running server.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    AUTHORITY_PROFILE, OpensslRoot, Server, Settings, fails, http_get, openssl, program, root_ca_sign, run,
    server_under_root, signet, wait_for,
};

const WEB: &str = "spiffe://example.org/ns/default/sa/web";

/// A data folder, what belongs to it beside it.
struct Ceremony {
    folder: TempDir,
}

impl Ceremony {
    fn new() -> Self {
        Self {
            folder: TempDir::new().expect("a temporary folder"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn signet(&self, arguments: &[&str]) -> Command {
        let mut command = signet();
        command.args(arguments).arg("--data").arg(self.path("data"));
        command
    }

    fn prepare(&self) -> PathBuf {
        let csr = self.path("authority.csr");
        run(self.signet(&["authority", "prepare"]).arg("--csr-out").arg(&csr));
        csr
    }

    fn activation(&self, chain: &Path, root: &Path) -> Command {
        activation(self.signet(&["authority", "activate"]), chain, root)
    }

    /// `signet server run` on it.
    fn serve(self) -> Server {
        let settings = Settings {
            without_root: true,
            ..Settings::default()
        };
        Server::start_in(self.folder, settings)
    }
}

fn activation(mut command: Command, chain: &Path, root: &Path) -> Command {
    command.arg("--chain").arg(chain).arg("--root").arg(root);
    command
}

fn root_ca_init(out: &Path) {
    run(program("root-ca")
        .args(["init", "--trust-domain", "example.org", "--out"])
        .arg(out));
}

/// Another authority under the root in the server's folder takes over.
fn replace_authority(server: &Server) {
    let (csr, chain, root) = (
        server.path("second.csr"),
        server.path("second.pem"),
        server.path("root"),
    );
    run(server
        .signet(&["authority", "prepare"])
        .arg("--csr-out")
        .arg(&csr));
    root_ca_sign(&root, &csr, &chain, "90d");
    run(&mut activation(
        server.signet(&["authority", "activate"]),
        &chain,
        &root.join("root.pem"),
    ));
}

/// Enrols `web` into the folder `name`, and has openssl verify it against this root.
fn issue(server: &Server, name: &str, root: &Path) -> PathBuf {
    let out = server.path(name);
    let token = server.token_file(WEB, &[]);
    run(signet()
        .args(["cert", "issue", "--token-file"])
        .arg(&token)
        .arg("--out")
        .arg(&out));
    verify(server.folder(), root, &out);
    out
}

/// What a peer that trusts `root` says of the certificate in `folder`.
fn verify(place: &Path, root: &Path, folder: &Path) {
    let svid = folder.join("svid.pem");
    run(openssl(place)
        .args(["verify", "-x509_strict", "-CAfile"])
        .arg(root)
        .arg("-untrusted")
        .arg(&svid)
        .arg(&svid));
}

fn authorities(server: &Server) -> Vec<Value> {
    let listed = run(&mut server.signet(&["authority", "list", "-o", "json"]));
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    listed["items"].as_array().expect("a list").clone()
}

fn fingerprint(place: &Path, root: &Path) -> String {
    let printed = run(openssl(place)
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(root));
    let (_, digits) = printed.trim().split_once('=').expect("a fingerprint");
    digits.replace(':', "").to_lowercase()
}

#[test]
fn an_authority_that_root_ca_signed_serves_and_issues() {
    let ceremony = Ceremony::new();
    let (root, chain) = (ceremony.path("root"), ceremony.path("chain.pem"));
    root_ca_init(&root);
    root_ca_sign(&root, &ceremony.prepare(), &chain, "90d");
    let root = root.join("root.pem");
    run(&mut ceremony.activation(&chain, &root));
    let listed = run(&mut ceremony.signet(&["authority", "list"]));
    assert!(listed.contains("active"), "{listed}");

    let server = ceremony.serve();
    assert_eq!(server.fact("fingerprint"), fingerprint(server.folder(), &root));
    issue(&server, "web", &root);
    assert_eq!(authorities(&server).len(), 1);
    assert!(!server.data().join("keys/root-key.pem").exists());
}

#[test]
fn authorities_that_openssl_signed_by_copying_or_by_its_own_file_serve_and_issue() {
    for copying in [true, false] {
        let ceremony = Ceremony::new();
        let root = OpensslRoot::make(ceremony.path("root"));
        let (csr, chain) = (ceremony.prepare(), ceremony.path("chain.pem"));
        if copying {
            root.sign_as_asked(&csr, &chain);
        } else {
            root.sign(&csr, &chain, AUTHORITY_PROFILE);
        }
        run(&mut ceremony.activation(&chain, &root.certificate()));
        let server = ceremony.serve();
        issue(&server, "web", &root.certificate());
    }
}

#[test]
fn a_wrong_chain_key_profile_or_trust_domain_is_refused_saying_which() {
    let ceremony = Ceremony::new();
    let root = OpensslRoot::make(ceremony.path("root"));
    let other_root = OpensslRoot::make(ceremony.path("other-root"));
    let (csr, chain) = (ceremony.prepare(), ceremony.path("chain.pem"));
    let refused = |chain: &Path, root: &Path| {
        let (code, error) = fails(ceremony.activation(chain, root).args(["-o", "json"]));
        assert_eq!(code, 1);
        let error: Value = serde_json::from_str(&error).expect("an error in JSON");
        error["error"]["message"].as_str().expect("a message").to_owned()
    };

    root.sign_as_asked(&csr, &chain);
    let message = refused(&chain, &other_root.certificate());
    assert!(message.contains("wrong chain"), "{message}");
    let message = refused(&root.certificate(), &root.certificate());
    assert!(message.contains("chain"), "{message}");

    let profiles = [
        ("CA:TRUE, pathlen:0", "CA:FALSE"),
        ("keyCertSign, cRLSign", "digitalSignature"),
        ("subjectAltName = URI:spiffe://example.org\n", ""),
        ("spiffe://example.org", "spiffe://example.org/ns/default/sa/web"),
    ];
    for (right, wrong) in profiles {
        assert!(AUTHORITY_PROFILE.contains(right));
        root.sign(&csr, &chain, &AUTHORITY_PROFILE.replace(right, wrong));
        let message = refused(&chain, &root.certificate());
        assert!(message.contains("wrong profile"), "{wrong}: {message}");
    }

    let elsewhere = AUTHORITY_PROFILE.replace("example.org", "other.example");
    root.sign(&csr, &chain, &elsewhere);
    let message = refused(&chain, &root.certificate());
    assert!(message.contains("wrong trust domain"), "{message}");
    assert!(message.contains("other.example"), "{message}");

    let stranger = Ceremony::new();
    root.sign_as_asked(&stranger.prepare(), &chain);
    let message = refused(&chain, &root.certificate());
    assert!(message.contains("key"), "{message}");
    assert!(message.contains("not prepared here"), "{message}");

    let listed = run(&mut ceremony.signet(&["authority", "list", "-o", "json"]));
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed["items"], serde_json::json!([]), "nothing was activated");
}

#[test]
fn a_server_without_authority_says_so_and_is_ready_once_one_is_activated() {
    let ceremony = Ceremony::new();
    let server = ceremony.serve();
    assert_eq!(server.ready.get("fingerprint"), None);
    let (code, message) = fails(&mut server.signet(&["health"]));
    assert_eq!(code, 1);
    assert!(message.contains("no signing authority"), "{message}");
    let (status, body) = http_get(server.fact("metrics"), "/readyz");
    assert_eq!(status, 503, "{body}");

    let root = OpensslRoot::make(server.path("root"));
    let (csr, chain) = (server.path("authority.csr"), server.path("chain.pem"));
    run(server
        .signet(&["authority", "prepare"])
        .arg("--csr-out")
        .arg(&csr));
    root.sign_as_asked(&csr, &chain);
    let waiting = server
        .signet(&["health", "--wait", "30s"])
        .spawn()
        .expect("signet starts");
    run(&mut activation(
        server.signet(&["authority", "activate"]),
        &chain,
        &root.certificate(),
    ));
    let waited = waiting.wait_with_output().expect("it ends");
    assert!(waited.status.success());

    let expected = fingerprint(server.folder(), &root.certificate());
    wait_for("ready.json to tell the fingerprint", || {
        let facts = std::fs::read(server.data().join("ready.json")).ok()?;
        let facts: Value = serde_json::from_slice(&facts).ok()?;
        (facts["fingerprint"] == expected.as_str() && facts["pid"] == server.pid()).then_some(())
    });
    issue(&server, "web", &root.certificate());
}

#[test]
fn leaves_of_the_old_and_the_new_authority_verify_each_other_and_nothing_restarts() {
    let server = server_under_root("90d");
    let root = server.path("root/root.pem");
    let old = issue(&server, "old", &root);
    replace_authority(&server);
    let new = issue(&server, "new", &root);

    let intermediate = |folder: &Path| {
        let svid = std::fs::read_to_string(folder.join("svid.pem")).expect("a certificate");
        svid.split_inclusive("-----END CERTIFICATE-----\n")
            .nth(1)
            .map(str::to_owned)
    };
    assert_ne!(intermediate(&old), intermediate(&new));
    verify(server.folder(), &new.join("bundle.pem"), &old);
    verify(server.folder(), &old.join("bundle.pem"), &new);

    let states: Vec<Value> = authorities(&server)
        .iter()
        .map(|authority| authority["state"].clone())
        .collect();
    assert_eq!(states.len(), 2);
    for state in ["ACTIVE", "RETIRING"] {
        assert!(states.contains(&Value::from(state)), "{states:?}");
    }
    // A certificate of the old authority renews, under the new one.
    run(signet().args(["cert", "renew", "--force"]).arg(&old));
    assert_eq!(intermediate(&old), intermediate(&new));
}

#[test]
fn an_authority_near_its_end_clips_then_readiness_falls_and_a_new_one_takes_over_also_after_its_end() {
    let server = server_under_root("16s");
    let web = issue(&server, "web", &server.path("root/root.pem"));
    let end = |file: &Path| {
        run(openssl(server.folder())
            .args(["x509", "-noout", "-enddate", "-in"])
            .arg(file))
    };
    assert_eq!(
        end(&web.join("svid.pem")),
        end(&server.path("ca.pem")),
        "it is clipped"
    );

    let reason = |server: &Server, word: &str| {
        wait_for(word, || {
            let said = server.signet(&["health"]).output().expect("signet runs");
            let text = String::from_utf8_lossy(&said.stderr).into_owned();
            (said.status.code() == Some(1) && text.contains(word)).then_some(())
        });
    };
    reason(&server, "the signing authority ends at");
    reason(&server, "the signing authority ended at");
    let server = server.restart();
    assert_eq!(
        server.ready.get("fingerprint"),
        None,
        "nothing can be verified by it"
    );
    reason(&server, "the signing authority ended at");

    replace_authority(&server);
    run(&mut server.signet(&["health", "--wait", "30s"]));
    issue(&server, "again", &server.path("root/root.pem"));
}

#[test]
fn health_warns_of_an_authority_that_nobody_renews_from_the_middle_of_its_life() {
    let ceremony = Ceremony::new();
    let (root, chain) = (ceremony.path("root"), ceremony.path("chain.pem"));
    root_ca_init(&root);
    root_ca_sign(&root, &ceremony.prepare(), &chain, "40s");
    run(&mut ceremony.activation(&chain, &root.join("root.pem")));
    let server = Server::start_in(
        ceremony.folder,
        Settings {
            config: Some("profiles:\n  workload: { life: 10s, maxLife: 1h }\n".to_owned()),
            without_root: true,
            ..Settings::default()
        },
    );
    let warned = |server: &Server| {
        let said = server.signet(&["health"]).output().expect("signet runs");
        assert!(said.status.success(), "it is ready all the time");
        String::from_utf8_lossy(&said.stderr).contains("past the middle of its life")
    };
    assert!(!warned(&server), "it has just begun");
    wait_for("a warning", || warned(&server).then_some(()));
    assert!(server.log().contains("past the middle of its life"));
}
