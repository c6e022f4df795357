//! The facts that Signet reads in a leaf next to those that Go and OpenSSL read, on certificates of which
//! some octets are changed: where two accept a certificate, they agree on whose it is, until when it is
//! valid, and which key it certifies.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use identity::Leaf;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::certificate::{DNS, EMAIL, IP, URI, name, tlv};
use super::generator::{Case, authority, leaf};
use super::keys::Key;
use super::random::Random;
use super::validators;

/// How many certificates are compared.
const CERTIFICATES: u64 = 4_000;

fn facts(leaf: &Leaf) -> Value {
    let addresses: Vec<String> = leaf.ip_addresses().iter().map(IpAddr::to_string).collect();
    json!({
        "uris": leaf.uris(),
        "dnsNames": leaf.dns_names(),
        "addresses": addresses,
        "serial": leaf.serial().to_string(),
        "notBefore": leaf.validity().not_before().unix_timestamp(),
        "notAfter": leaf.validity().not_after().unix_timestamp(),
        "keyDigest": leaf.key_digest().to_string(),
        "isCa": leaf.is_ca(),
    })
}

/// A leaf with names of each kind, and one to three changes in its octets.
fn mutated(random: &mut Random, index: usize) -> Vec<u8> {
    let mut issuer = authority(index, 0);
    let mut certificate = leaf(index);
    (issuer.key, certificate.key) = (Key::ed25519(1), Key::ed25519(2));
    for (tag, text) in [
        (DNS, &b"web.example.org"[..]),
        (IP, &[10, 1, 2, 3]),
        (EMAIL, b"a@b"),
        (URI, b"urn:a"),
    ] {
        if random.chance(40) {
            certificate.names.push((tag, text.to_vec()));
        }
    }
    if random.chance(40) {
        certificate.subject = name("web");
    }
    let mut der = certificate.sign(&issuer);
    for _ in 0..=random.below(3) {
        let at = random.below(der.len());
        let octet = u8::try_from(random.below(256)).expect("below 256");
        match random.below(6) {
            0 => der[at] ^= 1 << random.below(8),
            1 => der[at] = octet,
            2 => der[at] = der[at].wrapping_add(1),
            3 => drop(der.splice(at..at, [octet])),
            4 => drop(der.remove(at)),
            // Octets of the same length in another place of the certificate.
            _ => {
                let (from, length) = (random.below(der.len()), random.below(12));
                let end = (from + length).min(der.len());
                let to = at.min(der.len() - (end - from));
                der.copy_within(from..end, to);
            }
        }
    }
    // The outer lengths follow, or most changes would go no deeper than the first octets.
    if random.chance(70) { relengthed(&der) } else { der }
}

/// The same octets with the length of the outermost element made right.
fn relengthed(der: &[u8]) -> Vec<u8> {
    match der {
        [tag, 0x82, _, _, contents @ ..] => tlv(*tag, contents),
        _ => der.to_vec(),
    }
}

#[test]
fn go_and_openssl_read_the_same_facts_in_every_leaf_that_is_accepted() {
    let seed = super::number("SIGNET_CHAINS_SEED", 1);
    let folder = tempfile::tempdir().expect("a folder");
    let cases: Vec<Case> = (0..CERTIFICATES)
        .map(|number| {
            let index = usize::try_from(number).expect("a small number");
            let mut random = Random::new(seed ^ 0x6661_6374, number);
            Case::of_leaf(index, mutated(&mut random, index))
        })
        .collect();
    let go = validators::go(&cases, folder.path());
    let mut accepted: Vec<(&Case, Leaf)> = Vec::new();
    let mut compared = 0;
    for (case, go) in cases.iter().zip(&go) {
        let Ok(leaf) = Leaf::parse(&case.chain[0]) else {
            continue;
        };
        if !go.leaf.is_null() {
            compared += 1;
            assert_eq!(facts(&leaf), go.leaf, "seed {seed}, certificate {}", case.index);
        }
        accepted.push((case, leaf));
    }
    let mut refused = accepted.len() - compared;
    for (case, leaf) in &accepted {
        match openssl_text(&case.chain[0], folder.path()) {
            Some(text) => assert_eq!(
                text_facts(leaf),
                text_of(&text),
                "seed {seed}, certificate {}",
                case.index
            ),
            None => refused += 1,
        }
    }
    assert!(
        compared > 500,
        "seed {seed}: {compared} certificates, too few to compare"
    );
    assert!(
        refused * 20 < compared,
        "seed {seed}: Go or OpenSSL cannot read {refused} certificates that Signet reads"
    );
}

/// The text that `openssl x509` prints of a certificate, if it can read it.
fn openssl_text(der: &[u8], folder: &Path) -> Option<String> {
    let file = folder.join("accepted.der");
    std::fs::write(&file, der).expect("a file of a certificate");
    let mut command = Command::new("openssl");
    command
        .args(["x509", "-noout", "-text", "-inform", "DER", "-in"])
        .arg(file);
    let output = command.output().expect("openssl runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

/// Serial number, begin, end and URIs in the form of OpenSSL's text.
fn text_facts(leaf: &Leaf) -> (String, [String; 2], Vec<String>) {
    let serial = leaf.serial().to_string();
    let (begin, end) = (leaf.validity().not_before(), leaf.validity().not_after());
    let time = |at: OffsetDateTime| {
        let month = &at.month().to_string()[..3];
        let (hour, minute, second) = at.to_hms();
        format!(
            "{month} {:2} {hour:02}:{minute:02}:{second:02} {} GMT",
            at.day(),
            at.year()
        )
    };
    (serial, [time(begin), time(end)], leaf.uris().to_vec())
}

fn text_of(text: &str) -> (String, [String; 2], Vec<String>) {
    let after = |label: &str| {
        let rest = text.split(label).nth(1).expect("openssl prints every field");
        rest.trim_start()
            .lines()
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let serial = after("Serial Number:");
    let serial = match serial.split_once("(0x") {
        Some((_, hex)) => hex.trim_end_matches(')').to_owned(),
        None => serial.replace(':', ""),
    };
    let even = if serial.len() % 2 == 1 {
        format!("0{serial}")
    } else {
        serial
    };
    let names = text
        .split("X509v3 Subject Alternative Name:")
        .nth(1)
        .unwrap_or_default();
    let names = names.lines().nth(1).unwrap_or_default().trim();
    let uris = names.split(", ").filter_map(|name| name.strip_prefix("URI:"));
    let times = [after("Not Before:"), after("Not After :")];
    (even, times, uris.map(str::to_owned).collect())
}
