//! What a server tells of itself while it works: metrics, audit lines, logs. Each is read as an operator would read it.

use std::path::Path;

use serde_json::Value;

use crate::support::{REQUEST, Server, Settings, fails, http_get, openssl, run, signet, wait_for};

const WEB: &str = "spiffe://example.org/ns/default/sa/web";
const DB: &str = "spiffe://example.org/ns/default/sa/db";

/// Every metric that dashboards and alerts may rely on, with its labels.
const SERIES: [&str; 12] = [
    "signet_certificates_issued_total{profile=\"server\",method=\"server\"}",
    "signet_replays_total",
    "signet_refusals_total{reason=\"NO_PROOF\"}",
    "signet_refusals_total{reason=\"INTERNAL\"}",
    "signet_issue_duration_seconds_bucket{le=\"+Inf\"}",
    "signet_requests_in_flight",
    "signet_journal_sync_duration_seconds_sum",
    "signet_journal_sync_duration_seconds_count",
    "signet_snapshots_total{outcome=\"failed\"}",
    "signet_authority_not_after_seconds",
    "signet_clock_disputed",
    "signet_log_lines_dropped_total",
];

fn issue(token: &Path, out: &Path) -> std::process::Command {
    let mut command = signet();
    command.args(["cert", "issue", "--token-file"]).arg(token);
    command.arg("--out").arg(out);
    command
}

/// One token redeemed, asked for again with its key and with another one; another token redeemed, and its certificate renewed.
fn work(server: &Server) {
    run(openssl(server.folder())
        .args(REQUEST)
        .args(["-subj", "/CN=web", "-keyout", "web.key", "-out", "web.csr"]));
    let token = server.token_file(WEB, &[]);
    for out in ["web", "again"] {
        run(issue(&token, &server.path(out))
            .arg("--csr")
            .arg(server.path("web.csr")));
    }
    let (_, why) = fails(&mut issue(&token, &server.path("thief")));
    assert!(why.contains("TOKEN_SPENT"), "{why}");
    let out = server.path("db");
    run(&mut issue(&server.token_file(DB, &[]), &out));
    run(signet().args(["cert", "renew", "--force"]).arg(&out));
}

fn serial(server: &Server, name: &str) -> String {
    let shown = run(openssl(server.folder())
        .args(["x509", "-noout", "-serial", "-in"])
        .arg(name));
    shown.trim().trim_start_matches("serial=").to_lowercase()
}

#[test]
fn metrics_count_each_decision_once() {
    let server = Server::up();
    let (status, text) = http_get(server.fact("metrics"), "/metrics");
    assert_eq!(status, 200);
    for series in SERIES {
        let there = text.lines().any(|line| line.starts_with(&format!("{series} ")));
        assert!(there, "{series} is not in\n{text}");
    }
    assert_eq!(
        server.metric("signet_refusals_total{reason=\"TOKEN_SPENT\"}"),
        0.0
    );
    let synced = server.metric("signet_journal_sync_duration_seconds_count");

    work(&server);
    for (series, value) in [
        (
            "signet_certificates_issued_total{profile=\"workload\",method=\"token\"}",
            2.0,
        ),
        (
            "signet_certificates_issued_total{profile=\"workload\",method=\"renewal\"}",
            1.0,
        ),
        (
            "signet_certificates_issued_total{profile=\"server\",method=\"server\"}",
            1.0,
        ),
        ("signet_replays_total", 1.0),
        ("signet_refusals_total{reason=\"TOKEN_SPENT\"}", 1.0),
        ("signet_issue_duration_seconds_count", 4.0),
        ("signet_requests_in_flight", 0.0),
    ] {
        assert_eq!(server.metric(series), value, "{series}");
    }
    let batches = server.metric("signet_journal_sync_duration_seconds_count") - synced;
    assert!(
        batches >= 5.0,
        "two tokens and three certificates took {batches} batches"
    );

    let authorities = run(&mut server.signet(&["authority", "list", "-o", "json"]));
    let authorities: Value = serde_json::from_str(&authorities).expect("JSON");
    let printed = authorities["items"][0]["notAfter"].as_str().expect("a time");
    let ends = run(std::process::Command::new("date").args(["-u", "+%s", "-d", printed]));
    let ends: f64 = ends.trim().parse().expect("seconds");
    assert_eq!(server.metric("signet_authority_not_after_seconds"), ends);
}

#[test]
fn audit_lines_say_who_got_what_by_which_proof_and_why_others_did_not() {
    let server = Server::up();
    work(&server);
    let web = serial(&server, "web/svid.pem");
    let db = serial(&server, "db/svid.pem");
    run(&mut server.signet(&["cert", "revoke", &db, "--reason", "keyCompromise"]));
    let (_, why) = fails(signet().args(["cert", "renew", "--force"]).arg(server.path("db")));
    assert!(why.contains("CERTIFICATE_REVOKED"), "{why}");

    let lines = wait_for("the line of the last refusal", || {
        let text = std::fs::read_to_string(server.path("data/audit.log")).ok()?;
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        lines
            .iter()
            .any(|line| line["reason"] == "CERTIFICATE_REVOKED")
            .then_some(lines)
    });
    let find = |decision: &str, field: &str, value: &str| {
        lines
            .iter()
            .find(|line| line["decision"] == decision && line[field] == value)
            .unwrap_or_else(|| panic!("no {decision} with {field} {value} in {lines:#?}"))
    };

    let issued = find("issued", "serial", &web);
    assert_eq!(issued["identity"], WEB);
    assert_eq!(issued["method"], "token");
    assert!(
        issued["caller"].as_str().expect("a caller").starts_with("token:"),
        "{issued}"
    );
    assert!(
        issued["registration"]
            .as_str()
            .expect("a grant")
            .starts_with("default/token-"),
        "{issued}"
    );
    assert_eq!(find("replayed", "serial", &web)["caller"], issued["caller"]);

    let renewed = find("issued", "serial", &db);
    assert_eq!(
        (&renewed["method"], &renewed["caller"]),
        (&Value::from("renewal"), &Value::from(DB))
    );
    let first = find("issued", "method", "token");
    assert_eq!(first["parent"], Value::Null);
    assert_eq!(
        find("issued", "serial", renewed["parent"].as_str().expect("a parent"))["identity"],
        DB
    );

    let spent = find("refused", "reason", "TOKEN_SPENT");
    assert_eq!(spent["caller"], issued["caller"]);
    let revoked = find("changed", "serial", &db);
    assert_eq!(revoked["method"], "admin");
    let caller = revoked["caller"].as_str().expect("a caller");
    assert!(caller.starts_with("unix:uid="), "{revoked}");

    for line in [issued, renewed, revoked] {
        let head = line["head"].as_str().expect("a head");
        run(&mut server.signet(&["journal", "verify", "--head", head]));
    }
    let secret = std::fs::read_to_string(server.token_file("spiffe://example.org/x", &[])).expect("a token");
    let log = std::fs::read_to_string(server.path("data/audit.log")).expect("the audit log");
    assert!(
        !log.contains(&secret) && !log.contains("sgt1."),
        "a secret is in {log}"
    );
}

#[test]
fn the_log_is_quiet_per_request_unless_asked() {
    let server = Server::up();
    work(&server);
    let log = server.log();
    assert!(
        log.lines()
            .any(|line| line.contains(" INFO ") && line.ends_with(" ready")),
        "{log}"
    );
    for word in ["TOKEN_SPENT", WEB, DB, "DEBUG"] {
        assert!(!log.contains(word), "{word} is in {log}");
    }
}

#[test]
fn the_log_tells_of_each_decision_when_asked_and_keeps_secrets() {
    let server = Server::start(Settings {
        arguments: ["--log-level", "debug", "--log-format", "json"]
            .map(str::to_owned)
            .to_vec(),
        ..Settings::default()
    });
    work(&server);
    let log = server.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let count = |message: &str, field: &str, value: &str| {
        lines
            .iter()
            .filter(|line| line["message"] == message && line[field] == value)
            .count()
    };
    assert_eq!(count("issued", "identity", WEB), 1, "{log}");
    assert_eq!(count("replayed", "identity", WEB), 1, "{log}");
    assert_eq!(count("issued", "identity", DB), 2, "{log}");
    assert_eq!(count("refused", "reason", "TOKEN_SPENT"), 1, "{log}");
    assert!(!log.contains("sgt1."), "a token is in {log}");
}
