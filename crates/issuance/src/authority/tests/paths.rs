//! Authorities under a company's hierarchy: root, policy authority, ours. Activation accepts it only if
//! clients would.

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer as RcgenIssuer, KeyPair, KeyUsagePurpose, NameConstraints,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SignatureAlgorithm,
};

use super::*;

/// A company's root and policy authority, and how it certifies ours; a test changes what it is about.
struct Company {
    root: CertificateParams,
    policy: CertificateParams,
    ours: CertificateParams,
}

/// What the company made.
struct Certified {
    prepared: PreparedAuthority,
    /// Ours, then the policy authority's.
    chain: Vec<CertificateDer<'static>>,
    root: CertificateDer<'static>,
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        let spki = self.spki_der();
        &spki[spki.len() - 65..]
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

fn signer(name: &str, constraints: BasicConstraints, now: OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params.not_before = now - DAY;
    params.not_after = now + 300 * DAY;
    params
}

impl Company {
    fn new(now: OffsetDateTime) -> Self {
        let mut ours = signer("Signet", BasicConstraints::Constrained(0), now);
        ours.subject_alt_names = vec![SanType::URI("spiffe://example.org".try_into().unwrap())];
        Self {
            root: signer("Root", BasicConstraints::Unconstrained, now),
            policy: signer("Policy", BasicConstraints::Constrained(1), now),
            ours,
        }
    }

    fn certify(self) -> Certified {
        let key = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let (root_key, policy_key) = (key(), key());
        let root = self.root.self_signed(&root_key).unwrap();
        let root_issuer = RcgenIssuer::new(self.root, root_key);
        let policy = self.policy.signed_by(&policy_key, &root_issuer).unwrap();
        let policy_issuer = RcgenIssuer::new(self.policy, policy_key);
        let prepared = prepared();
        let ours = self
            .ours
            .signed_by(prepared.public_key(), &policy_issuer)
            .unwrap();
        Certified {
            prepared,
            chain: vec![ours.der().clone(), policy.der().clone()],
            root: root.der().clone(),
        }
    }

    fn activate(self, now: OffsetDateTime) -> Result<SigningAuthority, AuthorityError> {
        let Certified {
            prepared,
            chain,
            root,
        } = self.certify();
        prepared.activate(&chain, &root, now)
    }
}

fn dns(base: &str) -> GeneralSubtree {
    GeneralSubtree::DnsName(base.to_owned())
}

fn permitting(permitted: Vec<GeneralSubtree>) -> Option<NameConstraints> {
    Some(NameConstraints {
        permitted_subtrees: permitted,
        excluded_subtrees: Vec::new(),
    })
}

/// A hierarchy, the field that is named, and part of the message.
type Unusable = (Company, &'static str, &'static str);

fn changed(now: OffsetDateTime, change: fn(&mut Company)) -> Company {
    let mut company = Company::new(now);
    change(&mut company);
    company
}

/// Each with one change of times, usages or path lengths that makes clients reject the leaves.
fn unusable(now: OffsetDateTime) -> Vec<Unusable> {
    let with = |change: fn(&mut Company)| changed(now, change);
    let mut ended = Company::new(now);
    ended.policy.not_after = now - Duration::from_secs(60);
    let mut early = Company::new(now);
    early.root.not_before = now + Duration::from_secs(60);
    vec![
        (
            ended,
            "chain[1].validity",
            "certificate 2 of the chain (CN=Policy)",
        ),
        (early, "root.validity", "the root (CN=Root)"),
        (
            with(|c| c.ours.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
            "chain[0].extendedKeyUsage",
            "lacks clientAuth",
        ),
        (
            with(|c| c.policy.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            "chain[1].extendedKeyUsage",
            "lacks serverAuth",
        ),
        (
            with(|c| c.root.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]),
            "root.extendedKeyUsage",
            "lacks serverAuth",
        ),
        (
            with(|c| c.policy.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))),
            "chain[1].basicConstraints",
            "pathlen is 0, expected at least 1",
        ),
        (
            with(|c| c.root.is_ca = IsCa::Ca(BasicConstraints::Constrained(1))),
            "root.basicConstraints",
            "pathlen is 1, expected at least 2",
        ),
        (
            with(|c| c.policy.is_ca = IsCa::ExplicitNoCa),
            "chain[1].basicConstraints",
            "CA:TRUE",
        ),
    ]
}

/// Each with one change of other extensions that makes clients reject the leaves.
fn unusable_extensions(now: OffsetDateTime) -> Vec<Unusable> {
    let with = |change: fn(&mut Company)| changed(now, change);
    vec![
        (
            with(|c| c.policy.key_usages = vec![KeyUsagePurpose::CrlSign]),
            "chain[1].keyUsage",
            "lacks keyCertSign",
        ),
        (
            with(|c| c.policy.key_usages = Vec::new()),
            "chain[1].keyUsage",
            "is absent",
        ),
        (
            with(|c| {
                let mut policies =
                    rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 36], vec![0x30, 3, 0x80, 1, 0]);
                policies.set_criticality(true);
                c.policy.custom_extensions = vec![policies];
            }),
            "chain[1].extensions",
            "critical extension 2.5.29.36",
        ),
        (
            with(|c| {
                c.policy.subject_alt_names = vec![SanType::URI("spiffe://other.example".try_into().unwrap())];
            }),
            "chain[1].subjectAltName",
            "no other trust domain than example.org",
        ),
        (
            with(|c| {
                c.root.name_constraints =
                    permitting(vec![GeneralSubtree::DirectoryName(DistinguishedName::new())])
            }),
            "root.nameConstraints",
            "directory names",
        ),
    ]
}

#[test]
fn a_hierarchy_that_clients_would_reject_is_refused_with_its_certificate_and_field() {
    let now = now();
    assert!(Company::new(now).activate(now).is_ok());
    for (company, field, part) in unusable(now).into_iter().chain(unusable_extensions(now)) {
        let error = company.activate(now).unwrap_err();
        assert_eq!(error.field().as_deref(), Some(field), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn certificates_in_another_order_are_put_right_and_strangers_among_them_are_refused() {
    let now = now();
    let mut company = Company::new(now);
    company.policy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let Certified {
        prepared,
        chain,
        root,
    } = company.certify();
    let pem = prepared.to_pkcs8_pem(None).unwrap();
    let again = || PreparedAuthority::from_pkcs8_pem(trust_domain(), &pem, None).unwrap();
    let shuffled = [chain[0].clone(), root.clone(), chain[1].clone()];
    assert_eq!(again().activate(&shuffled, &root, now).unwrap().chain(), chain);
    let stranger = Company::new(now).certify().root;
    let error = again()
        .activate(&[chain[0].clone(), stranger, chain[1].clone()], &root, now)
        .unwrap_err();
    assert_eq!(error.field().as_deref(), Some("chain[1].subject"), "{error}");
    let error = again().activate(&chain[..1], &root, now).unwrap_err();
    assert_eq!(error.field().as_deref(), Some("chain[0].issuer"), "{error}");
}

#[test]
fn a_subject_with_control_characters_is_printed_escaped() {
    let now = now();
    let mut company = Company::new(now);
    company.policy.distinguished_name = DistinguishedName::new();
    company
        .policy
        .distinguished_name
        .push(DnType::CommonName, "x\u{1b}[2J\ny");
    company.policy.key_usages = Vec::new();
    let message = company.activate(now).unwrap_err().to_string();
    assert!(message.contains("CN=x\\u{1b}[2J\\ny"), "{message}");
    assert!(
        !message.contains('\u{1b}') && !message.contains('\n'),
        "{message}"
    );
}

#[test]
fn leaves_are_valid_only_while_every_certificate_above_them_is() {
    let now = now().replace_nanosecond(0).unwrap();
    let mut company = Company::new(now);
    company.policy.not_before = now - Duration::from_secs(5);
    company.policy.not_after = now + Duration::from_secs(180);
    let Certified {
        prepared,
        chain,
        root,
    } = company.certify();
    let path = AuthorityPath::read(&chain, &root).unwrap();
    let (place, end) = path.earlier_end().unwrap();
    assert_eq!(place.to_string(), "certificate 2 of the chain (CN=Policy)");
    assert_eq!(end, now + Duration::from_secs(180));

    let authority = prepared.activate(&chain, &root, now).unwrap();
    assert_eq!(authority.not_after(), end);
    let leaf = authority.sign(workload("/a", now).check().unwrap()).unwrap();
    assert!(leaf.life_clipped);
    assert_eq!(leaf.validity.not_after(), end);
    assert_eq!(leaf.validity.not_before(), now - Duration::from_secs(5));
    let short = Draft {
        life: Duration::from_secs(60),
        ..workload("/a", now)
    };
    let short = authority.sign(short.check().unwrap()).unwrap();
    assert!(!short.life_clipped, "only a beginning was moved");
    let late = workload("/a", now + Duration::from_secs(175)).check().unwrap();
    assert_eq!(authority.sign(late).unwrap_err().reason(), Reason::AuthorityEnded);
}

#[test]
fn an_authority_resumes_after_its_intermediate_expired_and_signs_nothing() {
    let now = now();
    let mut company = Company::new(now);
    company.policy.not_after = now - Duration::from_secs(60);
    let Certified {
        prepared,
        chain,
        root,
    } = company.certify();
    let authority = prepared.resume(&chain, &root).unwrap();
    assert!(authority.not_after() < now);
    let error = authority.sign(workload("/a", now).check().unwrap()).unwrap_err();
    assert_eq!(error.reason(), Reason::AuthorityEnded);
}

#[test]
fn names_that_the_path_excludes_are_refused_and_others_verify_with_openssl() {
    let now = now();
    let mut company = Company::new(now);
    company.policy.name_constraints = permitting(vec![
        dns("corp.example"),
        GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([10, 0, 0, 0], 8)),
    ]);
    let authority = company.activate(now).unwrap();
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    let error = authority.prove(&names(&["localhost"]), &[], now).unwrap_err();
    assert_eq!(
        error.field().as_deref(),
        Some("chain[1].nameConstraints"),
        "{error}"
    );
    assert!(error.to_string().contains("localhost"), "{error}");
    let good = names(&["ca.corp.example"]);
    assert_eq!(
        authority.prove(&good, &["10.0.0.7".parse().unwrap()], now),
        Ok(())
    );

    let draft = |dns_names: &[&str]| Draft {
        dns_names: names(dns_names),
        ..workload("/a", now)
    };
    let error = authority
        .sign(draft(&["a.other.example"]).check().unwrap())
        .unwrap_err();
    assert_eq!(error.reason(), Reason::NameNotGranted);
    assert!(error.to_string().contains("a.other.example"), "{error}");
    let openssl = OpenSsl::new();
    for permitted in [&[][..], &["a.corp.example"]] {
        let leaf = authority.sign(draft(permitted).check().unwrap()).unwrap();
        write_chain(&openssl, &authority, &leaf.der);
        for purpose in ["sslserver", "sslclient"] {
            openssl.run(&format!(
                "verify -CAfile root.pem -untrusted chain.pem -purpose {purpose} leaf.pem"
            ));
        }
    }
}
