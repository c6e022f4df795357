//! Another certificate for the key of an active authority, as a company renews its sub-CA.

use std::sync::RwLockReadGuard;
use std::time::Duration;

use identity::{KeyDigest, Leaf, PeerVerifier, Usage};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SanType, SignatureAlgorithm,
};

use proto::Refusal;

use super::*;
use crate::authority::bench::{A, Ask, Bench, NOW, csr, key, nobody, serial};
use crate::authority::crl::Crls;
use crate::authority::lifecycle;
use crate::http::Published;
use crate::store::{Answer, Command, Entry, IssueFacts, Outcome, State, StoreError, Verdict};
use issuance::{Profile, ProfileName};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A root outside of Signet.
struct Company {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

struct Public(Vec<u8>);

impl PublicKeyData for Public {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn params(name: &str, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params.not_before = NOW - DAY;
    params.not_after = NOW + life;
    params
}

impl Company {
    fn new(name: &str) -> Self {
        Self::of(params(name, 1000 * DAY))
    }

    /// Its root permits DNS names under this one.
    fn constrained(name: &str, permitted: &str) -> Self {
        let mut params = params(name, 1000 * DAY);
        params.name_constraints = Some(rcgen::NameConstraints {
            permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName(permitted.to_owned())],
            excluded_subtrees: Vec::new(),
        });
        Self::of(params)
    }

    fn of(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        Self {
            issuer: Issuer::new(params, key),
            root,
        }
    }

    /// Certifies the key of the bench's active authority under this name.
    fn certify(&self, bench: &Bench, name: &str, life: Duration) -> CertificateDer<'static> {
        let key_id = bench.signers.current().active().unwrap().key_id().to_vec();
        self.certify_as(bench, name, &key_id, life)
    }

    fn certify_as(
        &self,
        bench: &Bench,
        name: &str,
        key_id: &[u8],
        life: Duration,
    ) -> CertificateDer<'static> {
        let signers = bench.signers.current();
        let active = signers.active().unwrap();
        let spki = active.public_key().spki_der();
        let mut params = params(name, life);
        params.subject_alt_names = vec![SanType::URI("spiffe://example.org".try_into().unwrap())];
        params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(key_id.to_vec());
        let public = Public(spki[spki.len() - 65..].to_vec());
        params.signed_by(&public, &self.issuer).unwrap().der().clone()
    }

    async fn renew(&self, bench: &Bench, name: &str, life: Duration) -> CertificateDer<'static> {
        let certificate = self.certify(bench, name, life);
        self.activate(bench, certificate).await
    }

    async fn activate(&self, bench: &Bench, certificate: CertificateDer<'static>) -> CertificateDer<'static> {
        let store = bench.store.as_ref();
        let chain = [certificate.clone()];
        lifecycle::activate(&chain, &self.root, &bench.signers, store, "test", bench.now())
            .await
            .unwrap();
        certificate
    }
}

async fn bench() -> Bench {
    let bench = Bench::new().await;
    bench
        .apply(
            "a",
            serde_json::json!({ "spiffeId": A, "callers": ["token"], "maxLife": "24h" }),
        )
        .await;
    bench
}

fn verify(bench: &Bench, chain: &[CertificateDer<'_>]) {
    let verifier = PeerVerifier::new(&bench.signers.bundle());
    verifier.verify(chain, Usage::Client, bench.now()).unwrap();
}

#[tokio::test]
async fn another_certificate_for_the_key_of_the_active_authority_is_in_service_immediately() {
    let bench = bench().await;
    let crls = Crls::new(
        Arc::clone(&bench.store),
        Arc::clone(&bench.signers),
        bench.judge().clock,
    );
    crls.update().await.unwrap();
    let key_id = bench.signers.current().active().unwrap().key_id().to_vec();
    let (first, second) = (
        AuthorityLocation::new(&key_id, 0),
        AuthorityLocation::new(&key_id, 1),
    );
    let first_crl = crls.crl(&first).unwrap();
    let first_certificate = crls.authority(&first).unwrap();

    let company = Company::new("Company root");
    let certificate = company.renew(&bench, "Company sub-CA", DAY / 2).await;
    let set = bench.signers.current();
    let active = set.active().unwrap();
    assert_eq!((active.key_id(), active.generation()), (key_id.as_slice(), 1));
    assert_eq!(
        active.not_after(),
        NOW + DAY / 2,
        "the end of the new certificate"
    );
    assert_eq!(bench.signers.bundle().roots().len(), 2);
    assert_eq!(crls.authority(&second).unwrap(), &*certificate);
    assert_eq!(crls.authority(&first).unwrap(), first_certificate);

    let leaf = bench.enrol("t", A, "a").await;
    assert_eq!(leaf.chain[1], certificate);
    verify(&bench, &leaf.chain);
    crls.update().await.unwrap();
    assert_eq!(
        crls.crl(&first).unwrap(),
        first_crl,
        "leaves under it may be valid"
    );
    let crl = crls.crl(&second).unwrap();
    let name = b"Company sub-CA";
    assert!(
        crl.windows(name.len()).any(|window| window == name),
        "its issuer is the new name"
    );
    assert_eq!(bench.store.read().crl_number(&key_id), 2, "the numbers go on");
}

#[tokio::test]
async fn a_crl_is_remade_for_an_activation_that_its_task_sees_first() {
    let bench = bench().await;
    let crls = Arc::new(Crls::new(
        Arc::clone(&bench.store),
        Arc::clone(&bench.signers),
        bench.judge().clock,
    ));
    let (_disputes, no_dispute) = watch::channel(None);
    let keeping = Arc::clone(&crls);
    let task = tokio::spawn(async move { keeping.keep(no_dispute).await });
    let company = Company::new("Company root");
    let certificate = company.certify(&bench, "Company sub-CA", 300 * DAY);
    let key_id = bench.signers.current().active().unwrap().key_id().to_vec();
    // Only the store knows of it.
    bench
        .submit(Command::PutAuthority {
            row: AuthorityRow {
                key_id: key_id.clone(),
                chain: vec![certificate.to_vec()],
                root: company.root.to_vec(),
                ..AuthorityRow::default()
            },
            by: "test".to_owned(),
        })
        .await;
    let name = b"Company sub-CA";
    let renewed = async {
        let location = AuthorityLocation::new(&key_id, 1);
        while !crls
            .crl(&location)
            .is_some_and(|crl| crl.windows(name.len()).any(|window| window == name))
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), renewed)
        .await
        .unwrap();
    task.abort();
}

/// Which of these names and serial numbers the CRL there holds.
fn listed<'a>(crls: &Crls, location: &AuthorityLocation, parts: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let crl = crls.crl(location).unwrap();
    let is_in = |part: &&&[u8]| crl.windows(part.len()).any(|window| window == **part);
    parts.iter().filter(is_in).copied().collect()
}

#[tokio::test]
async fn a_revocation_is_on_the_list_under_the_name_of_its_issuer_and_on_no_other() {
    let bench = bench().await;
    let crls = Crls::new(
        Arc::clone(&bench.store),
        Arc::clone(&bench.signers),
        bench.judge().clock,
    );
    let company = Company::new("Company root");
    let (one, other): (&[u8], &[u8]) = (b"Sub-CA 2026", b"Sub-CA 2027");
    company.renew(&bench, "Sub-CA 2026", 300 * DAY).await;
    let old = bench.enrol("t1", A, "a").await;
    company.renew(&bench, "Sub-CA 2027", 300 * DAY).await;
    let new = bench.enrol("t2", A, "a").await;
    // The same subject has the same location, also where another was in between.
    let location = |bench: &Bench| bench.signers.current().active().unwrap().location().clone();
    let second = location(&bench);
    company.renew(&bench, "Sub-CA 2027", 200 * DAY).await;
    assert_eq!(location(&bench), second);
    company.renew(&bench, "Sub-CA 2026", 200 * DAY).await;
    let first = location(&bench);
    assert_ne!(first, second);

    crls.update().await.unwrap();
    bench.revoke(&old).await;
    bench.revoke(&new).await;
    crls.update().await.unwrap();
    let (old, new) = (serial(&old), serial(&new));
    let all = [one, other, old.as_bytes(), new.as_bytes()];
    assert_eq!(listed(&crls, &first, &all), [one, old.as_bytes()]);
    assert_eq!(listed(&crls, &second, &all), [other, new.as_bytes()]);

    // A restarted server publishes the same.
    let restarted = Arc::new(Signers::new(
        bench.signers.trust_domain().clone(),
        bench.signers.keys().clone(),
        None,
    ));
    restarted.follow(bench.store.as_ref(), bench.now()).unwrap();
    let crls = Crls::new(Arc::clone(&bench.store), restarted, bench.judge().clock);
    crls.update().await.unwrap();
    assert_eq!(listed(&crls, &first, &all), [one, old.as_bytes()]);
    assert_eq!(listed(&crls, &second, &all), [other, new.as_bytes()]);

    // The list goes with the last leaf that it is for.
    bench.later(2 * DAY);
    bench.submit(Command::Prune).await;
    bench.signers.follow(bench.store.as_ref(), bench.now()).unwrap();
    let crls = Crls::new(
        Arc::clone(&bench.store),
        Arc::clone(&bench.signers),
        bench.judge().clock,
    );
    crls.update().await.unwrap();
    assert!(crls.crl(&first).is_some() && crls.crl(&second).is_none());
    assert!(crls.authority(&second).is_none());
}

#[tokio::test]
async fn a_repeated_answer_comes_with_the_chain_under_which_its_leaf_was_signed() {
    let bench = bench().await;
    let token = bench.token("t", A, "a", |_| ()).await;
    let ask = Ask {
        bearer: Some(&token),
        ..Ask::default()
    };
    let request = csr(&key(), &[]);
    let first = bench.issue(&nobody(), &request, ask).await.unwrap();
    let company = Company::new("Company root");
    company.renew(&bench, "Company sub-CA", 300 * DAY).await;
    let again = bench.issue(&nobody(), &request, ask).await.unwrap();
    assert_eq!(again.chain, first.chain);
    verify(&bench, &again.chain);

    // The old root leaves the bundle with the last leaf under it.
    bench.later(2 * DAY);
    bench.submit(Command::Prune).await;
    bench.signers.follow(bench.store.as_ref(), bench.now()).unwrap();
    assert_eq!(bench.signers.bundle().roots(), [company.root]);
}

#[tokio::test]
async fn a_key_that_got_another_key_id_outlives_the_authority_of_the_first() {
    let bench = bench().await;
    let company = Company::new("Company root");
    let certificate = company.certify_as(&bench, "Company sub-CA", &[7; 20], 300 * DAY);
    company.activate(&bench, certificate).await;
    bench.later(2 * DAY);
    bench.submit(Command::Prune).await;
    bench.signers.follow(bench.store.as_ref(), bench.now()).unwrap();
    assert_eq!(bench.store.read().authorities().count(), 1);
    let digest = bench.signers.current().active().unwrap().public_key().digest();
    let trust_domain = bench.signers.trust_domain();
    assert!(bench.signers.keys().load(trust_domain, digest).unwrap().is_some());
}

#[tokio::test]
async fn an_unchanged_authority_keeps_its_loaded_key_and_a_reloaded_one_signs_alike() {
    let bench = bench().await;
    let before = Arc::clone(bench.signers.current().active().unwrap());
    bench
        .apply(
            "b",
            serde_json::json!({ "spiffeId": "spiffe://example.org/b", "callers": ["token"] }),
        )
        .await;
    bench.signers.follow(bench.store.as_ref(), bench.now()).unwrap();
    assert!(Arc::ptr_eq(&before, bench.signers.current().active().unwrap()));
    let company = Company::new("Company root");
    company.renew(&bench, "Company sub-CA", 300 * DAY).await;
    let restarted = Signers::new(
        bench.signers.trust_domain().clone(),
        bench.signers.keys().clone(),
        None,
    );
    restarted.follow(bench.store.as_ref(), bench.now()).unwrap();
    let (live, loaded) = (bench.signers.current(), restarted.current());
    let (live, loaded) = (live.active().unwrap(), loaded.active().unwrap());
    assert_eq!(live.chain(), loaded.chain());
    assert_eq!(
        (live.validity(), live.generation()),
        (loaded.validity(), loaded.generation())
    );
    assert_eq!(restarted.bundle().roots(), bench.signers.bundle().roots());
}

#[tokio::test]
async fn an_authority_that_excludes_a_new_name_of_the_server_is_loaded_and_reports_it() {
    let bench = bench().await;
    let company = Company::constrained("Company root", "corp.example");
    company.renew(&bench, "Company sub-CA", 300 * DAY).await;
    let trouble = |names: &'static str| async {
        let row = InstanceRow {
            trust_domain: "example.org".to_owned(),
            server_names: vec![names.to_owned()],
        };
        bench.submit(Command::Instance(row)).await;
        let restarted = Signers::new(
            bench.signers.trust_domain().clone(),
            bench.signers.keys().clone(),
            None,
        );
        restarted.follow(bench.store.as_ref(), bench.now()).unwrap();
        let set = restarted.current();
        set.active().unwrap().trouble().map(str::to_owned)
    };
    assert_eq!(trouble("ca.corp.example").await, None);
    let why = trouble("ca.other.example").await.unwrap();
    for part in [
        "the root (CN=Company root)",
        "nameConstraints",
        "ca.other.example",
    ] {
        assert!(why.contains(part), "{why}");
    }
}

#[tokio::test]
async fn an_authority_whose_intermediate_expired_is_loaded_and_reports_which() {
    let bench = bench().await;
    let company = Company::new("Company root");
    company
        .renew(&bench, "Company sub-CA", Duration::from_secs(60))
        .await;
    let digest: KeyDigest = bench.signers.current().active().unwrap().public_key().digest();
    bench.later(DAY);
    let restarted = Signers::new(
        bench.signers.trust_domain().clone(),
        bench.signers.keys().clone(),
        None,
    );
    restarted.follow(bench.store.as_ref(), bench.now()).unwrap();
    let set = restarted.current();
    let active = set.active().unwrap();
    assert_eq!(active.public_key().digest(), digest);
    assert!(active.not_after() < bench.now());
    assert_eq!(active.trouble(), None, "expiry is reported on its own");
    let token = bench.token("t", A, "a", |_| ()).await;
    let ask = Ask {
        bearer: Some(&token),
        ..Ask::default()
    };
    assert_eq!(
        bench.refused(&nobody(), &csr(&key(), &[]), ask).await,
        Reason::AuthorityEnded
    );
    assert!(Leaf::parse(&active.chain()[0]).is_ok());
}

/// A store that records an activation, and whose answer to it is lost.
struct LosingAnswers(Arc<dyn Store>);

impl Store for LosingAnswers {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read()
    }
    fn submit(&self, command: Command) -> Answer<Outcome> {
        let is_activation = matches!(command, Command::PutAuthority { .. });
        let answer = self.0.submit(command);
        if is_activation {
            // In place of the answer the refusal of a number that is not greater than the last.
            let authority = b"none".to_vec();
            return self.0.submit(Command::PutCrl { authority, number: 0 });
        }
        answer
    }
    fn entry(&self, position: u64) -> Result<Option<Entry>, Refusal> {
        self.0.entry(position)
    }
    fn find(&self, field: u8, fingerprint: u64) -> Result<Vec<u64>, Refusal> {
        self.0.find(field, fingerprint)
    }
    fn judge(&self, facts: &IssueFacts) -> Result<Verdict, Refusal> {
        self.0.judge(facts)
    }
    fn head(&self) -> journal::Head {
        self.0.head()
    }
    fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed()
    }
    fn health(&self) -> watch::Receiver<Option<String>> {
        self.0.health()
    }
    fn failure(&self) -> watch::Receiver<Option<String>> {
        self.0.failure()
    }
    fn close(&self) -> Result<(), StoreError> {
        self.0.close()
    }
}

#[tokio::test]
async fn the_key_of_an_activation_whose_answer_is_lost_stays_and_is_taken_again() {
    let bench = bench().await;
    let profile = Profile::default_of(ProfileName::Intermediate);
    let losing = LosingAnswers(Arc::clone(&bench.store));
    let before = bench.signers.current().active().unwrap().public_key().digest();
    let lost = lifecycle::renew_under(&bench.root, &profile, &bench.signers, &losing, bench.now()).await;
    assert_eq!(lost.unwrap_err().reason(), Reason::Conflict);

    let key_files = || {
        std::fs::read_dir(bench.folder.path().join("keys"))
            .unwrap()
            .count()
    };
    let files = key_files();
    let lost = lifecycle::renew_under(&bench.root, &profile, &bench.signers, &losing, bench.now()).await;
    assert!(lost.is_err());
    assert_eq!(key_files(), files, "the next attempt takes the same key");

    // It was recorded all the same, and is in service as soon as the store is looked at.
    bench.signers.follow(bench.store.as_ref(), bench.now()).unwrap();
    let active = || bench.signers.current().active().unwrap().public_key().digest();
    let recorded = active();
    assert_ne!(recorded, before);
    bench.renew_authority().await;
    assert_ne!(
        active(),
        recorded,
        "now that it is known to be recorded, another key is made"
    );
}
