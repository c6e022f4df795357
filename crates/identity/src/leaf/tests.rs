//! Certificates that two readers may read differently.

use rcgen::{BasicConstraints, CertificateParams, CustomExtension, IsCa, KeyPair, SanType};

use super::*;

/// A certificate with these changes, and with these octets replaced by others of the same length.
fn parse(change: impl FnOnce(&mut CertificateParams), replace: &[(&[u8], &[u8])]) -> Result<Leaf, String> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::DnsName("web.example".try_into().unwrap())];
    change(&mut params);
    let cert = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let mut der = cert.der().to_vec();
    for (old, new) in replace {
        let at = der.windows(old.len()).position(|window| window == *old).unwrap();
        der[at..at + old.len()].copy_from_slice(new);
    }
    Leaf::parse(&der).map_err(|e| e.to_string())
}

fn refused(change: impl FnOnce(&mut CertificateParams), replace: &[(&[u8], &[u8])], expected: &str) {
    let found = parse(change, replace).map(|leaf| leaf.serial()).unwrap_err();
    assert!(found.contains(expected), "{found}, expected {expected}");
}

fn with(oid: &[u64], value: &[u8]) -> impl FnOnce(&mut CertificateParams) {
    let extension = CustomExtension::from_oid_content(oid, value.to_vec());
    |params| params.custom_extensions.push(extension)
}

#[test]
fn an_extension_that_occurs_twice_is_refused_even_if_it_is_unknown() {
    let twice = |params: &mut CertificateParams| {
        with(&[1, 2, 3], &[5, 0])(params);
        with(&[1, 2, 3], &[5, 0])(params);
    };
    refused(twice, &[], "an extension occurs twice");
    assert!(parse(with(&[1, 2, 3], &[5, 0]), &[]).is_ok());
}

#[test]
fn a_known_extension_that_is_malformed_is_refused_even_if_it_is_not_critical() {
    for (last, value) in [
        (14, &[0x04, 1, 7, 0][..]),
        (15, &[0x43, 2, 7, 0x80]),
        (15, &[0x03, 2, 7, 0xc1]),
        (19, &[0x30, 3, 2, 1, 0]),
        (31, &[0x30, 3, 1]),
        (35, &[0x30, 3, 0x82, 1, 7]),
        (37, &[0x30, 3, 0x86, 1, 0x2a]),
        (30, &[0x30, 0]),
    ] {
        let found = parse(with(&[2, 5, 29, last], value), &[]).map(|leaf| leaf.serial());
        assert!(found.is_err(), "2.5.29.{last} {value:02x?}");
    }
}

#[test]
fn names_with_a_nul_or_beyond_ascii_and_addresses_of_other_lengths_are_refused() {
    let name = "a name in it is malformed";
    refused(|_| {}, &[(b"web.example", b"web\0example")], name);
    refused(|_| {}, &[(b"web.example", "web.exampé".as_bytes())], name);
    let address = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![SanType::IpAddress([10, 0, 0, 1].into())];
    };
    assert!(parse(address, &[]).is_ok());
    let name = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![SanType::DnsName("12345".try_into().unwrap())];
    };
    refused(
        name,
        &[(b"\x82\x0512345", b"\x87\x0512345")],
        "a name in it is malformed",
    );
}

#[test]
fn extensions_belong_to_version_3_and_to_their_own_tag() {
    let version_2 = parse(|_| {}, &[(&[0xa0, 3, 2, 1, 2], &[0xa0, 3, 2, 1, 1])]);
    assert!(version_2.is_err(), "{version_2:?}");
    // The wrapper of the extensions as a primitive element: Go passes over it, x509-parser reads it.
    let extensions = [0xa3, 0x1a, 0x30, 0x18];
    let wrapper = parse(|_| {}, &[(&extensions, &[0x83, 0x1a, 0x30, 0x18])]);
    assert!(wrapper.is_err(), "{wrapper:?}");
}

#[test]
fn a_path_length_belongs_to_an_authority() {
    let limited = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(7));
    assert!(parse(limited, &[]).unwrap().is_ca());
    let value = [0x30, 3, 2, 1, 7];
    refused(with(&[2, 5, 29, 19], &value), &[], "a path length without cA");
}

#[test]
fn a_negative_serial_number_is_refused() {
    let serial = |params: &mut CertificateParams| params.serial_number = Some(vec![0x11, 0x22, 0x33].into());
    let negative = &[(&[2, 3, 0x11, 0x22, 0x33][..], &[2, 3, 0x91, 0x22, 0x33][..])];
    assert!(parse(serial, &[]).is_ok());
    refused(serial, negative, "the serial number is negative");
}
