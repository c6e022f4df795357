//! A server from start to drain, seen from outside: probes, readiness, TLS, signals, systemd.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    Background, DEADLINE, Server, Settings, fails, http_get, openssl, python, repository, run, said,
    server_command, signet, wait_for,
};

const WEB: &str = "spiffe://example.org/ns/default/sa/web";

/// The certificate that the server presents, as text of openssl.
fn presented(server: &Server) -> String {
    let shown = openssl(server.folder())
        .args(["s_client", "-showcerts", "-connect", server.fact("grpc")])
        .stdin(Stdio::null())
        .output()
        .expect("openssl runs");
    let path = server.path("presented.pem");
    std::fs::write(&path, shown.stdout).expect("a file");
    run(openssl(server.folder())
        .args(["x509", "-noout", "-serial", "-text", "-in"])
        .arg(&path))
}

fn serial(text: &str) -> String {
    let line = text.lines().find(|line| line.starts_with("serial="));
    line.expect("a serial number").to_owned()
}

#[test]
fn grpcio_finds_health_and_reflection_over_tls_and_over_the_administrators_socket() {
    let server = Server::up();
    run(python()
        .arg(repository("tests/python/probes.py"))
        .arg(server.fact("grpc"))
        .arg(server.fact("adminSocket"))
        .arg(server.fact("bundle")));
}

#[test]
fn a_second_process_on_the_folder_fails_and_names_the_first() {
    let server = Server::up();
    let (code, error) = fails(server.signet(&["up", "--listen-grpc", "127.0.0.1:0"]).args([
        "--listen-crl",
        "127.0.0.1:0",
        "--listen-metrics",
        "127.0.0.1:0",
    ]));
    assert_eq!(code, 1);
    assert!(error.contains(&server.pid().to_string()), "{error}");
    run(&mut server.signet(&["health"]));
}

#[test]
fn systemd_hears_that_the_server_is_ready_and_that_it_stops() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("notify");
    let notified = UnixDatagram::bind(&path).expect("a socket");
    notified.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let data = folder.path().join("data");
    let mut command = server_command(&data, folder.path(), &Settings::default());
    let server = Background::start(command.env("NOTIFY_SOCKET", &path), &folder.path().join("output"));
    let hear = |word: &str| {
        let mut heard = String::new();
        while !heard.lines().any(|line| line == word) {
            let mut message = [0; 4096];
            let length = notified
                .recv(&mut message)
                .expect("a message before the deadline");
            heard.push_str(std::str::from_utf8(&message[..length]).expect("text"));
            heard.push('\n');
        }
    };
    hear("READY=1");
    assert!(data.join("ready.json").exists());
    let ended = std::thread::spawn(move || server.terminate());
    hear("STOPPING=1");
    assert_eq!(ended.join().expect("it ends").0, 0);
}

#[test]
fn tls_before_1_3_is_refused() {
    let server = Server::up();
    let mut connect = openssl(server.folder());
    connect
        .args(["s_client", "-connect", server.fact("grpc"), "-tls1_2"])
        .stdin(Stdio::null());
    let (_, error) = fails(&mut connect);
    assert!(error.contains("protocol version"), "{error}");
    let mut connect = openssl(server.folder());
    connect
        .args([
            "s_client",
            "-verify_return_error",
            "-CAfile",
            server.fact("bundle"),
        ])
        .args([
            "-verify_ip",
            "127.0.0.1",
            "-connect",
            server.fact("grpc"),
            "-tls1_3",
        ])
        .stdin(Stdio::null());
    let output = connect.output().expect("openssl runs");
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn other_server_names_give_another_server_certificate_at_the_next_start() {
    let server = Server::up();
    assert!(presented(&server).contains("DNS:localhost"));
    let (code, folder) = server.terminate();
    assert_eq!(code, 0);
    let names = ["--server-name", "ca.example.org", "--server-name", "127.0.0.1"];
    let server = Server::start_in(
        folder,
        Settings {
            arguments: names.map(str::to_owned).to_vec(),
            ..Settings::default()
        },
    );
    let shown = presented(&server);
    for name in [
        "DNS:ca.example.org",
        "IP Address:127.0.0.1",
        "URI:spiffe://example.org/server/ca.example.org",
    ] {
        assert!(shown.contains(name), "{name}: {shown}");
    }
    assert!(!shown.contains("localhost"), "{shown}");
    let server = server.restart();
    assert!(
        presented(&server).contains("DNS:ca.example.org"),
        "names are kept"
    );
}

#[test]
fn a_server_that_cannot_record_is_not_ready_says_why_and_recovers() {
    let folder = TempDir::new().expect("a temporary folder");
    let data = folder.path().join("data");
    let command = server_command(&data, folder.path(), &Settings::default());
    // Whoever writes past the limit gets an error, not the signal that ends a process.
    let mut without_signal = Command::new("sh");
    without_signal
        .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    let server = Background::start(&mut without_signal, &folder.path().join("output"));
    let at = |arguments: &[&str]| {
        let mut command = signet();
        command.args(arguments).arg("--data").arg(&data);
        command
    };
    run(&mut at(&["health", "--wait", "30s"]));
    let limit = |bytes: &str| {
        run(Command::new("prlimit")
            .args(["--pid", &server.pid().to_string()])
            .arg(format!("--fsize={bytes}:unlimited")));
    };

    limit("1");
    let create = ["token", "create", "--spiffe-id", WEB, "-o", "json"];
    let (code, error) = fails(&mut at(&create));
    assert_eq!(code, 1);
    let error: Value = serde_json::from_str(&error).expect("an error in JSON");
    assert_eq!(error["error"]["reason"], "STORE_UNAVAILABLE", "{error}");
    assert_eq!(error["error"]["kind"], "unavailable", "{error}");
    let (code, message) = fails(&mut at(&["health"]));
    assert_eq!(code, 1);
    assert!(message.contains("record"), "{message}");
    let facts = std::fs::read(data.join("ready.json")).expect("facts");
    let facts: Value = serde_json::from_slice(&facts).expect("JSON");
    let (status, body) = http_get(facts["metrics"].as_str().expect("an address"), "/readyz");
    assert_eq!(status, 503, "{body}");

    limit("unlimited");
    run(&mut at(&["health", "--wait", "30s"]));
    run(&mut at(&create));
    let (code, output) = server.terminate();
    assert_eq!(code, 0, "{output}");
    run(&mut at(&["journal", "verify"]));
}

#[test]
fn the_servers_certificate_renews_itself() {
    let server = Server::start(Settings {
        config: Some("profiles:\n  server: { life: 12s, maxLife: 1h }\n".to_owned()),
        ..Settings::default()
    });
    let first = serial(&presented(&server));
    let began = Instant::now();
    wait_for("another serial number", || {
        (serial(&presented(&server)) != first).then_some(())
    });
    assert!(
        began.elapsed() < Duration::from_secs(12),
        "the first one had ended"
    );
    run(&mut server.signet(&["health"]));
}
