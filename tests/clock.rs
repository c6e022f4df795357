//! A server whose wall clock is wrong: ahead, behind, jumping there and back, wrong from the start and
//! corrected. It signs and deletes nothing meanwhile, and answers as before afterwards, without a restart.

mod corrections;

use std::path::{Path, PathBuf};

use identity::{Clock as _, SystemClock};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    AUTHORITY_PROFILE, FakeTime, OpensslRoot, Server, Settings, Wanted, ask_openssl, fails, http_get,
    http_get_bytes, run, serial_of, signet, wait_for,
};

const WEB: &str = "spiffe://example.org/ns/shop/sa/web";
const DB: &str = "spiffe://example.org/ns/shop/sa/db";
const LATER: &str = "spiffe://example.org/ns/shop/sa/later";

/// A server, and the wall clock that it sees.
struct Fixture {
    server: Server,
    clock: FakeTime,
}

impl Fixture {
    fn up() -> Self {
        Self::start_in(TempDir::new().expect("a temporary folder"), "+0")
    }

    fn start_in(folder: TempDir, offset: &str) -> Self {
        Self::start_at(folder, offset, Vec::new())
    }

    /// Stops it in order, and starts it on the same folder and port with another wall clock, as after a
    /// reboot.
    fn restart(self, offset: &str) -> Self {
        self.restart_after(offset, forget_boot)
    }

    fn restart_after(self, offset: &str, change: impl FnOnce(&Path)) -> Self {
        let port = ["--listen-grpc".to_owned(), self.server.fact("grpc").to_owned()];
        let (code, folder) = self.server.terminate();
        assert_eq!(code, 0, "the server did not stop cleanly");
        change(&folder.path().join("data"));
        Self::start_at(folder, offset, port.to_vec())
    }

    fn start_at(folder: TempDir, offset: &str, arguments: Vec<String>) -> Self {
        let clock = FakeTime::new(folder.path(), offset);
        let settings = Settings {
            arguments,
            environment: clock.environment(),
            ..Settings::default()
        };
        Self {
            server: Server::start_in(folder, settings),
            clock,
        }
    }

    /// A certificate by a token, over TLS.
    fn issue(&self, id: &str, name: &str) -> PathBuf {
        let token = self.server.token_file(id, &[]);
        let out = self.server.path(name);
        run(&mut issuance(&token, &out));
        out
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let printed = run(self.server.signet(arguments).args(["-o", "json"]));
        serde_json::from_str(&printed).expect("JSON")
    }

    /// The reasons for which it is not ready; none if it is.
    fn readiness(&self) -> String {
        let (status, body) = http_get(self.server.fact("metrics"), "/readyz");
        match status {
            200 => String::new(),
            503 => body,
            other => panic!("/readyz answers {other}: {body}"),
        }
    }

    fn becomes_disputed(&self) {
        wait_for("the dispute to be seen", || {
            self.readiness().contains("accept-clock").then_some(())
        });
    }

    fn becomes_ready(&self) {
        wait_for("the server to be ready again", || {
            self.readiness().is_empty().then_some(())
        });
    }

    /// What an administrator sees of everything that time could delete.
    fn facts(&self) -> Vec<Value> {
        [
            ["cert", "list"].as_slice(),
            &["token", "list"],
            &["get", "registration", "-A"],
            &["authority", "list"],
            &["bundle", "show"],
        ]
        .iter()
        .map(|arguments| self.json(arguments))
        .collect()
    }

    fn keys(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.server.path("data/keys")).expect("a folder");
        let mut keys: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        keys.sort();
        keys
    }

    fn revoke(&self, folder: &Path) {
        run(self.server.signet(&["cert", "revoke"]).arg(serial(folder)));
    }

    /// Whether a published CRL shows the certificate.
    fn crl_shows(&self, folder: &Path) -> bool {
        let serial = format!("Serial Number: {}", serial(folder).to_uppercase());
        let authorities = self.json(&["authority", "list"]);
        let items = authorities["items"].as_array().expect("a list");
        items.iter().any(|authority| {
            let key_id = authority["keyId"].as_str().expect("a key id");
            let (status, der) = http_get_bytes(self.server.fact("crl"), &format!("/crl/{key_id}.crl"));
            let file = self.server.path("fetched.crl");
            std::fs::write(&file, der).expect("a file");
            status == 200 && run(ask_openssl(&["crl", "-noout", "-text", "-in"]).arg(&file)).contains(&serial)
        })
    }

    fn crl_will_show(&self, folder: &Path) {
        wait_for("the revocation on a CRL", || self.crl_shows(folder).then_some(()));
    }

    /// Another authority, under another root, takes over.
    fn replace_authority(&self) {
        let root = OpensslRoot::make(self.server.path("company"));
        let (csr, chain) = (self.server.path("next.csr"), self.server.path("next.pem"));
        run(self
            .server
            .signet(&["authority", "prepare"])
            .arg("--csr-out")
            .arg(&csr));
        root.sign(&csr, &chain, AUTHORITY_PROFILE);
        let mut activate = self.server.signet(&["authority", "activate"]);
        activate.arg("--chain").arg(&chain);
        run(activate.arg("--root").arg(root.certificate()));
    }
}

/// In another boot the boot-time clock of the earlier process says nothing.
fn forget_boot(data: &Path) {
    std::fs::remove_file(data.join("clock.json")).expect("the file of the clocks");
}

fn serial(folder: &Path) -> String {
    serial_of(&folder.join("svid.pem"))
}

fn registration(name: &str) -> String {
    format!(
        "apiVersion: signet.dev/v1\nkind: Registration\nmetadata:\n  name: {name}\nspec:\n  \
         spiffeId: {WEB}-{name}\n  callers: [token]\n"
    )
}

fn issuance(token: &Path, out: &Path) -> std::process::Command {
    let mut command = signet();
    command.args(["cert", "issue", "--token-file"]).arg(token);
    command.arg("--out").arg(out);
    command
}

fn renewal(folder: &Path) -> std::process::Command {
    let mut command = signet();
    command.args(["cert", "renew", "--force"]).arg(folder);
    command
}

#[test]
fn a_clock_that_jumps_ahead_or_back_for_a_while_changes_no_answer() {
    let fixture = Fixture::up();
    let server = &fixture.server;
    let db = fixture.issue(DB, "db");
    fixture.revoke(&db);
    fixture.replace_authority();
    let web = fixture.issue(WEB, "web");
    let later = server.token_file(LATER, &[]);
    let before = (fixture.facts(), fixture.keys());

    for (offset, number) in [("+3d", "one"), ("-3d", "two")] {
        fixture.clock.set(offset);
        fixture.becomes_disputed();
        let readiness = fixture.readiness();
        assert!(readiness.contains("by the boot-time clock it is"), "{readiness}");
        assert_eq!(server.metric("signet_clock_disputed"), 1.0);
        let (_, health) = fails(&mut server.signet(&["health"]));
        assert!(health.contains("the wall clock reads"), "{health}");

        // This gives the writer a batch, with which it would prune.
        server.apply(&registration(number));
        let listed = run(&mut server.signet(&["get", "registrations", "-o", "json"]));
        assert!(listed.contains(number), "look-ups are answered: {listed}");
        for refused in [
            &mut issuance(&later, &server.path("none")),
            // A token would expire by the wrong time.
            server
                .signet(&["token", "create", "--spiffe-id", WEB])
                .arg("--out")
                .arg(server.path("none.token")),
            &mut renewal(&web),
            server
                .signet(&["authority", "activate"])
                .arg("--chain")
                .arg(server.path("next.pem"))
                .arg("--root")
                .arg(server.path("company/root.pem")),
        ] {
            let (_, why) = fails(refused);
            assert!(why.contains("CLOCK_IMPLAUSIBLE"), "{why}");
        }
        assert!(fixture.crl_shows(&db));

        fixture.clock.set("+0");
        fixture.becomes_ready();
        assert_eq!(server.metric("signet_clock_disputed"), 0.0);
    }

    let after = (fixture.facts(), fixture.keys());
    assert_eq!(after.1, before.1, "a key was deleted");
    let items = |facts: &Value| facts["items"].as_array().cloned().unwrap_or_default();
    for (before, after) in before.0.iter().zip(&after.0) {
        if before.get("items").is_none() {
            assert_eq!(after, before);
        }
        for item in items(before) {
            assert!(items(after).contains(&item), "{item} is missing in {after}");
        }
    }
    run(&mut issuance(&later, &server.path("later")));
    run(&mut renewal(&web));
    let log = server.log();
    assert_eq!(
        log.matches("the time is disputed: the wall clock reads").count(),
        2,
        "{log}"
    );
    assert_eq!(
        log.matches("the time is no longer disputed: the clocks agree")
            .count(),
        2,
        "{log}"
    );
}

#[test]
fn a_revocation_during_a_dispute_is_in_force_and_on_the_crl() {
    let fixture = Fixture::up();
    let web = fixture.issue(WEB, "web");
    fixture.clock.set("+3d");
    fixture.becomes_disputed();
    fixture.revoke(&web);
    fixture.crl_will_show(&web);
    fixture.clock.set("+0");
    fixture.becomes_ready();
    let (_, why) = fails(&mut renewal(&web));
    assert!(why.contains("CERTIFICATE_REVOKED"), "{why}");
    assert!(fixture.crl_shows(&web));
}

#[test]
fn a_clock_that_was_ahead_at_the_start_is_corrected_and_accepted() {
    let fixture = Fixture::up();
    let (web, db) = (fixture.issue(WEB, "web"), fixture.issue(DB, "db"));
    fixture.revoke(&db);
    let wanted = Wanted::new(fixture.server.folder(), "held");
    let held = fixture.server.path("held");
    run(
        issuance(&fixture.server.token_file(&format!("{WEB}-held"), &[]), &held)
            .arg("--csr")
            .arg(&wanted.csr),
    );
    let before = fixture.facts();

    // Only the server sees the wrong time. Its own certificate begins in 60 days, and so does the authority
    // that it makes, as the present one is past the middle of its life.
    let fixture = fixture.restart("+60d");
    let server = &fixture.server;
    let token = server.token_file(LATER, &[]);
    let (_, why) = fails(&mut issuance(&token, &server.path("none")));
    assert!(
        !why.contains("CLOCK_IMPLAUSIBLE"),
        "nothing contradicts it yet: {why}"
    );

    fixture.clock.set("+0");
    fixture.becomes_disputed();
    let (_, why) = fails(&mut renewal(&web));
    assert!(!why.is_empty());
    let accepted = fixture.json(&["server", "accept-clock"]);
    assert_eq!(accepted["accepted"], true);
    for time in ["wall", "expected"] {
        assert!(accepted[time].is_string(), "{accepted}");
    }
    fixture.becomes_ready();
    assert_eq!(fixture.json(&["server", "accept-clock"]).get("accepted"), None);

    // The server has a certificate that clients accept, keys are still bound, what was revoked still is.
    run(&mut renewal(&web));
    let (_, why) = fails(&mut renewal(&db));
    assert!(why.contains("CERTIFICATE_REVOKED"), "{why}");
    let token = server.token_file(&format!("{WEB}-thief"), &[]);
    let (_, why) = fails(
        issuance(&token, &server.path("thief"))
            .arg("--csr")
            .arg(&wanted.csr),
    );
    assert!(why.contains("KEY_BOUND"), "{why}");
    assert!(fixture.crl_shows(&db));
    let items = |facts: &Value| facts["items"].as_array().cloned().unwrap_or_default();
    for (before, after) in before.iter().zip(fixture.facts()) {
        for item in items(before) {
            let found = items(&after);
            let is_kept = found.contains(&item) || item.get("state").is_some();
            assert!(is_kept, "{item} is missing in {after}");
        }
    }

    let exported = run(&mut server.signet(&["journal", "export"]));
    let accepting = exported
        .lines()
        .find(|line| line.contains("accept the wall clock"));
    let accepting: Value = serde_json::from_str(accepting.expect("an entry")).expect("JSON");
    assert!(
        accepting["by"]
            .as_str()
            .is_some_and(|by| by.starts_with("unix:uid=")),
        "{accepting}"
    );
    // The next start has no reason for a dispute.
    fixture.restart("+0").becomes_ready();
}

#[test]
fn a_clock_that_was_behind_at_the_start_is_disputed_until_it_is_corrected() {
    let fixture = Fixture::up();
    let (web, db) = (fixture.issue(WEB, "web"), fixture.issue(DB, "db"));

    let fixture = fixture.restart("-1d");
    let server = &fixture.server;
    let readiness = fixture.readiness();
    assert!(
        readiness.contains("the last entry of the journal was written at"),
        "{readiness}"
    );
    // It has no certificate for TLS yet; administrators and those who fetch CRLs are served.
    assert!(!fixture.json(&["bundle", "show"]).is_null());
    assert_eq!(server.certificates("spiffe://example.org/*").len(), 3);
    fixture.revoke(&db);
    fixture.crl_will_show(&db);

    fixture.clock.set("+0");
    fixture.becomes_ready();
    run(&mut renewal(&web));
    let (_, why) = fails(&mut renewal(&db));
    assert!(why.contains("CERTIFICATE_REVOKED"), "{why}");
    fixture.issue(LATER, "later");
}

#[test]
fn a_clock_before_the_last_entry_is_accepted_without_a_server() {
    let folder = TempDir::new().expect("a temporary folder");
    let fixture = Fixture::start_in(folder, "+3d");
    let (code, folder) = fixture.server.terminate();
    assert_eq!(code, 0);
    forget_boot(&folder.path().join("data"));

    let accept = || {
        let mut command = signet();
        command.args(["server", "accept-clock", "--data"]);
        run(command.arg(folder.path().join("data")))
    };
    let said = accept();
    assert!(said.contains("the wall clock is accepted"), "{said}");
    assert!(said.contains("the last entry of the journal"), "{said}");
    let said = accept();
    assert!(said.contains("not disputed"), "{said}");
}

#[test]
fn a_folder_without_a_journal_has_no_clock_to_accept_and_stays_empty() {
    let folder = TempDir::new().expect("a temporary folder");
    for command in [["server", "accept-clock"], ["authority", "list"]] {
        let (_, why) = fails(signet().args(command).arg("--data").arg(folder.path()));
        assert!(why.contains("NOT_FOUND"), "{why}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn a_restart_in_the_same_boot_ends_no_dispute() {
    let fixture = Fixture::up();
    let web = fixture.issue(WEB, "web");
    fixture.clock.set("+3d");
    fixture.becomes_disputed();

    let fixture = fixture.restart_after("+3d", |_| ());
    let readiness = fixture.readiness();
    assert!(readiness.contains("by the boot-time clock it is"), "{readiness}");
    // Nor does a crash, or a start after another command.
    let (folder, _) = fixture.server.kill();
    let fixture = Fixture::start_in(folder, "+3d");
    assert!(fixture.readiness().contains("accept-clock"));

    assert_eq!(fixture.json(&["server", "accept-clock"])["accepted"], true);
    fixture.becomes_ready();
    wait_for("the accepted time to be kept", || {
        let kept = std::fs::read(fixture.server.path("data/clock.json")).ok()?;
        let kept: Value = serde_json::from_slice(&kept).ok()?;
        let tomorrow = (SystemClock.now() + time::Duration::DAY).unix_timestamp() * 1000;
        (kept["agreement"]["wall"].as_i64()? > tomorrow).then_some(())
    });
    let fixture = fixture.restart_after("+3d", |_| ());
    fixture.becomes_ready();

    // Without a server the boot-time clock is a witness as well.
    let (folder, _) = fixture.server.kill();
    let mut command = signet();
    command.args(["server", "accept-clock", "--data"]);
    let said = run(command.arg(folder.path().join("data")));
    assert!(said.contains("the wall clock is accepted"), "{said}");
    let fixture = Fixture::start_in(folder, "+0");
    fixture.becomes_ready();
    assert_eq!(fixture.server.certificates(WEB).len(), 1);
    assert!(web.exists());
}
