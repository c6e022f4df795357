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

fn verifier_of(roots: &[&Signer]) -> PeerVerifier {
    let roots = roots.iter().map(|root| root.der.clone()).collect();
    PeerVerifier::new(&TrustBundle::new(TrustDomain::new("td").unwrap(), roots).unwrap())
}

/// Verifies a leaf of the last of these, presented with all but the first, which is the root.
fn verify_below(signers: &[&Signer], usage: Usage) -> Result<(), VerifyError> {
    let leaf = leaf("spiffe://td/x", signers.last().unwrap(), |_| {});
    let above = signers[1..].iter().rev().map(|signer| signer.der.clone());
    let chain: Vec<_> = std::iter::once(leaf).chain(above).collect();
    verifier_of(&signers[..1]).verify(&chain, usage, NOW).map(|_| ())
}

#[test]
fn a_signing_certificate_of_another_trust_domain_is_untrusted_and_named() {
    let root = ca("spiffe://td", None, |_| {});
    for uri in [
        "spiffe://other",
        "SPIFFE://td",
        "spiffe://td/",
        "spiffe:td",
        "spiffe://td?x",
    ] {
        let error = verify_below(&[&root, &ca(uri, Some(&root), |_| {})], Usage::Client).unwrap_err();
        assert_eq!(error.reason(), Reason::CertificateUntrusted, "{uri}");
        let upper = ca(uri, Some(&root), |_| {});
        let lower = ca("spiffe://td", Some(&upper), |_| {});
        verify_below(&[&root, &upper, &lower], Usage::Client).unwrap_err();
        verify_below(&[&ca(uri, None, |_| {})], Usage::Client).unwrap_err();
    }
    let error = verify_below(
        &[&root, &ca("spiffe://other", Some(&root), |_| {})],
        Usage::Client,
    );
    let text = error.unwrap_err().to_string();
    assert!(
        text.ends_with("names the trust domain spiffe://other, expected spiffe://td"),
        "{text}"
    );
}

#[test]
fn a_signing_certificate_needs_no_spiffe_id_and_has_it_as_its_only_uri() {
    let root = ca("spiffe://td", None, |_| {});
    let with = |names: &[&str]| {
        let names = names.iter().map(|name| SanType::URI((*name).try_into().unwrap()));
        let signer = ca("spiffe://td", Some(&root), |p| {
            p.subject_alt_names = names.collect()
        });
        verify_below(&[&root, &signer], Usage::Server).is_ok()
    };
    assert!(with(&[]));
    assert!(with(&["https://pki.example.org/sub"]));
    assert!(!with(&["https://pki.example.org/sub", "spiffe://td"]));
    assert!(!with(&["spiffe://td", "spiffe://td"]));
}

#[test]
fn a_root_outside_its_validity_is_no_trust_anchor() {
    let day = time::Duration::days(1);
    let expired = ca("spiffe://td", None, |p| {
        p.not_after = NOW - time::Duration::SECOND
    });
    let future = ca("spiffe://td", None, |p| {
        p.not_before = NOW + time::Duration::SECOND
    });
    let error = verify_below(&[&expired], Usage::Client).unwrap_err();
    assert_eq!(error.reason(), Reason::CertificateExpired);
    let error = verify_below(&[&future], Usage::Client).unwrap_err();
    assert_eq!(error.reason(), Reason::CertificateNotYetValid);
    let exact = ca("spiffe://td", None, |p| {
        (p.not_before, p.not_after) = (NOW - day, NOW)
    });
    assert_eq!(verify_below(&[&exact], Usage::Client), Ok(()));
    let exact = ca("spiffe://td", None, |p| {
        (p.not_before, p.not_after) = (NOW, NOW + day)
    });
    assert_eq!(verify_below(&[&exact], Usage::Client), Ok(()));
}

#[test]
fn a_root_that_expired_does_not_hide_another_of_the_same_name_and_key() {
    let valid = ca("spiffe://td", None, |_| {});
    let expired = ca("spiffe://td", None, |p| p.not_after = NOW - time::Duration::HOUR);
    let same_key = {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "ca spiffe://td false");
        (params.not_before, params.not_after) =
            (NOW - time::Duration::days(9), NOW - time::Duration::days(1));
        Signer {
            der: params.self_signed(valid.issuer.key()).unwrap().der().clone(),
            issuer: Issuer::new(params, KeyPair::generate().unwrap()),
        }
    };
    let leaf = leaf("spiffe://td/x", &valid, |_| {});
    for roots in [[&expired, &same_key, &valid], [&valid, &same_key, &expired]] {
        let verified = verifier_of(&roots).verify(std::slice::from_ref(&leaf), Usage::Client, NOW);
        assert_eq!(verified.map(|_| ()), Ok(()));
    }
    let error = verifier_of(&[&same_key])
        .verify(&[leaf], Usage::Client, NOW)
        .unwrap_err();
    assert_eq!(error.reason(), Reason::CertificateExpired);
}

#[test]
fn the_path_length_of_a_root_applies() {
    let limited = |limit| {
        ca("spiffe://td", None, |p| {
            p.is_ca = IsCa::Ca(BasicConstraints::Constrained(limit))
        })
    };
    let root = limited(0);
    assert_eq!(verify_below(&[&root], Usage::Client), Ok(()));
    let below = ca("spiffe://td", Some(&root), |_| {});
    let error = verify_below(&[&root, &below], Usage::Client).unwrap_err();
    assert!(error.to_string().contains("allows 0 certificates"), "{error}");
    let root = limited(1);
    let below = ca("spiffe://td", Some(&root), |_| {});
    assert_eq!(verify_below(&[&root, &below], Usage::Client), Ok(()));
    let lowest = ca("spiffe://td/", Some(&below), |p| p.subject_alt_names.clear());
    verify_below(&[&root, &below, &lowest], Usage::Client).unwrap_err();
}

#[test]
fn the_usages_of_a_root_apply() {
    let serves = ca("spiffe://td", None, |p| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]
    });
    assert_eq!(verify_below(&[&serves], Usage::Server), Ok(()));
    let error = verify_below(&[&serves], Usage::Client).unwrap_err();
    assert!(
        matches!(
            error,
            VerifyError::Usage {
                expected: "clientAuth"
            }
        ),
        "{error}"
    );
    let signs_crls = ca("spiffe://td", None, |p| {
        p.key_usages = vec![KeyUsagePurpose::CrlSign]
    });
    verify_below(&[&signs_crls], Usage::Server).unwrap_err();
    let says_nothing = ca("spiffe://td", None, |p| p.key_usages.clear());
    assert_eq!(verify_below(&[&says_nothing], Usage::Server), Ok(()));
    let no_authority = ca("spiffe://td", None, |p| p.is_ca = IsCa::ExplicitNoCa);
    verify_below(&[&no_authority], Usage::Server).unwrap_err();
}

#[test]
fn a_root_with_a_critical_extension_that_is_not_processed_is_no_trust_anchor() {
    let unknown = |critical| {
        ca("spiffe://td", None, |p| {
            let mut extension = rcgen::CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
            extension.set_criticality(critical);
            p.custom_extensions.push(extension);
        })
    };
    assert_eq!(verify_below(&[&unknown(false)], Usage::Client), Ok(()));
    verify_below(&[&unknown(true)], Usage::Client).unwrap_err();
}

#[test]
fn an_issuer_that_the_authority_key_identifier_does_not_name_is_passed_over() {
    let with_id = |id: u8| {
        ca("spiffe://td", None, |p| {
            p.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![id; 20])
        })
    };
    let (a, b) = (with_id(1), with_id(2));
    let leaf = leaf("spiffe://td/x", &a, |p| {
        p.use_authority_key_identifier_extension = true
    });
    let mut wrong_id = a.der.to_vec();
    let at = wrong_id.windows(20).position(|window| window == [1; 20]).unwrap();
    wrong_id[at..at + 20].copy_from_slice(&[3; 20]);
    let wrong_id = Signer {
        der: wrong_id.into(),
        issuer: b.issuer,
    };
    let verify = |roots: &[&Signer]| {
        verifier_of(roots)
            .verify(std::slice::from_ref(&leaf), Usage::Client, NOW)
            .is_ok()
    };
    assert!(
        !verify(&[&wrong_id]),
        "the same key, and an identifier that it does not have"
    );
    assert!(verify(&[&wrong_id, &a]));
}

#[test]
fn many_certificates_of_one_name_are_refused_before_paths_are_tried() {
    let root = ca("spiffe://td", None, |_| {});
    let same = |_: usize| ca("spiffe://td", Some(&root), |_| {});
    let signers: Vec<Signer> = (0..=MAX_ALTERNATIVES).map(same).collect();
    let leaf = leaf("spiffe://td/x", &signers[0], |_| {});
    let chain = |count: usize| -> Vec<_> {
        let above = signers[..count].iter().map(|signer| signer.der.clone());
        std::iter::once(leaf.clone()).chain(above).collect()
    };
    let verify = |chain: &[CertificateDer<'_>]| {
        verifier_of(&[&root])
            .verify(chain, Usage::Client, NOW)
            .map(|_| ())
    };
    assert_eq!(verify(&chain(MAX_ALTERNATIVES)), Ok(()));
    assert_eq!(
        verify(&chain(MAX_ALTERNATIVES + 1)),
        Err(VerifyError::Alternatives { found: 4 })
    );
    let repeated = [chain(1), vec![signers[0].der.clone(); 5]].concat();
    assert_eq!(verify(&repeated), Ok(()));
}

#[test]
fn a_leaf_without_a_subject_has_critical_names() {
    let mesh = mesh();
    let bare = |p: &mut CertificateParams| p.distinguished_name = rcgen::DistinguishedName::new();
    mesh.judge("spiffe://td/x", bare).unwrap();
    let leaf = leaf("spiffe://td/x", &mesh.intermediate, bare);
    let mut relaxed = leaf.to_vec();
    let san = [0x06, 0x03, 0x55, 0x1d, 0x11, 0x01, 0x01, 0xff];
    let at = relaxed.windows(8).position(|window| window == san).unwrap();
    relaxed[at + 7] = 0;
    assert_eq!(
        Leaf::parse(&relaxed).unwrap().svid_id(),
        Err(SvidError::NamesNotCritical)
    );
}

#[test]
fn name_constraints_and_required_policies_of_a_leaf_or_an_intermediate_are_not_passed_over() {
    let mesh = mesh();
    let limited = |p: &mut CertificateParams| {
        let mut limits = rcgen::CustomExtension::from_oid_content(
            &[2, 5, 29, 30],
            vec![0x30, 7, 0xa0, 5, 0x30, 3, 0x82, 1, b'a'],
        );
        limits.set_criticality(true);
        p.custom_extensions.push(limits);
    };
    let policy = |p: &mut CertificateParams| {
        let value = vec![0x30, 3, 0x80, 1, 0];
        let extension = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 36], value);
        p.custom_extensions.push(extension);
    };
    for (refused, why) in [
        (mesh.judge("spiffe://td/x", limited), "critical name constraints"),
        (
            mesh.judge("spiffe://td/x", policy),
            "requires certificate policies",
        ),
    ] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let signer = ca("spiffe://td", Some(&mesh.root), policy);
    verify_below(&[&mesh.root, &signer], Usage::Client).unwrap_err();
}
