//! The question that `root-ca sign` asks, with a console in place of a terminal.
#![allow(clippy::unwrap_used, reason = "a failure is the verdict of a test")]

use std::ffi::OsString;
use std::io::{BufRead, Cursor};
use std::path::Path;
use std::process::ExitCode;

use identity::TrustDomain;
use issuance::{AuthorityKeyType, PreparedAuthority};
use root_ca::Console;
use time::macros::datetime;

/// Runs the program in-process and answers its question; the exit code, and what it showed before it asked.
fn run(arguments: &[&str], answer: &str) -> (ExitCode, String) {
    let (mut out, mut prompt, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    let answers: Box<dyn BufRead> = Box::new(Cursor::new(answer.to_owned()));
    let console = Console::new(&mut out, &mut prompt, Some(answers));
    let arguments = std::iter::once("root-ca")
        .chain(arguments.iter().copied())
        .map(OsString::from);
    let code = root_ca::run(arguments, console, datetime!(2026-01-01 12:00 UTC), &mut errors);
    (code, String::from_utf8(prompt).unwrap())
}

fn authority(folder: &Path) -> (String, String, String) {
    let prepared =
        PreparedAuthority::generate(TrustDomain::new("example.org").unwrap(), AuthorityKeyType::P256)
            .unwrap();
    let csr = folder.join("authority.csr");
    std::fs::write(&csr, prepared.csr().unwrap()).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    (
        text(&csr),
        text(&folder.join("authority.pem")),
        prepared.public_key().digest().to_string(),
    )
}

#[test]
fn only_a_yes_signs_and_all_that_counts_is_shown_before() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root").to_str().unwrap().to_owned();
    let (made, asked) = run(&["init", "--trust-domain", "example.org", "--out", &root], "");
    assert_eq!((made, asked.as_str()), (ExitCode::SUCCESS, ""));

    let (csr, out, digest) = authority(folder.path());
    let sign = [
        "sign", "--root", &root, "--csr", &csr, "--out", &out, "--life", "30d",
    ];
    for no in ["", "\n", "n\n", "no\n", "yess\n", "ja\n"] {
        let (code, shown) = run(&sign, no);
        assert_eq!(code, ExitCode::FAILURE, "{no:?}");
        for part in [
            "example.org",
            "P-256",
            &digest,
            "30d",
            "2026-01-31T12:00:00Z",
            "[y/N]",
        ] {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
        assert!(!Path::new(&out).exists(), "{no:?}");
    }
    let (code, _) = run(&sign, "y\n");
    assert_eq!(code, ExitCode::SUCCESS);
    assert!(Path::new(&out).exists());
}

#[test]
fn a_life_that_the_root_ends_is_clipped_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root").to_str().unwrap().to_owned();
    run(
        &[
            "init",
            "--trust-domain",
            "example.org",
            "--out",
            &root,
            "--life",
            "60d",
        ],
        "",
    );
    let (csr, out, _) = authority(folder.path());
    let (code, shown) = run(&["sign", "--root", &root, "--csr", &csr, "--out", &out], "yes\n");
    assert_eq!(code, ExitCode::SUCCESS);
    assert!(shown.contains("clipped to the root's end"), "{shown}");
    assert!(shown.contains("2026-03-02T12:00:00Z"), "{shown}");
}
