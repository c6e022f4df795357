//! Starts that must fail and say what is in the way; and an authority that comes to its end under a running server.

use std::path::Path;
use std::process::Command;

use identity::{Leaf, Reason};
use proto::Refusal;
use serde_json::Value;
use tempfile::TempDir;

use super::{admin, until_past};
use crate::support::wire::{csr, key};
use crate::support::{
    Server, Settings, fails, http_get, run, server_command, server_under_root, signet, wait_for,
};

const WEB: &str = "spiffe://example.org/ns/default/sa/web";

/// A server that does not start: what its log says.
fn refused(folder: &Path, settings: &Settings) -> String {
    let log = folder.join("log");
    let _ = std::fs::remove_file(&log);
    let mut command = server_command(&folder.join("data"), folder, settings);
    let status = command.status().expect("signet starts");
    assert_eq!(
        status.code(),
        Some(1),
        "{}",
        std::fs::read_to_string(&log).unwrap_or_default()
    );
    std::fs::read_to_string(&log).expect("a log")
}

fn with(arguments: &[&str]) -> Settings {
    Settings {
        arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
        ..Settings::default()
    }
}

/// All that starts with a configuration names the file and the field that are wrong, to programs too.
fn names(folder: &Path, config: &str, file: &Path, field: &str) {
    std::fs::write(folder.join("server.yaml"), config).expect("a configuration");
    let (code, said) = fails(
        signet()
            .args(["up", "-o", "json", "--data"])
            .arg(folder.join("data"))
            .arg("--config")
            .arg(folder.join("server.yaml")),
    );
    assert_eq!(code, 1, "{said}");
    let error = said.lines().find_map(|line| {
        let value: Value = serde_json::from_str(line).ok()?;
        value.get("error").cloned()
    });
    let error = error.unwrap_or_else(|| panic!("no error in JSON: {said}"));
    assert_eq!(error["field"], field, "{said}");
    assert_eq!(error["file"], file.to_str().expect("UTF-8"), "{said}");
}

#[test]
fn a_port_that_is_taken_is_named_with_its_flag() {
    let folder = TempDir::new().expect("a temporary folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    for flag in ["--listen-grpc", "--listen-crl", "--listen-metrics"] {
        let said = refused(folder.path(), &with(&[flag, &address]));
        let port = address.rsplit_once(':').expect("host:port").1;
        assert!(said.contains(port) && said.contains(flag), "{flag}: {said}");
    }
}

#[test]
fn a_folder_in_use_is_named_with_the_pid_of_its_owner_who_goes_on() {
    let server = Server::up();
    let other = TempDir::new().expect("a temporary folder");
    let mut command = server_command(&server.data(), other.path(), &Settings::default());
    let status = command.status().expect("signet starts");
    assert_eq!(status.code(), Some(1));
    let said = std::fs::read_to_string(other.path().join("log")).expect("a log");
    assert!(said.contains(&server.pid().to_string()), "{said}");
    assert!(said.contains(server.data().to_str().expect("UTF-8")), "{said}");
    run(&mut server.signet(&["health"]));
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = TempDir::new().expect("a temporary folder");
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).expect("a folder");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o555);
    std::fs::set_permissions(&closed, mode).expect("its mode");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), mode).expect("its mode");
    // Root writes anywhere, so it steps down; the program is taken along, since others may not search its folder.
    let program = folder.path().join("signet");
    std::fs::copy(env!("CARGO_BIN_EXE_signet"), &program).expect("a copy");
    let mut command = if run(Command::new("id").arg("-u")).trim() == "0" {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(&program);
        command
    } else {
        Command::new(&program)
    };
    let data = closed.join("data");
    let (code, said) = fails(command.arg("up").arg("--data").arg(&data));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(data.to_str().expect("UTF-8")), "{said}");
    assert!(said.contains("not writable"), "{said}");
}

#[test]
fn another_trust_domain_than_before_is_refused_naming_both_and_changes_nothing() {
    let server = Server::start(with(&["--trust-domain", "example.org"]));
    let fingerprint = server.fact("fingerprint").to_owned();
    let (code, folder) = server.terminate();
    assert_eq!(code, 0);
    let said = refused(folder.path(), &with(&["--trust-domain", "other.example"]));
    assert!(
        said.contains("other.example") && said.contains("example.org"),
        "{said}"
    );
    let server = Server::start_in(folder, Settings::default());
    assert_eq!(server.fact("fingerprint"), fingerprint);
    assert_eq!(server.fact("trustDomain"), "example.org");
}

#[test]
fn a_key_set_or_file_of_roots_that_is_missing_or_broken_is_named_with_its_field() {
    let folder = TempDir::new().expect("a temporary folder");
    let keys = folder.path().join("keys.jwks");
    let config = format!(
        "authentication:\n  jwt: [ {{ name: k8s, issuer: https://issuer.example, audiences: [ ca ], jwksFile: {} }} ]\n",
        keys.display()
    );
    let field = "authentication.jwt[0].jwksFile";
    names(folder.path(), &config, &keys, field);
    std::fs::write(&keys, "{\"keys\":[{\"kty\":\"EC\"").expect("a file");
    names(folder.path(), &config, &keys, field);

    let roots = folder.path().join("factory.pem");
    let config = format!(
        "authentication:\n  certificate: [ {{ name: factory, rootsFile: {}, idFrom: serialNumber }} ]\n",
        roots.display()
    );
    let field = "authentication.certificate[0].rootsFile";
    names(folder.path(), &config, &roots, field);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    std::fs::write(&roots, broken).expect("a file");
    names(folder.path(), &config, &roots, field);
}

#[test]
fn a_wrong_value_is_found_before_the_first_file_is_written() {
    let folder = TempDir::new().expect("a temporary folder");
    let data = folder.path().join("data");
    let long = folder.path().join("d".repeat(100));
    let long = long.to_str().expect("UTF-8");
    for (arguments, part) in [
        (&["--crl-base-url", "http://[["][..], "its host is not a DNS name"),
        (&["--crl-base-url", "http://a:99999"], "its port is not a number"),
        (&["--server-name", "my_host"], "is not a server name"),
        (&["--server-name", "127.1"], "is not a server name"),
        (
            &["--listen-crl", "127.0.0.1:9", "--listen-metrics", "127.0.0.1:9"],
            "listen.metrics",
        ),
        (
            &["--profiles-intermediate-life", "6y"],
            "profiles.intermediate.life",
        ),
        (&["--audit-file", "/nowhere/audit.log"], "audit.file"),
        (&["--data", long], "dataDir"),
    ] {
        let mut command = signet();
        command.arg("up").args(arguments);
        if !arguments.contains(&"--data") {
            command.arg("--data").arg(&data);
        }
        let (_, said) = fails(&mut command);
        assert!(said.contains(part), "{arguments:?}: {said}");
        let made = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(made, 0, "{arguments:?} left something behind");
    }
}

#[test]
fn the_configured_limit_for_authorities_applies_at_the_first_start() {
    let server = Server::start(with(&[
        "--profiles-intermediate-life",
        "6y",
        "--profiles-intermediate-max-life",
        "10y",
    ]));
    let listed = run(&mut server.signet(&["authority", "list", "-o", "json"]));
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let end = listed["items"][0]["notAfter"].as_str().expect("an end");
    let year = |text: &str| text[..4].parse::<i32>().expect("a year");
    let now = time::OffsetDateTime::now_utc().year();
    assert!((now + 5..=now + 6).contains(&year(end)), "{end}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_near_its_end_clips_lives_and_says_so_and_an_ended_one_refuses() {
    let server = server_under_root("20s");
    let admin = admin(&server).await;
    admin
        .create_token(WEB)
        .await
        .expect("a registration comes with it");
    let answer = admin.issue(csr(&key(), WEB), WEB).await.expect("a certificate");
    assert!(answer.life_clipped);
    let leaf = Leaf::parse(&answer.chain[0]).expect("a certificate");
    let authority = Leaf::parse(&answer.chain[1]).expect("a certificate");
    let ends = authority.validity().not_after();
    assert!(leaf.validity().not_after() <= ends);
    tokio::task::block_in_place(|| {
        let readiness = || http_get(server.fact("metrics"), "/readyz");
        wait_for("readiness to go with what is left", || {
            let (status, why) = readiness();
            (status == 503 && why.contains("signing authority ends")).then_some(())
        });
    });
    until_past(ends);
    let status = admin
        .issue(csr(&key(), WEB), WEB)
        .await
        .expect_err("it has ended");
    let refusal = Refusal::from_status(&status);
    assert_eq!(refusal.reason(), Reason::AuthorityEnded, "{refusal}");
    let name = "signet_refusals_total{reason=\"AUTHORITY_ENDED\"}";
    assert_eq!(server.metric(name), 1.0);
}
