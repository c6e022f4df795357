//! `cert renew` and `cert needs-renewal` as programs and timers use them, and what scripts are told by codes and JSON.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use client_lib::PrivateKey;
use identity::Leaf;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;

use crate::support::{Background, Server, fails, run, signet, wait_for};

const WEB: &str = "spiffe://example.org/ns/default/sa/web";
const RENEWALS: usize = 200;

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

/// Resolves the link once, and returns the serial number of a pair that must fit.
fn read_pair(link: &Path) -> Result<String, String> {
    let folder = link.canonicalize().map_err(|e| e.to_string())?;
    let read = |name: &str| std::fs::read(folder.join(name)).map_err(|e| format!("{name}: {e}"));
    let (chain, key) = (read("svid.pem")?, read("svid_key.pem")?);
    let leaf = CertificateDer::from_pem_slice(&chain).map_err(|e| e.to_string())?;
    let leaf = Leaf::parse(&leaf).map_err(|e| e.to_string())?;
    let key = PrivateKey::from_pem(&key).map_err(|e| e.to_string())?;
    if leaf.key_digest() == key.digest() {
        Ok(leaf.serial().to_string())
    } else {
        Err("the key does not belong to the certificate".to_owned())
    }
}

#[test]
fn whoever_resolves_the_link_once_reads_a_pair_that_fits_during_200_forced_renewals() {
    let server = Server::up();
    let web = issue(&server, &[]);
    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut reads, mut serials) = (0, Vec::new());
            while !done.load(Ordering::SeqCst) {
                let serial = read_pair(&web)?;
                reads += 1;
                if serials.last() != Some(&serial) {
                    serials.push(serial);
                }
            }
            Ok::<_, String>((reads, serials))
        });
        for _ in 0..RENEWALS {
            run(signet().args(["cert", "renew", "--force"]).arg(&web));
        }
        done.store(true, Ordering::SeqCst);
        reader.join().expect("the reader does not panic")
    });
    let (reads, serials) = seen.expect("each read gives a pair that fits");
    println!("{reads} reads of {} certificates", serials.len());
    assert!(serials.len() > RENEWALS / 2, "the reader saw too few of them");
    let mut distinct = serials.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), serials.len(), "an old certificate came back");
}

#[test]
fn the_daemon_renews_by_itself_runs_the_program_after_the_swap_and_ends_with_sigterm() {
    let server = Server::up();
    let web = issue(&server, &["--life", "10s"]);
    let first = read_pair(&web).expect("a pair");
    let noted = server.path("serials");
    let script = "openssl x509 -noout -serial -in \"$1/svid.pem\" >> \"$2\"";
    let mut daemon = signet();
    daemon
        .args(["cert", "renew"])
        .arg(&web)
        .args(["--daemon", "--exec", "sh", "-c", script, "name"])
        .arg(&web)
        .arg(&noted);
    let daemon = Background::start(&mut daemon, &server.path("daemon.log"));
    let serials = wait_for("two renewals", || {
        let text = std::fs::read_to_string(&noted).ok()?;
        let serials: Vec<String> = text
            .lines()
            .filter_map(|line| Some(line.strip_prefix("serial=")?.to_lowercase()))
            .collect();
        (serials.len() >= 2).then_some(serials)
    });
    // The program saw what the link points to now, each time another one.
    assert!(!serials.contains(&first), "{first} in {serials:?}");
    assert_ne!(serials[0], serials[1]);
    assert_eq!(serials.last(), Some(&read_pair(&web).expect("a pair")));
    let (code, said) = daemon.terminate();
    assert_eq!(code, 0, "{said}");
}

#[test]
fn needs_renewal_answers_by_its_exit_code() {
    let server = Server::up();
    let web = issue(&server, &[]);
    let code = |path: &Path, more: &[&str]| {
        let mut asked = signet();
        let asked = asked.args(["cert", "needs-renewal"]).arg(path).args(more);
        asked.output().expect("signet runs").status.code()
    };
    assert_eq!(code(&web, &["--at", "0%"]), Some(0));
    assert_eq!(code(&web, &[]), Some(1));
    assert_eq!(code(&web.join("svid.pem"), &["--at", "99%"]), Some(1));
    assert_eq!(code(&server.path("absent"), &[]), Some(2));
    let nonsense = server.path("nonsense.pem");
    std::fs::write(&nonsense, "nonsense").expect("a file");
    assert_eq!(code(&nonsense, &[]), Some(255));
    assert_eq!(
        code(&web, &["--at", "half"]),
        Some(255),
        "2 would say that the file is not there"
    );

    let said = run(signet()
        .args(["cert", "needs-renewal", "-o", "json", "--at", "0%"])
        .arg(&web));
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["needsRenewal"], true);
}

#[test]
fn scripts_are_told_by_codes_and_by_errors_in_json() {
    let server = Server::up();
    let token = server.token_file(WEB, &[]);
    let issue = |out: &str| {
        let mut command = signet();
        command
            .args(["cert", "issue", "-o", "json", "--token-file"])
            .arg(&token);
        command.arg("--out").arg(server.path(out));
        command
    };
    let error_of = |text: &str| -> Value {
        let error: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
        error["error"].clone()
    };
    run(&mut issue("first"));
    let (code, text) = fails(&mut issue("second"));
    let error = error_of(&text);
    assert_eq!(code, 1);
    assert_eq!(
        (&error["kind"], &error["reason"]),
        (&"unauthenticated".into(), &"TOKEN_SPENT".into())
    );
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|message| !message.is_empty())
    );

    let (code, text) = fails(signet().args(["cert", "issue", "-o", "json"]));
    assert_eq!(code, 2, "wrong usage");
    assert!(error_of(&text)["message"].is_string());

    let file = server.path("broken.yaml");
    let document =
        "apiVersion: signet.dev/v1\nkind: Registration\nmetadata: { name: a }\nspec:\n  rolle: workload\n";
    std::fs::write(&file, document).expect("a file");
    let (code, text) = fails(
        signet()
            .args(["apply", "-o", "json", "--data"])
            .arg(server.data())
            .arg("-f")
            .arg(&file),
    );
    let error = error_of(&text);
    assert_eq!(code, 1);
    assert_eq!(error["reason"], "RESOURCE_INVALID", "{error}");
    assert_eq!(error["file"], file.display().to_string().as_str(), "{error}");
    assert_eq!(error["line"], 5, "{error}");
    assert!(error["column"].is_u64() && error["field"].is_string(), "{error}");

    let (_, place) = server.terminate();
    let mut asked = signet();
    asked
        .args(["token", "list", "-o", "json", "--data"])
        .arg(place.path().join("data"));
    let (code, text) = fails(&mut asked);
    assert_eq!(code, 1);
    assert_eq!(error_of(&text)["reason"], "NOT_READY");
}
