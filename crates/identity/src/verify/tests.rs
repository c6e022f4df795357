//! Chains made for the purpose, good and bad, judged at chosen times.

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);

struct Signer {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
}

fn ca(uri: &str, above: Option<&Signer>, change: impl FnOnce(&mut CertificateParams)) -> Signer {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, format!("ca {uri} {}", above.is_some()));
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    (params.not_before, params.not_after) = (NOW - time::Duration::days(1), NOW + time::Duration::days(1));
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let der = match above {
        Some(signer) => params.signed_by(&key, &signer.issuer).unwrap().der().clone(),
        None => params.self_signed(&key).unwrap().der().clone(),
    };
    Signer {
        issuer: Issuer::new(params, key),
        der,
    }
}

fn leaf(uri: &str, signer: &Signer, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    (params.not_before, params.not_after) = (NOW - time::Duration::hours(1), NOW + time::Duration::hours(1));
    change(&mut params);
    params
        .signed_by(&KeyPair::generate().unwrap(), &signer.issuer)
        .unwrap()
        .der()
        .clone()
}

struct Mesh {
    root: Signer,
    intermediate: Signer,
    verifier: PeerVerifier,
}

fn mesh() -> Mesh {
    let root = ca("spiffe://td", None, |_| {});
    let intermediate = ca("spiffe://td", Some(&root), |_| {});
    let bundle = TrustBundle::new(TrustDomain::new("td").unwrap(), vec![root.der.clone()]).unwrap();
    Mesh {
        verifier: PeerVerifier::new(&bundle),
        root,
        intermediate,
    }
}

impl Mesh {
    fn judge(&self, uri: &str, change: impl FnOnce(&mut CertificateParams)) -> Result<Peer, VerifyError> {
        let leaf = leaf(uri, &self.intermediate, change);
        self.verifier
            .verify(&[leaf, self.intermediate.der.clone()], Usage::Client, NOW)
    }
}

#[test]
fn a_member_is_identified_through_the_intermediate() {
    let peer = mesh().judge("spiffe://td/ns/a/sa/b", |_| {}).unwrap();
    assert_eq!(peer.id.as_str(), "spiffe://td/ns/a/sa/b");
    assert!(peer.leaf.validity().contains(NOW));
}

#[test]
fn time_is_judged_at_the_given_moment() {
    let mesh = mesh();
    let chain = [
        leaf("spiffe://td/x", &mesh.intermediate, |_| {}),
        mesh.intermediate.der.clone(),
    ];
    let at = |now| {
        mesh.verifier
            .verify(&chain, Usage::Server, now)
            .map(|_| ())
            .map_err(|e| e.reason())
    };
    assert_eq!(at(NOW), Ok(()));
    assert_eq!(
        at(NOW + time::Duration::hours(2)),
        Err(Reason::CertificateExpired)
    );
    assert_eq!(
        at(NOW - time::Duration::hours(2)),
        Err(Reason::CertificateNotYetValid)
    );
}

#[test]
fn a_chain_to_another_root_or_without_its_intermediate_is_untrusted() {
    let mesh = mesh();
    let stranger = ca("spiffe://td", None, |_| {});
    let foreign = leaf("spiffe://td/x", &stranger, |_| {});
    let lonely = leaf("spiffe://td/x", &mesh.intermediate, |_| {});
    for chain in [vec![foreign], vec![lonely], vec![]] {
        let error = mesh.verifier.verify(&chain, Usage::Client, NOW).unwrap_err();
        assert_eq!(error.reason(), Reason::CertificateUntrusted, "{error}");
    }
}

#[test]
fn a_leaf_for_another_use_is_untrusted_and_the_use_is_named() {
    let serves =
        |p: &mut CertificateParams| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let error = mesh().judge("spiffe://td/x", serves).unwrap_err();
    assert_eq!(error.reason(), Reason::CertificateUntrusted);
    assert!(error.to_string().contains("clientAuth"), "{error}");
}

#[test]
fn another_trust_domain_under_the_same_root_is_untrusted_and_named() {
    let error = mesh().judge("spiffe://other/x", |_| {}).unwrap_err();
    assert_eq!(error.reason(), Reason::CertificateUntrusted);
    assert_eq!(
        error.to_string(),
        "spiffe://other/x is of another trust domain, expected td"
    );
}

#[test]
fn leaves_that_break_a_rule_of_x509_svid_are_refused() {
    let mesh = mesh();
    let not_svid = |uri: &str, change: &dyn Fn(&mut CertificateParams)| {
        let error = mesh.judge(uri, |params| change(params)).unwrap_err();
        assert_eq!(error.reason(), Reason::CertificateNotSvid, "{uri}: {error}");
    };
    not_svid("spiffe://td", &|_| {});
    not_svid("https://td/x", &|_| {});
    not_svid("SPIFFE://td/x", &|_| {});
    not_svid("spiffe://td/x", &|p| p.subject_alt_names.clear());
    not_svid("spiffe://td/x", &|p| {
        p.subject_alt_names
            .push(SanType::URI("spiffe://td/y".try_into().unwrap()))
    });
    not_svid("spiffe://td/x", &|p| p.key_usages.clear());
    not_svid("spiffe://td/x", &|p| {
        p.key_usages.push(KeyUsagePurpose::KeyCertSign)
    });
    not_svid("spiffe://td/x", &|p| p.key_usages.push(KeyUsagePurpose::CrlSign));
    not_svid("spiffe://td/x", &|p| {
        p.key_usages = vec![KeyUsagePurpose::KeyEncipherment]
    });
    not_svid("spiffe://td/x", &|p| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]
    });
}

#[test]
fn a_ca_certificate_never_authenticates() {
    let mesh = mesh();
    let chain = [mesh.intermediate.der.clone(), mesh.root.der.clone()];
    assert_eq!(
        mesh.verifier
            .verify(&chain, Usage::Client, NOW)
            .unwrap_err()
            .reason(),
        Reason::CertificateUntrusted
    );
}

#[test]
fn an_intermediate_that_may_not_sign_or_names_a_workload_is_untrusted() {
    let mesh = mesh();
    let judge = |signer: Signer| {
        let chain = [leaf("spiffe://td/x", &signer, |_| {}), signer.der.clone()];
        mesh.verifier
            .verify(&chain, Usage::Client, NOW)
            .map(|_| ())
            .map_err(|e| e.reason())
    };
    assert_eq!(judge(ca("spiffe://td", Some(&mesh.root), |_| {})), Ok(()));
    let no_sign = ca("spiffe://td", Some(&mesh.root), |p| {
        p.key_usages = vec![KeyUsagePurpose::CrlSign]
    });
    assert_eq!(judge(no_sign), Err(Reason::CertificateUntrusted));
    assert_eq!(
        judge(ca("spiffe://td/x", Some(&mesh.root), |_| {})),
        Err(Reason::CertificateUntrusted)
    );
}

#[test]
fn a_factory_chain_is_judged_without_spiffe_rules() {
    let factory = ca("urn:factory", None, |_| {});
    let device = leaf("urn:device:7", &factory, |p| {
        p.subject_alt_names.clear();
        p.distinguished_name
            .push(rcgen::DnType::from_oid(&[2, 5, 4, 5]), "D-0007");
    });
    let leaf = ChainVerifier::new(&[factory.der])
        .unwrap()
        .verify(&[device], Usage::Client, NOW)
        .unwrap();
    assert_eq!(leaf.subject_serial_number(), Some("D-0007"));
    assert!(leaf.svid_id().is_err());
}
