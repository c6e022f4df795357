//! The client library at work in programs of their own: the echo pair of its examples, against a real server.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Background, Server, Settings, openssl, program, run, signet, wait_for};

const SERVER: &str = "spiffe://example.org/ns/default/sa/echo";
const CLIENT: &str = "spiffe://example.org/ns/default/sa/talker";
const OBSERVER: &str = "spiffe://example.org/ns/default/sa/observer";

/// Two programs that keep one connection busy and open a fresh one each second.
struct Pair {
    server: Background,
    client: Background,
    address: String,
}

impl Pair {
    fn start(ca: &Server, life: &str) -> Self {
        let example = |name: &str, id: &str, out: &str| {
            let mut command = program(name);
            command.args(["--life", life, "--token-file"]);
            command.arg(ca.token_file(id, &[]));
            command.arg("--out").arg(ca.path(out));
            command
        };
        let mut server = Background::start(
            example("examples/echo_server", SERVER, "echo").args(["--peer", CLIENT]),
            &ca.path("echo.log"),
        );
        let listening = server.line("listening ");
        let (address, _) = listening.split_once(" as ").expect("an address and an identity");
        let mut client = Background::start(
            example("examples/echo_client", CLIENT, "talker").args(["--peer", SERVER, "--connect", address]),
            &ca.path("talker.log"),
        );
        client.line("connecting ");
        Self {
            server,
            client,
            address: address.to_owned(),
        }
    }

    /// Ends both, the client first, and judges their counts.
    fn judge(self) -> (Totals, Totals) {
        let (code, said) = self.client.terminate();
        assert_eq!(code, 0, "{said}");
        let client = Totals::of(&said);
        let (code, said) = self.server.terminate();
        assert_eq!(code, 0, "{said}");
        let server = Totals::of(&said);
        assert_eq!((client.failures, server.failures), (0, 0), "{said}");
        assert_eq!(client.sent, server.received, "bytes were lost on the way there");
        assert_eq!(server.sent, client.received, "bytes were lost on the way back");
        assert!(client.sent > 0);
        assert_eq!(client.sent, client.received);
        (client, server)
    }

    /// Waits until more bytes have come back.
    fn goes_on(&self) {
        let before = self.returned();
        wait_for("bytes to come back", || (self.returned() > before).then_some(()));
    }

    /// Bytes that came back to the client by its newest line.
    fn returned(&self) -> u64 {
        let text = self.client.text();
        let line = text
            .lines()
            .rfind(|line| line.starts_with("sent="))
            .unwrap_or_default();
        number(line, "received=")
    }
}

/// The last line of one end.
#[derive(Debug)]
struct Totals {
    sent: u64,
    received: u64,
    failures: u64,
    rotations: u64,
}

impl Totals {
    fn of(said: &str) -> Self {
        let line = said
            .lines()
            .find(|line| line.starts_with("total "))
            .unwrap_or_else(|| panic!("no totals in {said}"));
        Self {
            sent: number(line, "sent="),
            received: number(line, "received="),
            failures: number(line, "failures="),
            rotations: number(line, "rotations="),
        }
    }
}

fn number(line: &str, name: &str) -> u64 {
    line.split_whitespace()
        .find_map(|word| word.strip_prefix(name)?.parse().ok())
        .unwrap_or_default()
}

/// The text of the first certificate, whoever printed it.
fn first_certificate(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    Some(body.split_whitespace().collect())
}

fn leaf(folder: &Path) -> String {
    let svid = std::fs::read_to_string(folder.join("svid.pem")).expect("a certificate");
    first_certificate(&svid).expect("PEM")
}

/// The certificate that a server presents to openssl now.
fn presented(address: &str, own: &Path) -> Option<String> {
    let output = openssl(own)
        .args([
            "s_client",
            "-connect",
            address,
            "-tls1_3",
            "-cert",
            "svid.pem",
            "-key",
            "svid_key.pem",
        ])
        .stdin(Stdio::null())
        .output()
        .expect("openssl runs");
    first_certificate(&String::from_utf8_lossy(&output.stdout))
}

fn observer(ca: &Server) -> PathBuf {
    let out = ca.path("observer");
    run(signet()
        .args(["cert", "issue", "--token-file"])
        .arg(ca.token_file(OBSERVER, &[]))
        .arg("--out")
        .arg(&out));
    out
}

#[test]
fn an_open_connection_goes_on_through_rotations_and_new_handshakes_use_the_new_certificate_within_a_second() {
    let ca = Server::up();
    let pair = Pair::start(&ca, "10s");
    let (own, folder) = (observer(&ca), ca.path("echo"));
    for _ in 0..3 {
        let before = leaf(&folder);
        let renewed = wait_for("a renewal", || Some(leaf(&folder)).filter(|now| *now != before));
        let since = Instant::now();
        wait_for("the new certificate in a handshake", || {
            (presented(&pair.address, &own)? == renewed).then_some(())
        });
        let took = since.elapsed();
        assert!(took < Duration::from_secs(1), "it took {took:?}");
    }
    let (client, server) = pair.judge();
    println!("client {client:?}\nserver {server:?}");
    assert!(client.rotations >= 2 && server.rotations >= 3);
}

#[test]
fn an_outage_of_the_ca_longer_than_a_renewal_breaks_nothing_and_ends_in_a_renewal() {
    let ca = Server::up();
    let pair = Pair::start(&ca, "20s");
    let folders = [ca.path("echo"), ca.path("talker")];
    let leaves = || folders.each_ref().map(|folder| leaf(folder));
    let address = ca.fact("grpc").to_owned();
    let first = leaves();
    let (place, settings) = ca.kill();
    for folder in &folders {
        wait_for("the renewal to be due", || {
            let mut asked = signet();
            asked.args(["cert", "needs-renewal"]).arg(folder);
            let asked = asked.output().expect("signet runs");
            (asked.status.code() == Some(0)).then_some(())
        });
    }
    assert_eq!(leaves(), first, "nobody could have renewed them");
    pair.goes_on();

    let at_the_same_port = Settings {
        arguments: vec!["--listen-grpc".to_owned(), address],
        ..settings
    };
    let ca = Server::start_in(place, at_the_same_port);
    wait_for("renewals after the outage", || {
        let now = leaves();
        (now[0] != first[0] && now[1] != first[1]).then_some(())
    });
    pair.goes_on();
    let (client, server) = pair.judge();
    println!("client {client:?}\nserver {server:?}");
    assert!(client.rotations >= 1 && server.rotations >= 1);
    drop(ca);
}
