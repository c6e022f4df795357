//! Disks that hang, are full or read-only, threads that die, locks that others hold: callers are served or
//! refused with the reason, nothing that was answered is lost, stopping has a deadline, and health reports
//! it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use client_lib::PrivateKey;
use identity::{Leaf, Reason};
use proto::Refusal;
use tempfile::TempDir;

use crate::support::wire::{csr, key};
use crate::support::{
    Admin, Fault, FaultyDisk, Server, Settings, Wire, fails, http_get, run, server_command, signet, wait_for,
};

const WEB: &str = "spiffe://example.org/ns/default/sa/web";
/// Longest that a stop may take: the deadline of `runtime::drain`, with something for a busy machine.
const STOP_LIMIT: Duration = Duration::from_secs(29);

/// A server whose disk can be made faulty below one path of its data folder.
struct Bench {
    server: Server,
    disk: FaultyDisk,
    /// Serial numbers of the certificates that were answered.
    answered: BTreeSet<String>,
}

impl Bench {
    fn start(below: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let disk = FaultyDisk::new(folder.path(), below);
        let settings = disk.under(Settings {
            arguments: vec!["--trust-domain".to_owned(), "example.org".to_owned()],
            ..Settings::default()
        });
        let server = Server::start_in(folder, settings);
        Self {
            server,
            disk,
            answered: BTreeSet::new(),
        }
    }

    async fn token(&self) -> String {
        let admin = Admin::connect(&self.server.data())
            .await
            .expect("the server is there");
        admin.create_token(WEB).await.expect("a token").0
    }

    /// A certificate for this token and key.
    async fn issue(&mut self, token: &str, key: &PrivateKey) -> Result<String, Refusal> {
        let serial = issue(&Wire::connect(&self.server, None).await, token, key).await?;
        self.answered.insert(serial.clone());
        Ok(serial)
    }

    fn readiness(&self) -> (u16, String) {
        http_get(self.server.fact("metrics"), "/readyz")
    }

    /// Waits until the server is not ready for this reason.
    fn not_ready(&self, why: &str) {
        wait_for("the server to report its disk", || {
            let (status, reasons) = self.readiness();
            (status == 503 && reasons.contains(why)).then_some(())
        });
    }

    fn ready_again(&self) {
        wait_for("the server to be ready again", || {
            (self.readiness().0 == 200).then_some(())
        });
    }

    /// What needs no disk is served.
    fn assert_reads_are_served(&self) {
        run(&mut self.server.signet(&["cert", "list"]));
        run(&mut self.server.signet(&["token", "list"]));
        assert_eq!(
            http_get(self.server.fact("crl"), "/healthz").0 / 100,
            4,
            "the CRL port answers"
        );
    }

    /// Each certificate that was answered is in the journal of this server.
    fn assert_nothing_is_lost(&self) {
        let recorded: BTreeSet<String> = self
            .server
            .certificates(WEB)
            .iter()
            .map(|certificate| certificate["serial"].as_str().expect("a serial").to_owned())
            .collect();
        let lost: Vec<_> = self.answered.difference(&recorded).collect();
        assert!(lost.is_empty(), "{lost:?} of {recorded:?}");
    }
}

async fn issue(wire: &Wire, token: &str, key: &PrivateKey) -> Result<String, Refusal> {
    let answer = wire.issue(csr(key, WEB), Some(token)).await?;
    let leaf = Leaf::parse(&answer.chain[0]).expect("a certificate");
    Ok(leaf.serial().to_string())
}

#[track_caller]
fn assert_unavailable(refused: Result<String, Refusal>, part: &str) {
    let refusal = refused.expect_err("nothing is issued");
    assert_eq!(refusal.reason(), Reason::StoreUnavailable, "{refusal}");
    assert!(refusal.message().contains(part), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_hangs_is_reported_and_callers_are_refused_until_it_answers() {
    let mut bench = Bench::start("data/journal");
    let tokens = [bench.token().await, bench.token().await, bench.token().await];
    let keys = [key(), key(), key()];
    bench.issue(&tokens[0], &keys[0]).await.expect("a sound disk");

    bench.disk.set(Fault::Hang);
    let wire = Wire::connect(&bench.server, None).await;
    let began = Instant::now();
    assert_unavailable(
        issue(&wire, &tokens[1], &keys[1]).await,
        "unknown whether this request was recorded",
    );
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    bench.not_ready("the journal has not answered for");
    let began = Instant::now();
    assert_unavailable(issue(&wire, &tokens[2], &keys[2]).await, "nothing was done");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    tokio::task::block_in_place(|| bench.assert_reads_are_served());

    bench.disk.heal();
    tokio::task::block_in_place(|| bench.ready_again());
    // The request of which nothing was known gets its certificate, once.
    let first = bench.issue(&tokens[1], &keys[1]).await.expect("the disk answers");
    assert_eq!(bench.issue(&tokens[1], &keys[1]).await.expect("again"), first);
    bench.issue(&tokens[2], &keys[2]).await.expect("the disk answers");
    let issued = tokio::task::block_in_place(|| bench.server.certificates(WEB).len());
    assert_eq!(issued, 3);
    // The certificate that was recorded after its caller was refused is in the audit log as well.
    let audit = std::fs::read_to_string(bench.server.data().join("audit.log")).expect("an audit log");
    assert!(
        audit
            .lines()
            .any(|line| line.contains(&first) && line.contains("\"issued\"")),
        "{audit}"
    );
    bench.server = tokio::task::block_in_place(|| bench.server.crash_and_restart());
    tokio::task::block_in_place(|| bench.assert_nothing_is_lost());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_recorded_after_its_caller_was_refused_is_in_the_audit_log() {
    let mut bench = Bench::start("data/journal");
    let token = bench.token().await;
    bench.issue(&token, &key()).await.expect("a sound disk");
    let serial = tokio::task::block_in_place(|| bench.server.certificates(WEB))[0]["serial"].clone();
    let serial = serial.as_str().expect("a text");
    let admin = Admin::connect(&bench.server.data())
        .await
        .expect("the server is there");

    bench.disk.set(Fault::Hang);
    let refused = admin.revoke(serial).await.expect_err("the journal hangs");
    assert!(
        refused
            .message()
            .contains("unknown whether this request was recorded"),
        "{refused}"
    );
    bench.disk.heal();
    tokio::task::block_in_place(|| {
        bench.ready_again();
        let shown = run(&mut bench.server.signet(&["cert", "show", serial, "-o", "json"]));
        assert!(shown.contains("superseded"), "{shown}");
        let log = bench.server.data().join("audit.log");
        wait_for("its audit line", || {
            let audit = std::fs::read_to_string(&log).expect("an audit log");
            let mut lines = audit.lines();
            lines
                .any(|line| {
                    line.contains("\"changed\"") && line.contains(&format!("revoke certificate {serial}"))
                })
                .then_some(())
        });
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_stops_within_its_deadline_whatever_part_of_its_disk_hangs() {
    let stops = ["data/journal", "data/index", "data/audit.log", "data/"].map(|below| {
        tokio::spawn(async move {
            let mut bench = Bench::start(below);
            let (token, other) = (bench.token().await, bench.token().await);
            bench.issue(&token, &key()).await.expect("a sound disk");
            bench.disk.set(Fault::Hang);
            let wire = Wire::connect(&bench.server, None).await;
            let request = tokio::spawn(async move { issue(&wire, &other, &key()).await });
            // Whatever it gets, it is answered: by refusal where the journal hangs.
            let answered = tokio::time::timeout(Duration::from_secs(20), request).await;
            let answered = answered.expect("the caller is answered").expect("no panic");
            bench.answered.extend(answered.ok());
            let Bench {
                server,
                disk,
                answered,
            } = bench;
            let began = Instant::now();
            server.signal("TERM");
            let (code, folder) = tokio::task::block_in_place(|| server.ended());
            assert!(began.elapsed() < STOP_LIMIT, "{below}: {:?}", began.elapsed());
            let is_clean = !matches!(below, "data/journal" | "data/");
            assert_eq!(code == 0, is_clean, "{below}: exit code {code}");
            disk.heal();
            let server = tokio::task::block_in_place(|| Server::start_in(folder, Settings::default()));
            let bench = Bench {
                server,
                disk,
                answered,
            };
            tokio::task::block_in_place(|| bench.assert_nothing_is_lost());
        })
    });
    for stop in stops {
        stop.await.expect("it stops");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_log_that_hangs_is_reported_and_nothing_is_issued_until_it_answers() {
    let mut bench = Bench::start("data/audit.log");
    let (token, other) = (bench.token().await, bench.token().await);
    bench.issue(&token, &key()).await.expect("a sound disk");
    bench.disk.set(Fault::Hang);
    // Its line is the one that hangs.
    let _lines = bench.issue(&other, &key()).await;
    tokio::task::block_in_place(|| bench.not_ready("the audit log has not answered for"));
    bench.disk.heal();
    tokio::task::block_in_place(|| bench.ready_again());
    let token = bench.token().await;
    bench.issue(&token, &key()).await.expect("the disk answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_or_read_only_disk_refuses_with_the_reason_and_the_server_recovers_by_itself() {
    for (fault, why) in [
        (Fault::Full, "No space left on device"),
        (Fault::ReadOnly, "Read-only file system"),
    ] {
        let mut bench = Bench::start("data/journal");
        let tokens = [bench.token().await, bench.token().await, bench.token().await];
        let keys = [key(), key(), key()];
        bench.issue(&tokens[0], &keys[0]).await.expect("a sound disk");
        bench.disk.set(fault);
        let refused = bench.issue(&tokens[1], &keys[1]).await;
        assert_unavailable(refused, why);
        tokio::task::block_in_place(|| {
            bench.not_ready(why);
            bench.assert_reads_are_served();
        });
        bench.disk.heal();
        // Nobody asks meanwhile.
        tokio::task::block_in_place(|| bench.ready_again());
        bench
            .issue(&tokens[1], &keys[1])
            .await
            .expect("the same request is done now");
        bench.disk.set(fault);
        let refused = bench.issue(&tokens[2], &keys[2]).await;
        assert_unavailable(refused, why);
        // A crash while the disk refuses.
        let (folder, _) = bench.server.kill();
        bench.disk.heal();
        bench.server = tokio::task::block_in_place(|| Server::start_in(folder, Settings::default()));
        tokio::task::block_in_place(|| bench.assert_nothing_is_lost());
        let token = &tokens[2];
        bench.answered.clear();
        bench.issue(token, &keys[2]).await.expect("it was not spent");
        let verified = tokio::task::block_in_place(|| run(&mut bench.server.signet(&["journal", "verify"])));
        assert!(!verified.contains("incomplete"), "{verified}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_writer_or_audit_thread_is_gone_ends_with_an_error_and_loses_nothing() {
    for (below, thread) in [
        ("data/journal", "the store's thread \"store\" ended by a panic"),
        ("data/audit.log", "the audit log's thread ended by a panic"),
    ] {
        let mut bench = Bench::start(below);
        let (token, other) = (bench.token().await, bench.token().await);
        bench.issue(&token, &key()).await.expect("a sound disk");
        bench.disk.set(Fault::Lie);
        let _ = bench.issue(&other, &key()).await;
        let Bench {
            server,
            disk,
            answered,
        } = bench;
        let log = server.path("log");
        let (code, folder) = tokio::task::block_in_place(|| server.ended());
        assert_eq!(code, 1, "{below}");
        let said = std::fs::read_to_string(folder.path().join(log.file_name().expect("a name")));
        let said = said.expect("a log");
        assert!(said.contains(thread), "{said}");
        disk.heal();
        let server = tokio::task::block_in_place(|| Server::start_in(folder, Settings::default()));
        let bench = Bench {
            server,
            disk,
            answered,
        };
        tokio::task::block_in_place(|| bench.assert_nothing_is_lost());
    }
}

/// One worker stands for a machine with one core. The authority is renewed within seconds, for which its key
/// is written.
#[test]
fn a_folder_of_keys_that_hangs_is_reported_and_holds_up_no_request() {
    let folder = TempDir::new().expect("a temporary folder");
    let disk = FaultyDisk::new(folder.path(), "data/keys");
    let lives = [("intermediate", "30s"), ("workload", "10s"), ("server", "20s")];
    let lives = lives.map(|(profile, life)| format!("--profiles-{profile}-life={life}"));
    let mut settings = disk.under(Settings {
        arguments: lives.to_vec(),
        ..Settings::default()
    });
    settings
        .environment
        .push(("TOKIO_WORKER_THREADS", "1".to_owned()));
    let server = Server::start_in(folder, settings);
    disk.set(Fault::Hang);
    wait_for("the server to report its keys", || {
        let (status, reasons) = http_get(server.fact("metrics"), "/readyz");
        (status == 503 && reasons.contains("does the disk answer")).then_some(())
    });
    run(&mut server.signet(&["token", "list"]));
    disk.heal();
    wait_for("the server to be ready again", || {
        (http_get(server.fact("metrics"), "/readyz").0 == 200).then_some(())
    });
}

#[test]
fn a_log_that_is_not_read_stops_neither_issuing_nor_the_end() {
    let folder = TempDir::new().expect("a temporary folder");
    let log = folder.path().join("log");
    run(Command::new("mkfifo").arg(&log));
    let mut pipe = File::options().read(true).write(true).open(&log).expect("a pipe");
    // As this process holds a reading end and never reads, the pipe is full from here on.
    std::thread::spawn(move || while pipe.write_all(&[b'x'; 4096]).is_ok() {});

    let server = Server::start_in(folder, Settings::default());
    let token = server.token_file(WEB, &[]);
    let mut issue = signet();
    issue.args(["cert", "issue", "--token-file"]).arg(token);
    run(issue.arg("--out").arg(server.path("web")));
    let began = Instant::now();
    let (code, _folder) = server.terminate();
    assert_eq!(code, 0);
    assert!(began.elapsed() < STOP_LIMIT, "{:?}", began.elapsed());
}

/// A program that is not ours holds the lock of this file.
fn hold(lock: &Path) -> std::process::Child {
    let child = Command::new("flock")
        .args(["--exclusive", "--no-fork"])
        .arg(lock)
        .args(["sleep", "60"])
        .stdin(Stdio::null())
        .spawn()
        .expect("flock starts");
    wait_for("the lock to be held", || {
        let free = Command::new("flock")
            .arg("--nonblock")
            .arg(lock)
            .arg("true")
            .status();
        (!free.expect("flock runs").success()).then_some(())
    });
    child
}

#[test]
fn a_lock_that_a_stranger_holds_stops_the_start_at_once_and_names_the_process() {
    let (code, folder) = Server::up().terminate();
    assert_eq!(code, 0);
    let data = folder.path().join("data");
    for (lock, names_pid) in [("lock", true), ("journal/lock", false)] {
        let mut stranger = hold(&data.join(lock));
        let began = Instant::now();
        std::fs::remove_file(folder.path().join("log")).expect("the log of the start before");
        let mut command = server_command(&data, folder.path(), &Settings::default());
        let (code, _) = fails(&mut command);
        assert_eq!(code, 1);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        let said = std::fs::read_to_string(folder.path().join("log")).expect("a log");
        assert!(said.contains("in use by"), "{said}");
        assert!(said.contains(data.to_str().expect("UTF-8")), "{said}");
        if names_pid {
            assert!(said.contains(&format!("pid {}", stranger.id())), "{said}");
        }
        stranger.kill().expect("a child can be killed");
        stranger.wait().expect("a child can be waited for");
    }
    Server::start_in(folder, Settings::default());
}

#[test]
fn the_lock_of_a_data_folder_is_closed_to_other_users() {
    use std::os::unix::fs::PermissionsExt;
    let (_, folder) = Server::up().terminate();
    let lock = folder.path().join("data/lock");
    std::fs::set_permissions(&lock, PermissionsExt::from_mode(0o644)).expect("its mode");
    let _server = Server::start_in(folder, Settings::default());
    let mode = std::fs::metadata(&lock).expect("a lock").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn each_new_folder_is_made_durable_in_its_parent() {
    let folder = TempDir::new().expect("a temporary folder");
    let disk = FaultyDisk::new(folder.path(), "data");
    let server = Server::start_in(folder, disk.under(Settings::default()));
    let synced = disk.synced();
    let data = server.data().canonicalize().expect("a folder");
    for parent in [data.parent().expect("a folder"), &data, &data.join("journal")] {
        assert!(
            synced.iter().any(|path| path == parent),
            "{parent:?} of {synced:?}"
        );
    }
}
