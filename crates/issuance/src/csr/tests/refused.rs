//! Requests that are refused, each with the reason that comes first in the order of the checks.

use identity::Reason;

use super::recipe::{Recipe, dns, extension_request, san, uri};
use crate::certificate::{ec_spki, extension};
use crate::csr::{MAX_BYTES, MAX_NAMES, VerifiedCsr};
use crate::der::{bit_string, integer, named_bits, octet_string, sequence, tag, tlv};
use crate::oid;
use crate::openssl::OpenSsl;

fn reason(input: &[u8]) -> Option<Reason> {
    VerifiedCsr::parse(input).err().map(|error| error.reason())
}

#[track_caller]
fn refused(input: &[u8], reason: Reason, part_of_message: &str) {
    let error = VerifiedCsr::parse(input).expect_err(part_of_message);
    assert_eq!(error.reason(), reason, "{error}");
    assert!(error.to_string().contains(part_of_message), "{error}");
}

fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let algorithm = sequence(&[&oid::element(oid::RSA), &[tag::NULL, 0]]);
    let key = sequence(&[&integer(modulus), &integer(exponent)]);
    sequence(&[&algorithm, &bit_string(&key)])
}

fn modulus(bits: usize) -> Vec<u8> {
    vec![0xff; bits / 8]
}

#[test]
fn the_recipe_itself_is_good() {
    assert_eq!(reason(&Recipe::good().der()), None);
}

#[test]
fn size_is_judged_before_anything_is_parsed() {
    refused(&vec![0x30; 1 << 20], Reason::TooLarge, "1048576 bytes");
    refused(&vec![b' '; MAX_BYTES + 1], Reason::TooLarge, "65537 bytes");
    refused(
        &vec![b' '; MAX_BYTES],
        Reason::CsrMalformed,
        "neither DER nor PEM",
    );
}

#[test]
fn truncated_and_trailing_bytes_are_malformed() {
    let good = Recipe::good().der();
    for length in 0..good.len() {
        assert_eq!(
            reason(&good[..length]),
            Some(Reason::CsrMalformed),
            "{length} bytes"
        );
    }
    refused(
        &[&good[..], &[0]].concat(),
        Reason::CsrMalformed,
        "bytes follow the end",
    );
    let pem = identity::bundle::pem("CERTIFICATE REQUEST", &good);
    assert_eq!(reason(pem.as_bytes()), None);
    for (spoiled, why) in [
        (format!("{pem}{pem}"), "bytes follow the PEM block"),
        (format!("{pem}x"), "bytes follow the PEM block"),
        (
            pem.replace("CERTIFICATE REQUEST", "CERTIFICATE"),
            "not a whole CERTIFICATE REQUEST",
        ),
        (
            pem.replace("-----END", "-----ENDE"),
            "not a whole CERTIFICATE REQUEST",
        ),
        (pem.replacen('M', "!", 1), "PEM"),
    ] {
        refused(spoiled.as_bytes(), Reason::CsrMalformed, why);
    }
}

#[test]
fn ber_that_is_not_der_is_malformed() {
    let good = Recipe::good().der();
    assert_eq!(good[1], 0x81, "the length takes one octet");
    let contents = &good[3..];
    let indefinite = [&[0x30, 0x80][..], contents, &[0, 0]].concat();
    refused(&indefinite, Reason::CsrMalformed, "indefinite length");
    let padded = [&[0x30, 0x82, 0x00][..], &good[2..]].concat();
    refused(&padded, Reason::CsrMalformed, "length is not minimal");

    let constructed = tlv(tag::UTF8_STRING | 0x20, &[&tlv(tag::UTF8_STRING, &[b"x"])]);
    let recipe = Recipe {
        subject: crate::certificate::name_of(oid::COMMON_NAME, &constructed),
        ..Recipe::good()
    };
    refused(&recipe.der(), Reason::CsrMalformed, "constructed encoding");

    let critical_false = sequence(&[
        &oid::element(&[0x2a, 0x03]),
        &[tag::BOOLEAN, 1, 0],
        &octet_string(&[]),
    ]);
    refused(
        &Recipe::with_extensions(&[critical_false]).der(),
        Reason::CsrMalformed,
        "default value",
    );
    let ca_false = extension(oid::BASIC_CONSTRAINTS, true, &sequence(&[&[tag::BOOLEAN, 1, 0]]));
    refused(
        &Recipe::with_extensions(&[ca_false]).der(),
        Reason::CsrMalformed,
        "default value",
    );
}

#[test]
fn nesting_bombs_are_malformed() {
    let bomb = |tag: u8| {
        let mut der = Vec::new();
        while der.len() < MAX_BYTES - 600 {
            der = tlv(tag, &[&der]);
            if der.len() > 4096 {
                break;
            }
        }
        der
    };
    for tag in [tag::SEQUENCE, tag::SET, tag::context_constructed(0)] {
        refused(&bomb(tag), Reason::CsrMalformed, "");
        let recipe = Recipe {
            attributes: bomb(tag),
            ..Recipe::good()
        };
        refused(&recipe.der(), Reason::CsrMalformed, "nested too deeply");
    }
    let hidden = extension(oid::SUBJECT_ALT_NAME, false, &bomb(tag::SEQUENCE));
    refused(
        &Recipe::with_extensions(&[hidden]).der(),
        Reason::CsrMalformed,
        "nested too deeply",
    );
}

#[test]
fn structure_has_neither_more_nor_less_than_the_standard() {
    let extra = integer(&[1]);
    let good = Recipe::good;
    for (recipe, why) in [
        (
            Recipe {
                version: integer(&[1]),
                ..good()
            },
            "version is not 0",
        ),
        (
            Recipe {
                version: Vec::new(),
                ..good()
            },
            "version missing",
        ),
        (
            Recipe {
                after_attributes: extra.clone(),
                ..good()
            },
            "request information has extra elements",
        ),
        (
            Recipe {
                after_signature: extra.clone(),
                ..good()
            },
            "request has extra elements",
        ),
        (
            Recipe {
                subject: sequence(&[&tlv(tag::SET, &[])]),
                ..good()
            },
            "subject has an empty set",
        ),
        (
            Recipe {
                attributes: sequence(&[&oid::element(&[0x2a])]),
                ..good()
            },
            "attribute without values",
        ),
        (
            Recipe {
                algorithm: sequence(&[&oid::element(oid::ECDSA_SHA256), &extra, &extra]),
                ..good()
            },
            "signature algorithm has extra elements",
        ),
        (
            Recipe::with_extensions(&[sequence(&[&oid::element(&[0x2a])])]),
            "extension without value",
        ),
        (Recipe::with_names(&[]), "without names"),
        (Recipe::with_names(&[tlv(tag::context(9), &[])]), "unknown form"),
        (
            Recipe::with_names(&[tlv(tag::context(7), &[&[1, 2, 3]])]),
            "IP address",
        ),
        (Recipe::with_names(&[dns("b\u{fc}cher.example")]), "not ASCII"),
    ] {
        refused(&recipe.der(), Reason::CsrMalformed, why);
    }
}

#[test]
fn keys_are_judged_by_kind_and_strength_before_their_signature() {
    let point = Recipe::good().point();
    let explicit = sequence(&[
        &sequence(&[&oid::element(oid::EC_PUBLIC_KEY), &sequence(&[&integer(&[1])])]),
        &bit_string(&point),
    ]);
    let ec = |point: &[u8]| ec_spki(oid::P256, point);
    let secp256k1: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x0a];
    let dsa: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01];
    let other = |oid: &[u8]| sequence(&[&sequence(&[&oid::element(oid)]), &bit_string(&[1])]);
    let even = [&modulus(2040)[..], &[0xfe]].concat();
    let rsa = |bits| rsa_spki(&modulus(bits), &[1, 0, 1]);
    for (spki, reason, why) in [
        (ec_spki(secp256k1, &point), Reason::KeyType, "curve 1.3.132.0.10"),
        (explicit, Reason::KeyType, "explicit parameters"),
        (other(oid::EC_PUBLIC_KEY), Reason::KeyType, "no named curve"),
        (other(dsa), Reason::KeyType, "1.2.840.10040.4.1"),
        (other(&[0x2b, 0x65, 0x71]), Reason::KeyType, "1.3.101.113"),
        (ec(&[&[2][..], &[7; 32]].concat()), Reason::KeyType, "compressed"),
        (ec(&[0]), Reason::CsrMalformed, "infinity"),
        (ec(&point[..64]), Reason::CsrMalformed, "uncompressed point"),
        (
            ec(&[&[4][..], &[7; 64]].concat()),
            Reason::CsrMalformed,
            "not a point on its curve",
        ),
        (
            ec(&[&[4][..], &[0; 64]].concat()),
            Reason::CsrMalformed,
            "not a point on its curve",
        ),
        (rsa(1024), Reason::KeyWeak, "1024 bits"),
        (rsa(2056), Reason::KeyWeak, "2056 bits"),
        (rsa(16_384), Reason::KeyWeak, "16384 bits"),
        (rsa_spki(&even, &[1, 0, 1]), Reason::KeyWeak, "even"),
        (rsa_spki(&modulus(2048), &[3]), Reason::KeyWeak, "65537"),
        (rsa_spki(&[0], &[1, 0, 1]), Reason::KeyWeak, "of 0 bits"),
        (
            sequence(&[&sequence(&[&oid::element(oid::ED25519)]), &bit_string(&[0; 32])]),
            Reason::KeyWeak,
            "small order",
        ),
        (
            sequence(&[&sequence(&[&oid::element(oid::ED25519)]), &bit_string(&[7; 31])]),
            Reason::CsrMalformed,
            "32 bytes",
        ),
        // Strong enough, so it comes to the signature, which is of another key.
        (rsa(2048), Reason::CsrSignature, "does not fit a key of RSA-2048"),
        (ec(&point), Reason::CsrSignature, "does not verify"),
    ] {
        refused(&Recipe::with_spki(spki).der(), reason, why);
    }
}

#[test]
fn wrong_and_weak_signatures_are_refused() {
    let openssl = OpenSsl::new();
    openssl.run("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem");
    openssl.run("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.pem");
    for (key, options, why) in [
        ("rsa.pem", "-sha1", "1.2.840.113549.1.1.5"),
        ("rsa.pem", "-md5", "1.2.840.113549.1.1.4"),
        ("ec.pem", "-sha1", "1.2.840.10045.4.1"),
        ("ec.pem", "-sha512", "1.2.840.10045.4.3.4"),
        ("rsa.pem", "-sha1 -sigopt rsa_padding_mode:pss", "PSS with"),
        (
            "rsa.pem",
            "-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20",
            "rsa_pss_saltlen:digest",
        ),
        (
            "rsa.pem",
            "-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_mgf1_md:sha384",
            "another hash in its mask",
        ),
    ] {
        openssl.run(&format!(
            "req -new -key {key} -subj /CN=x {options} -outform DER -out csr.der"
        ));
        refused(&openssl.read("csr.der"), Reason::CsrSignature, why);
    }
    let mut flipped = Recipe::good().der();
    *flipped.last_mut().unwrap() ^= 1;
    refused(&flipped, Reason::CsrSignature, "does not verify");
}

#[test]
fn elements_that_follow_a_pss_parameter_are_malformed() {
    let openssl = OpenSsl::new();
    openssl.run("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem");
    openssl.run("pkey -in rsa.pem -pubout -outform DER -out spki.der");
    let hash = sequence(&[&oid::element(oid::SHA256), &[tag::NULL, 0]]);
    let mask = sequence(&[&oid::element(oid::MGF1), &hash]);
    let salt = integer(&[32]);
    let csr = |fields: [&[&[u8]]; 3]| {
        let numbered = fields.iter().zip(0..);
        let parameters: Vec<u8> = numbered
            .flat_map(|(field, number)| tlv(tag::context_constructed(number), field))
            .collect();
        let mut recipe = Recipe::with_spki(openssl.read("spki.der"));
        recipe.algorithm = sequence(&[&oid::element(oid::RSA_PSS), &sequence(&[&parameters])]);
        recipe.der()
    };
    // Well-formed parameters lead to the signature, which is not of this key.
    refused(
        &csr([&[&hash], &[&mask], &[&salt]]),
        Reason::CsrSignature,
        "does not verify",
    );
    for fields in [
        [&[&hash[..], &salt][..], &[&mask], &[&salt]],
        [&[&hash], &[&mask, &hash], &[&salt]],
        [&[&hash], &[&mask], &[&salt, &salt]],
    ] {
        refused(&csr(fields), Reason::CsrMalformed, "followed by another element");
    }
}

#[test]
fn extensions_that_make_an_authority_are_refused() {
    const TRUE: &[u8] = &[tag::BOOLEAN, 1, 0xff];
    let ca = extension(oid::BASIC_CONSTRAINTS, false, &sequence(&[TRUE]));
    let usage = |bits| extension(oid::KEY_USAGE, false, &named_bits(bits));
    let constraints = extension(oid::NAME_CONSTRAINTS, false, &sequence(&[]));
    let unknown = extension(&[0x2a, 0x03], true, &[]);
    let twice = extension(&[0x2a, 0x03], false, &[]);
    for (extensions, found) in [
        (vec![ca], "CA:TRUE"),
        (vec![usage(0x84)], "keyCertSign"),
        (vec![usage(0x02)], "cRLSign"),
        (vec![constraints], "name constraints"),
        (vec![unknown], "critical extension 1.2.3"),
        (vec![twice.clone(), twice], "extension 1.2.3 twice"),
        (
            vec![san(&[dns("a")]), san(&[dns("b")])],
            "extension 2.5.29.17 twice",
        ),
    ] {
        refused(
            &Recipe::with_extensions(&extensions).der(),
            Reason::CsrExtension,
            found,
        );
    }
    let request = extension_request(&[san(&[dns("a")])]);
    let recipe = Recipe {
        attributes: [request.clone(), request].concat(),
        ..Recipe::good()
    };
    let mut twice = recipe.der();
    refused(&twice, Reason::CsrExtension, "second list");
    *twice.last_mut().unwrap() ^= 1;
    refused(&twice, Reason::CsrSignature, "does not verify");
}

#[test]
fn uris_that_are_no_spiffe_id_are_refused_and_never_normalised() {
    let long = format!("spiffe://example.org/{}", "a".repeat(2048));
    for bad in [
        "https://example.org/a",
        "SPIFFE://example.org/a",
        "spiffe://Example.org/a",
        "spiffe://example.org/a\0",
        "spiffe://example.org/a\n",
        "spiffe://example.org/%61",
        "spiffe://example.org/a/../b",
        "spiffe://example.org//a",
        "spiffe://example.org/a/",
        "spiffe://example.org:443/a",
        "spiffe://user@example.org/a",
        "spiffe://example.org/a?b",
        "spiffe://example.org/a#b",
        "spiffe://example.org",
        "",
        &long,
    ] {
        let der = Recipe::with_names(&[uri(bad)]).der();
        assert_eq!(reason(&der), Some(Reason::CsrSan), "{bad:?}");
    }
    let two = Recipe::with_names(&[uri("spiffe://example.org/a"), uri("spiffe://example.org/b")]);
    refused(&two.der(), Reason::CsrSan, "two URI SANs");
}

#[test]
fn too_many_names_are_refused_by_size() {
    let names = |count: usize| (0..count).map(|n| dns(&format!("a{n}"))).collect::<Vec<_>>();
    assert_eq!(reason(&Recipe::with_names(&names(MAX_NAMES)).der()), None);
    refused(
        &Recipe::with_names(&names(MAX_NAMES + 1)).der(),
        Reason::TooLarge,
        "101 names",
    );
    refused(
        &Recipe::with_names(&names(7_000)).der(),
        Reason::TooLarge,
        "7000 names",
    );
    assert_eq!(
        reason(&Recipe::with_names(&names(10_000)).der()),
        Some(Reason::TooLarge)
    );
}
