//! The program `root-ca`, judged by openssl and strace.
#![allow(clippy::unwrap_used, reason = "a failure is the verdict of a test")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use identity::TrustDomain;
use issuance::{AuthorityKeyType, PreparedAuthority};

const PROGRAM: &str = env!("CARGO_BIN_EXE_root-ca");

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A folder with a root of example.org in `root`.
    fn with_root() -> Self {
        let place = Self::new();
        place.done("init --trust-domain example.org --out root");
        place
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    fn write(&self, file: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(file), contents).unwrap();
    }

    fn csr(&self, trust_domain: &str) {
        let trust_domain = TrustDomain::new(trust_domain).unwrap();
        let prepared = PreparedAuthority::generate(trust_domain, AuthorityKeyType::P256).unwrap();
        let pem = identity::bundle::pem("CERTIFICATE REQUEST", &prepared.csr().unwrap());
        self.write("authority.csr", pem);
    }

    fn command(&self, program: &str, arguments: &str) -> Output {
        Command::new(program)
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|e| panic!("{program} cannot be run, these tests need it: {e}"))
    }

    #[track_caller]
    fn done(&self, arguments: &str) -> String {
        let output = self.command(PROGRAM, arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn refused(&self, arguments: &str) -> String {
        let output = self.command(PROGRAM, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments}");
        assert!(output.stdout.is_empty());
        stderr(&output)
    }

    #[track_caller]
    fn openssl(&self, arguments: &str) -> String {
        let output = self.command("openssl", arguments);
        assert!(
            output.status.success(),
            "openssl {arguments}: {}",
            stderr(&output)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = Vec::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push(path.strip_prefix(self.0.path()).unwrap().to_owned());
                }
            }
        }
        files.sort();
        files
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn init_makes_a_root_that_openssl_reads_and_prints_its_fingerprint() {
    let place = Place::new();
    let said = json(&place.done("init --trust-domain example.org --out a/root -o json"));
    assert_eq!(
        place.files(),
        [Path::new("a/root/root-key.pem"), Path::new("a/root/root.pem")]
    );
    assert_eq!(mode(&place.path("a/root/root-key.pem")), 0o600);
    assert_eq!(mode(&place.path("a/root/root.pem")), 0o644);
    assert_eq!(mode(&place.path("a/root")), 0o700);

    let text = place.openssl("x509 -in a/root/root.pem -noout -text");
    for part in [
        "Subject: CN = example.org root 20",
        "X509v3 Basic Constraints: critical\n                CA:TRUE\n",
        "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n",
        "URI:spiffe://example.org\n",
        "X509v3 Subject Key Identifier",
        "X509v3 Authority Key Identifier",
        "ASN1 OID: prime256v1",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    place.openssl("verify -x509_strict -check_ss_sig -CAfile a/root/root.pem a/root/root.pem");
    place.openssl("x509 -in a/root/root.pem -noout -checkend 315000000");
    let printed = place.openssl("x509 -in a/root/root.pem -noout -fingerprint -sha256");
    let fingerprint = printed
        .trim()
        .split('=')
        .nth(1)
        .unwrap()
        .replace(':', "")
        .to_lowercase();
    assert_eq!(said["fingerprint"], fingerprint);
    assert_eq!(said["encrypted"], false);
    let for_people = place.done("init --trust-domain example.org --out b --key p384");
    assert!(
        for_people.contains("fingerprint") && for_people.contains("NOT encrypted"),
        "{for_people}"
    );
    assert!(
        place
            .openssl("x509 -in b/root.pem -noout -text")
            .contains("ASN1 OID: secp384r1")
    );
}

#[test]
fn the_key_and_the_certificate_of_a_root_fit() {
    let place = Place::with_root();
    let of_key = place.openssl("pkey -in root/root-key.pem -pubout");
    assert_eq!(of_key, place.openssl("x509 -in root/root.pem -noout -pubkey"));
}

#[test]
fn sign_makes_an_intermediate_with_its_profile() {
    let place = Place::with_root();
    place.csr("example.org");
    let said = json(&place.done("sign --root root --csr authority.csr --out authority.pem --yes -o json"));
    assert_eq!(said["trustDomain"], "example.org");
    assert_eq!(said["lifeClipped"], false);
    place.openssl("verify -x509_strict -CAfile root/root.pem authority.pem");
    let text = place.openssl("x509 -in authority.pem -noout -text");
    for part in [
        "Subject: CN = example.org authority 20",
        "X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0\n",
        "X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n",
        "URI:spiffe://example.org\n",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let serial = place.openssl("x509 -in authority.pem -noout -serial");
    assert_eq!(
        serial.trim().to_lowercase(),
        format!("serial={}", said["serial"].as_str().unwrap())
    );
    place.openssl("x509 -in authority.pem -noout -checkend 7700000");
    let spki = place.openssl("req -in authority.csr -noout -pubkey");
    assert_eq!(spki, place.openssl("x509 -in authority.pem -noout -pubkey"));
}

#[test]
fn a_passphrase_encrypts_the_key_and_openssl_opens_it() {
    let place = Place::new();
    place.write("pass", "correct horse\n");
    place.write("wrong", "battery staple\n");
    place.write("empty", "\n");
    place.done("init --trust-domain example.org --out root --passphrase-file pass");
    assert!(
        place
            .text("root/root-key.pem")
            .starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    );
    let of_key = place.openssl("pkey -in root/root-key.pem -passin file:pass -pubout");
    assert_eq!(of_key, place.openssl("x509 -in root/root.pem -noout -pubkey"));

    place.csr("example.org");
    let sign = "sign --root root --csr authority.csr --out authority.pem --yes";
    assert!(place.refused(sign).contains("expected a passphrase"));
    assert!(
        place
            .refused(&format!("{sign} --passphrase-file wrong"))
            .contains("does not open")
    );
    assert!(
        place
            .refused(&format!("{sign} --passphrase-file empty"))
            .contains("holds no passphrase")
    );
    place.done(&format!("{sign} --passphrase-file pass"));
    assert!(
        place
            .refused("init --trust-domain a --out other --passphrase-file empty")
            .contains("empty")
    );
    assert!(!place.path("other").exists());
}

#[test]
fn nothing_is_ever_overwritten() {
    let place = Place::with_root();
    let (certificate, key) = (place.text("root/root.pem"), place.text("root/root-key.pem"));
    let again = "init --trust-domain example.org --out root";
    assert!(place.refused(again).contains("root/root.pem exists"));
    let error = json(&place.refused(&format!("{again} -o json")));
    assert_eq!(error["error"]["kind"], "conflict");
    assert_eq!(error["error"]["reason"], "CONFLICT");
    fs::rename(place.path("root/root.pem"), place.path("root.pem")).unwrap();
    assert!(place.refused(again).contains("root/root-key.pem exists"));
    fs::rename(place.path("root.pem"), place.path("root/root.pem")).unwrap();
    assert_eq!(
        (place.text("root/root.pem"), place.text("root/root-key.pem")),
        (certificate, key)
    );

    place.csr("example.org");
    place.write("taken", "mine");
    symlink("nowhere", place.path("dangling")).unwrap();
    for out in ["taken", "dangling", "root"] {
        let message = place.refused(&format!("sign --root root --csr authority.csr --out {out} --yes"));
        assert!(message.contains(&format!("{out} exists")), "{message}");
    }
    assert_eq!(place.text("taken"), "mine");
    assert!(!place.path("nowhere").exists());
}

#[test]
fn without_a_terminal_nothing_is_signed_unless_told_to() {
    let place = Place::with_root();
    place.csr("example.org");
    let message = place.refused("sign --root root --csr authority.csr --out authority.pem");
    assert!(message.contains("--yes"), "{message}");
    assert!(!place.path("authority.pem").exists());
}

#[test]
fn what_the_root_does_not_sign_is_told() {
    let place = Place::with_root();
    place.csr("other.org");
    let sign = "sign --root root --csr authority.csr --out authority.pem --yes";
    let message = place.refused(sign);
    assert!(
        message.contains("spiffe://other.org is of another trust domain, expected example.org"),
        "{message}"
    );
    place.openssl("req -new -newkey rsa:2048 -nodes -keyout k -subj /CN=x -out authority.csr");
    let error = json(&place.refused(&format!("{sign} -o json")));
    assert_eq!(error["error"]["reason"], "CSR_SAN");
    place.write("authority.csr", vec![b'x'; 70_000]);
    assert_eq!(
        json(&place.refused(&format!("{sign} -o json")))["error"]["reason"],
        "TOO_LARGE"
    );
    place.csr("example.org");
    assert!(place.refused(&format!("{sign} --life 6y")).contains("too long"));
    assert!(
        place
            .refused(&format!("{sign} --life 6y --max-life 200y"))
            .contains("--max-life")
    );
    fs::remove_file(place.path("root/root-key.pem")).unwrap();
    let error = json(&place.refused(&format!("{sign} -o json")));
    assert_eq!(error["error"]["reason"], "NOT_FOUND");
    assert!(!place.path("authority.pem").exists());
}

#[test]
fn inspect_tells_certificates_requests_and_keys_apart() {
    let place = Place::with_root();
    place.csr("example.org");
    place.done("sign --root root --csr authority.csr --out authority.pem --yes");
    let root = json(&place.done("inspect root/root.pem -o json"));
    assert_eq!(root["kind"], "certificate");
    assert_eq!(root["uris"][0], "spiffe://example.org");
    assert_eq!(root["isAuthority"], true);
    assert_eq!(root["state"], "valid");
    let authority = json(&place.done("inspect authority.pem -o json"));
    assert_eq!(authority["authorityKeyId"], root["subjectKeyId"]);
    let request = json(&place.done("inspect authority.csr -o json"));
    assert_eq!(request["kind"], "certificateRequest");
    assert_eq!(request["keyDigest"], authority["keyDigest"]);
    let key = place.done("inspect root/root-key.pem");
    assert!(key.contains("whoever reads the file has it"), "{key}");
    assert!(key.contains(root["keyDigest"].as_str().unwrap()), "{key}");
    assert!(!key.contains(place.text("root/root-key.pem").lines().nth(1).unwrap()));

    place.openssl("x509 -in root/root.pem -outform DER -out root.der");
    assert!(
        place
            .done("inspect root.der")
            .starts_with("certificate of an authority")
    );
    place.openssl("req -new -newkey rsa:2048 -nodes -keyout k -subj /CN=x -addext subjectAltName=URI:spiffe://example.org/a -outform DER -out w.csr");
    let workload = place.done("inspect w.csr");
    assert!(
        workload.contains("spiffe://example.org/a") && workload.contains("RSA-2048"),
        "{workload}"
    );
    place.write("garbage", "garbage");
    place.refused("inspect garbage");
    place.refused("inspect missing");
}

#[test]
fn wrong_usage_is_told_from_refusal_and_help_shows_an_example() {
    let place = Place::new();
    for wrong in [
        "",
        "init",
        "init --trust-domain UPPER --out d",
        "init --trust-domain a --out d --life 5",
        "bogus",
    ] {
        assert_eq!(place.command(PROGRAM, wrong).status.code(), Some(2), "{wrong}");
    }
    let output = place.command(PROGRAM, "init -o json");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(json(&stderr(&output))["error"]["kind"], "invalid");
    for verb in ["init", "sign", "inspect"] {
        let help = place.done(&format!("{verb} --help"));
        assert!(help.contains(&format!("root-ca {verb} ")), "{help}");
        assert!(help.contains("Example:"), "{help}");
    }
    assert!(place.files().is_empty());
}

#[test]
fn the_ceremony_opens_no_socket() {
    let place = Place::new();
    place.csr("example.org");
    for arguments in [
        "init --trust-domain example.org --out root",
        "sign --root root --csr authority.csr --out authority.pem --yes",
        "inspect authority.pem",
    ] {
        let output = place.command(
            "strace",
            &format!("-f -e trace=network -o trace {PROGRAM} {arguments}"),
        );
        assert!(output.status.success(), "{}", stderr(&output));
        let trace = place.text("trace");
        assert!(
            trace.contains("+++ exited with 0 +++"),
            "strace saw no process: {trace}"
        );
        let calls: Vec<&str> = trace.lines().filter(|line| line.contains('(')).collect();
        assert!(calls.is_empty(), "{arguments}: {calls:?}");
    }
}
