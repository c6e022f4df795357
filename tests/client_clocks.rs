//! `signet cert` on machines whose wall clock is wrong, or is set while it runs: no more certificates than
//! with a right one.

use std::path::{Path, PathBuf};
use std::process::Command;

use identity::Leaf;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::support::{Background, FakeTime, Server, fails, run, said, signet, wait_for};

const RENEWED: &str = "signet_certificates_issued_total{profile=\"workload\",method=\"renewal\"}";
const REPORTED: &str = "the clock of this machine reads";
const WEB: &str = "spiffe://example.org/ns/default/sa/web";

fn issue(server: &Server, name: &str, more: &[&str]) -> PathBuf {
    let out = server.path(name);
    let token = server.token_file(&format!("spiffe://example.org/ns/default/sa/{name}"), &[]);
    let mut command = signet();
    command.args(["cert", "issue", "--token-file"]).arg(&token);
    command.arg("--out").arg(&out).args(more);
    run(&mut command);
    out
}

fn serial(folder: &Path) -> String {
    let text = std::fs::read(folder.join("svid.pem")).expect("a certificate");
    let leaf = CertificateDer::from_pem_slice(&text).expect("PEM");
    Leaf::parse(&leaf).expect("a leaf").serial().to_string()
}

fn daemon(server: &Server, name: &str, clock: &FakeTime) -> Background {
    let mut command = signet();
    command.args(["cert", "renew", "--daemon"]).arg(server.path(name));
    Background::start(
        command.envs(clock.environment()),
        &server.path(&format!("{name}.log")),
    )
}

/// A wall clock of its own, wrong by `offset`.
fn wrong_clock(server: &Server, name: &str, offset: &str) -> FakeTime {
    let folder = server.path(&format!("clock-of-{name}"));
    std::fs::create_dir_all(&folder).expect("a folder");
    FakeTime::new(&folder, offset)
}

fn renewals(daemon: &Background) -> usize {
    daemon.text().matches(" renewed until ").count()
}

#[test]
fn daemons_with_wrong_clocks_and_one_whose_clock_jumps_renew_as_often_as_one_whose_clock_is_right() {
    let server = Server::up();
    let clocks = [
        ("right", "+0"),
        ("minutes-ahead", "+35m"),
        ("days-ahead", "+3d"),
        ("days-behind", "-3d"),
        ("jumps", "+0"),
    ];
    let running: Vec<(FakeTime, Background)> = clocks
        .iter()
        .map(|(name, offset)| {
            issue(&server, name, &["--life", "10s"]);
            let clock = wrong_clock(&server, name, offset);
            let daemon = daemon(&server, name, &clock);
            (clock, daemon)
        })
        .collect();
    let [right, .., jumps] = &running[..] else {
        panic!("five daemons")
    };
    let mut jumped = 0;
    wait_for("five renewals with a right clock", || {
        let count = renewals(&right.1);
        for (after, offset) in [(1, "+3d"), (2, "-3d"), (3, "+35m")] {
            if count >= after && jumped < after {
                jumps.0.set(offset);
                jumped = after;
            }
        }
        (count >= 5).then_some(())
    });
    let counts: Vec<usize> = running.iter().map(|(_, daemon)| renewals(daemon)).collect();
    let log = |i: usize| running[i].1.text();
    for (i, count) in counts.iter().enumerate() {
        // A jump ahead by more than a life may be a machine that was stopped, so each is worth one renewal.
        let most = counts[0] + if i == 4 { 3 } else { 1 };
        assert!(
            *count >= counts[0] - 1 && *count <= most,
            "{}: {counts:?}\n{}",
            clocks[i].0,
            log(i)
        );
    }
    let issued = server.metric(RENEWED);
    let reported: usize = running.iter().map(|(_, daemon)| renewals(daemon)).sum();
    assert!(
        issued <= f64::from(u32::try_from(reported).expect("few")),
        "{issued} issued, {reported} reported"
    );
    for i in [1, 2, 3] {
        assert!(log(i).contains(REPORTED), "{}", log(i));
    }
    for (_, daemon) in running {
        let (code, said) = daemon.terminate();
        assert_eq!(code, 0, "{said}");
    }
}

#[test]
fn restarts_with_a_wrong_clock_cost_no_renewal_and_no_token() {
    let server = Server::up();
    let web = issue(&server, "web", &[]);
    let first = serial(&web);
    for offset in ["+35m", "+3d", "-3d"] {
        let clock = wrong_clock(&server, "clock", offset);
        for _ in 0..3 {
            let daemon = daemon(&server, "web", &clock);
            wait_for("the daemon to report the clock", || {
                daemon.text().contains(REPORTED).then_some(())
            });
            daemon.terminate();
        }
        let mut needs = signet();
        needs.args(["cert", "needs-renewal"]).arg(&web);
        let answer = needs.envs(clock.environment()).output().expect("signet runs");
        assert_eq!(answer.status.code(), Some(1), "{offset}: {}", said(&answer));
        let mut renew = signet();
        let text = run(renew.args(["cert", "renew"]).arg(&web).envs(clock.environment()));
        assert!(text.contains("is not due before"), "{offset}: {text}");
    }
    assert_eq!(server.metric(RENEWED), 0.0);
    assert_eq!(serial(&web), first);
    let clock = wrong_clock(&server, "clock", "+3d");
    let mut renew = signet();
    run(renew
        .args(["cert", "renew", "--force"])
        .arg(&web)
        .envs(clock.environment()));
    assert_ne!(serial(&web), first, "a wrong clock does not prevent it either");
}

#[test]
fn a_certificate_that_has_expired_by_the_clock_of_the_client_is_stored_with_a_warning_of_both_times() {
    let server = Server::up();
    let clock = wrong_clock(&server, "clock", "+35m");
    let token = server.token_file(WEB, &[]);
    let issue = |out: &str| {
        let mut command = signet();
        command
            .args(["cert", "issue", "--life", "20m", "--token-file"])
            .arg(&token);
        command.arg("--out").arg(server.path(out));
        command
    };
    let mut command: Command = issue("web");
    let answer = command.envs(clock.environment()).output().expect("signet runs");
    let text = said(&answer);
    assert!(answer.status.success(), "{text}");
    assert!(text.contains(&format!("warning: {REPORTED}")), "{text}");
    serial(&server.path("web"));
    assert_eq!(server.certificates(WEB).len(), 1);

    // By a clock days ahead the server has expired, too: nothing is sent to it.
    let clock = wrong_clock(&server, "clock", "+3d");
    let other = server.token_file("spiffe://example.org/ns/default/sa/other", &[]);
    let mut command = signet();
    command.args(["cert", "issue", "--token-file"]).arg(&other);
    command.arg("--out").arg(server.path("other"));
    let (code, text) = fails(command.envs(clock.environment()));
    assert_eq!(code, 1);
    assert!(text.contains("it is now"), "{text}");
    let mut command = signet();
    command.args(["cert", "issue", "--token-file"]).arg(&other);
    run(command.arg("--out").arg(server.path("other")));
}
