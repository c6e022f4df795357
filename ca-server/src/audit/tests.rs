//! Audit lines and their counts, as a log collector reads them.

use super::*;
use runtime::readiness::Readiness;
use serde_json::Value;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;
use time::OffsetDateTime;
use time::macros::datetime;

const PATIENCE: Duration = Duration::from_secs(10);

/// A clock that a test moves.
struct Hand(Mutex<OffsetDateTime>);

impl Clock for Hand {
    fn now(&self) -> OffsetDateTime {
        *lock(&self.0)
    }
}

struct Bench {
    audit: Audit,
    clock: Arc<Hand>,
    readiness: Readiness,
    journal: mpsc::Receiver<RefusalCount>,
}

fn bench(file: &Path) -> Bench {
    let clock = Arc::new(Hand(Mutex::new(datetime!(2026-01-01 12:00:10 UTC))));
    let readiness = Readiness::new();
    let (send, journal) = mpsc::channel();
    let audit = Audit::start(
        AuditLog::file(file).unwrap(),
        readiness.condition("audit"),
        Arc::clone(&clock) as Arc<dyn Clock>,
        Box::new(move |count| send.send(count).unwrap()),
    )
    .unwrap();
    Bench {
        audit,
        clock,
        readiness,
        journal,
    }
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not happen");
        thread::yield_now();
    }
}

#[test]
fn an_issued_certificate_is_one_line_with_all_that_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("audit.log");
    let bench = bench(&file);
    let mut line = Line::new(datetime!(2026-01-01 12:00 UTC), Decision::Issued, "token:t1");
    line.identity = Some("spiffe://example.org/ns/default/sa/a".to_owned());
    line.serial = Some("0abc".parse().unwrap());
    line.method = Some("token");
    line.registration = Some("default/a".to_owned());
    line.position = Some(7);
    line.head = Some([0xab; 32]);
    bench.audit.write(line);
    bench.audit.close(PATIENCE);
    let expected = serde_json::json!({
        "time": "2026-01-01T12:00:00Z", "decision": "issued", "identity": "spiffe://example.org/ns/default/sa/a",
        "serial": "0abc", "method": "token", "caller": "token:t1", "registration": "default/a", "position": 7,
        "head": "ab".repeat(32),
    });
    assert_eq!(lines(&file), [expected]);
}

#[test]
fn refusals_of_known_callers_are_a_line_at_once_and_a_count_for_line_and_journal_when_the_minute_ends() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("audit.log");
    let bench = bench(&file);
    let refusal = Refusal::new(Reason::IdentityNotGranted, "no registration grants it");
    for _ in 0..5 {
        bench
            .audit
            .refused(&refusal, "token:t1", |line| line.method = Some("token"));
    }
    bench.audit.refused(&refusal, "token:t2", |_| ());
    wait_until("the first lines", || lines(&file).len() == 2);
    assert!(bench.journal.try_recv().is_err());
    *lock(&bench.clock.0) += Duration::from_secs(60);
    let mut counts = [
        bench.journal.recv_timeout(PATIENCE).unwrap(),
        bench.journal.recv_timeout(PATIENCE).unwrap(),
    ];
    counts.sort_by_key(|count| count.count);
    assert_eq!((counts[0].caller.as_str(), counts[0].count), ("token:t2", 1));
    assert_eq!((counts[1].caller.as_str(), counts[1].count), ("token:t1", 5));
    bench.audit.close(PATIENCE);
    let lines = lines(&file);
    assert_eq!(lines.len(), 3);
    assert_eq!(
        (&lines[0]["decision"], &lines[0]["method"]),
        (&"refused".into(), &"token".into())
    );
    assert_eq!(
        (&lines[2]["reason"], &lines[2]["count"]),
        (&"IDENTITY_NOT_GRANTED".into(), &5.into())
    );
}

#[test]
fn the_counts_of_an_open_minute_are_not_lost_at_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let bench = bench(&dir.path().join("audit.log"));
    bench
        .audit
        .refused(&Refusal::new(Reason::NotAdmin, "no"), "a", |_| ());
    bench.audit.close(PATIENCE);
    assert_eq!(bench.journal.recv().unwrap().count, 1);
}

#[test]
fn a_stranger_costs_a_line_a_second() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("audit.log");
    let bench = bench(&file);
    let refusal = Refusal::new(Reason::NoProof, "neither token nor certificate");
    for _ in 0..100 {
        bench
            .audit
            .refused_early(&refusal, "signet.v1", "192.0.2.1:4711", |_| ());
    }
    *lock(&bench.clock.0) += Duration::from_secs(1);
    bench
        .audit
        .refused_early(&refusal, "signet.v1", "192.0.2.1:4711", |_| ());
    bench.audit.close(PATIENCE);
    let lines = lines(&file);
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["count"], &lines[1]["count"]),
        (&Value::Null, &100.into())
    );
    assert!(bench.journal.try_recv().is_err());
}

#[test]
fn a_file_that_takes_nothing_is_unhealthy_and_not_ready_and_holds_nobody_up() {
    // /dev/full answers every write with ENOSPC.
    let bench = bench(Path::new("/dev/full"));
    assert!(bench.audit.healthy() && bench.readiness.state().is_ready());
    let line = || Line::new(datetime!(2026-01-01 12:00 UTC), Decision::Issued, "a");
    bench.audit.write(line());
    wait_until("unhealthy", || !bench.audit.healthy());
    wait_until("not ready", || !bench.readiness.state().is_ready());
    for _ in 0..3 * BACKLOG {
        bench.audit.write(line());
    }
    bench.audit.close(PATIENCE);
}

#[test]
fn a_file_that_takes_lines_again_is_healthy_by_itself_and_gets_those_that_waited() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("audit.log");
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let bench = bench(&file);
    bench
        .audit
        .write(Line::new(datetime!(2026-01-01 12:00 UTC), Decision::Issued, "a"));
    wait_until("unhealthy", || !bench.audit.healthy());
    std::fs::remove_file(&file).unwrap();
    wait_until("healthy", || bench.audit.healthy());
    wait_until("ready", || bench.readiness.state().is_ready());
    bench.audit.close(PATIENCE);
    assert_eq!(lines(&file).len(), 1);
}

#[test]
fn a_fork_is_one_line_for_each_parent_and_minute() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("audit.log");
    let bench = bench(&file);
    let line = || Line::new(datetime!(2026-01-01 12:00 UTC), Decision::Forked, "a");
    for serial in ["01", "01", "02"] {
        bench.audit.forked(serial.parse().unwrap(), line);
    }
    bench.audit.close(PATIENCE);
    assert_eq!(lines(&file).len(), 2);
}

#[test]
fn after_a_rotation_lines_go_to_a_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let (file, moved) = (dir.path().join("audit.log"), dir.path().join("audit.log.1"));
    let bench = bench(&file);
    let line = || Line::new(datetime!(2026-01-01 12:00 UTC), Decision::Changed, "a");
    bench.audit.write(line());
    wait_until("the first line", || lines(&file).len() == 1);
    std::fs::rename(&file, &moved).unwrap();
    bench.audit.reopen();
    bench.audit.write(line());
    bench.audit.close(PATIENCE);
    assert_eq!((lines(&moved).len(), lines(&file).len()), (1, 1));
}
