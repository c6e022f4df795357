//! Requests that are accepted, and what is taken from them.

use identity::{KeyDigest, Reason, TrustDomain};

use super::recipe::{Recipe, dns, uri};
use crate::certificate::{authority_extensions, extension, name_of};
use crate::csr::{AuthorityCsr, KeyType, VerifiedCsr};
use crate::der::{integer, named_bits, octet_string, printable_string, sequence, tag, tlv, utf8_string};
use crate::oid;
use crate::openssl::OpenSsl;

#[test]
fn csrs_of_openssl_are_accepted_for_every_kind_of_key() {
    let openssl = OpenSsl::new();
    let pss = "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest";
    for (key, options, key_type) in [
        (
            "EC -pkeyopt ec_paramgen_curve:P-256",
            String::new(),
            KeyType::P256,
        ),
        (
            "EC -pkeyopt ec_paramgen_curve:P-256",
            "-sha384".to_owned(),
            KeyType::P256,
        ),
        (
            "EC -pkeyopt ec_paramgen_curve:P-384",
            "-sha384".to_owned(),
            KeyType::P384,
        ),
        (
            "EC -pkeyopt ec_paramgen_curve:P-384",
            "-sha256".to_owned(),
            KeyType::P384,
        ),
        ("ED25519", String::new(), KeyType::Ed25519),
        (
            "RSA -pkeyopt rsa_keygen_bits:2048",
            "-sha256".to_owned(),
            KeyType::Rsa2048,
        ),
        (
            "RSA -pkeyopt rsa_keygen_bits:2048",
            "-sha512".to_owned(),
            KeyType::Rsa2048,
        ),
        (
            "RSA -pkeyopt rsa_keygen_bits:2048",
            format!("-sha256 {pss}"),
            KeyType::Rsa2048,
        ),
        (
            "RSA -pkeyopt rsa_keygen_bits:2048",
            format!("-sha384 {pss}"),
            KeyType::Rsa2048,
        ),
        (
            "RSA -pkeyopt rsa_keygen_bits:2048",
            format!("-sha512 {pss}"),
            KeyType::Rsa2048,
        ),
        (
            "RSA -pkeyopt rsa_keygen_bits:3072",
            String::new(),
            KeyType::Rsa3072,
        ),
    ] {
        openssl.run(&format!("genpkey -algorithm {key} -out key.pem"));
        openssl.run("pkey -in key.pem -pubout -outform DER -out spki.der");
        openssl.run(&format!(
            "req -new -key key.pem -subj /CN=x -addext subjectAltName=URI:spiffe://example.org/a,DNS:a.example {options} -out csr.pem"
        ));
        let csr =
            VerifiedCsr::parse(&openssl.read("csr.pem")).unwrap_or_else(|e| panic!("{key} {options}: {e}"));
        assert_eq!(csr.key_type(), key_type);
        assert_eq!(csr.spki_der(), openssl.read("spki.der"));
        assert_eq!(csr.key_digest(), KeyDigest::of(csr.spki_der()));
        assert_eq!(csr.uri().unwrap().as_str(), "spiffe://example.org/a");
        assert_eq!(csr.dns_names(), ["a.example"]);
        assert!(csr.other_names().is_empty());
    }
}

#[test]
fn pem_may_follow_text_and_have_any_line_ends() {
    let openssl = OpenSsl::new();
    openssl.run("req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -subj /CN=x -text -out csr.pem");
    let text = String::from_utf8(openssl.read("csr.pem")).unwrap();
    assert!(text.starts_with("Certificate Request:"));
    for spelling in [
        text.clone(),
        text.replace('\n', "\r\n"),
        text.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"),
        format!("{text}\n \r\n"),
    ] {
        let csr = VerifiedCsr::parse(spelling.as_bytes()).unwrap();
        assert_eq!(csr.uri(), None);
    }
}

#[test]
fn what_is_ignored_changes_nothing() {
    let digital_signature = named_bits(0x80);
    let purposes = sequence(&[&oid::element(oid::SERVER_AUTH)]);
    let recipe = Recipe::with_extensions(&[
        extension(oid::BASIC_CONSTRAINTS, true, &sequence(&[])),
        extension(oid::KEY_USAGE, true, &digital_signature),
        extension(oid::EXTENDED_KEY_USAGE, true, &purposes),
        extension(oid::SUBJECT_KEY_ID, false, &octet_string(&[1; 20])),
        // Whatever an unknown extension holds is nobody's business.
        extension(&[0x2a, 0x03], false, b"not even DER"),
    ]);
    let challenge_password = sequence(&[
        &oid::element(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x07]),
        &tlv(tag::SET, &[&utf8_string("secret")]),
    ]);
    let recipe = Recipe {
        attributes: [challenge_password, recipe.attributes.clone()].concat(),
        ..recipe
    };
    let csr = VerifiedCsr::parse(&recipe.der()).unwrap();
    assert_eq!(csr.uri(), None);
    let bare = Recipe {
        attributes: Vec::new(),
        ..Recipe::good()
    };
    assert!(VerifiedCsr::parse(&bare.der()).is_ok());
}

#[test]
fn names_are_kept_as_wishes_sorted_by_kind() {
    let csr = VerifiedCsr::parse(
        &Recipe::with_names(&[
            dns("A.Example.org"),
            dns("a.example.org"),
            dns("*.example.org"),
            uri("spiffe://example.org/a"),
            tlv(tag::context(7), &[&[10, 0, 0, 1]]),
            tlv(tag::context(1), &[b"a@example.org"]),
            tlv(tag::context(8), &[oid::SHA256]),
            tlv(
                tag::context_constructed(4),
                &[&name_of(oid::COMMON_NAME, &utf8_string("x"))],
            ),
        ])
        .der(),
    )
    .unwrap();
    assert_eq!(csr.dns_names(), ["a.example.org"]);
    let others: Vec<String> = csr.other_names().iter().map(ToString::to_string).collect();
    assert_eq!(
        others[..4],
        [
            "DNS *.example.org",
            "IP 10.0.0.1",
            "email a@example.org",
            "registered ID 2.16.840.1.101.3.4.2.1"
        ]
    );
    assert_eq!(csr.other_names()[4].kind(), "directory name");
}

#[test]
fn of_the_subject_only_a_serial_number_is_read() {
    let with = |value: Vec<u8>| {
        let recipe = Recipe {
            subject: name_of(oid::SERIAL_NUMBER, &value),
            ..Recipe::good()
        };
        let csr = VerifiedCsr::parse(&recipe.der()).unwrap();
        csr.subject_serial_number().map(str::to_owned)
    };
    assert_eq!(with(printable_string("EX-0001")), Some("EX-0001".to_owned()));
    assert_eq!(with(utf8_string("EX-0001")), Some("EX-0001".to_owned()));
    assert_eq!(with(utf8_string("EX\n0001")), None);
    assert_eq!(with(utf8_string(&"1".repeat(65))), None);
    assert_eq!(with(integer(&[1])), None);
    assert_eq!(
        VerifiedCsr::parse(&Recipe::good().der())
            .unwrap()
            .subject_serial_number(),
        None
    );
}

#[test]
fn an_authority_asks_for_its_trust_domain_and_nothing_else() {
    let ask = |names: &[Vec<u8>]| AuthorityCsr::parse(&Recipe::with_names(names).der());
    let csr = ask(&[uri("spiffe://example.org")]).unwrap();
    assert_eq!(csr.trust_domain().as_str(), "example.org");
    for names in [
        &[uri("spiffe://example.org/a")][..],
        &[uri("spiffe://example.org"), dns("a.example")],
        &[dns("a.example")],
    ] {
        assert_eq!(ask(names).unwrap_err().reason(), Reason::CsrSan);
    }
}

#[test]
fn only_an_authority_may_ask_to_be_one() {
    let trust_domain = TrustDomain::new("example.org").unwrap();
    let asked = Recipe::with_extensions(&[authority_extensions(&trust_domain, Some(0))]).der();
    assert!(AuthorityCsr::parse(&asked).is_ok());
    assert_eq!(
        VerifiedCsr::parse(&asked).unwrap_err().reason(),
        Reason::CsrExtension
    );
    let constraints = extension(oid::NAME_CONSTRAINTS, true, &sequence(&[]));
    let asked = Recipe::with_extensions(&[authority_extensions(&trust_domain, Some(0)), constraints]).der();
    assert_eq!(
        AuthorityCsr::parse(&asked).unwrap_err().reason(),
        Reason::CsrExtension
    );
}
