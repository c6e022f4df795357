//! The yardstick: one P-256 verification and one P-256 signature by ring, and beside it a whole certificate inside `issuance`.
//! Both in CPU time of the thread, so that whatever else the machine does weighs little.

use std::hint::black_box;
use std::time::Duration;

use identity::{SpiffeId, TrustDomain};
use issuance::{
    AuthorityCsr, AuthorityKeyType, Draft, PreparedAuthority, Profile, ProfileName, RootAuthority,
    SigningAuthority, VerifiedCsr,
};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use rustix::time::{ClockId, clock_gettime};
use time::OffsetDateTime;

use super::Error;
use super::requests::csr;

/// Repetitions between two looks at the clock: about a tenth of a second.
const TIMES: u32 = 2000;
/// What is signed: about as much as a certificate has.
const MESSAGE: [u8; 600] = [7; 600];

/// CPU seconds of one pair, now.
pub(crate) fn seconds() -> Result<f64, Error> {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random)?;
    let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random)?;
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_key().as_ref().to_vec());
    let signature = key.sign(&random, &MESSAGE)?;
    each(|| {
        public.verify(black_box(&MESSAGE), signature.as_ref())?;
        black_box(key.sign(&random, black_box(&MESSAGE))?);
        Ok(())
    })
}

/// CPU seconds of one pair, and of one certificate: verify the CSR, draft, check, sign.
pub(crate) fn and_issuance() -> Result<(f64, f64), Error> {
    let authority = authority()?;
    let id = SpiffeId::new("spiffe://example.org/ns/default/sa/details")?;
    let request = csr(id.as_str())?;
    let profile = Profile::default_of(ProfileName::Workload);
    let issue = || {
        let csr = VerifiedCsr::parse(black_box(request.der()))?;
        let draft = Draft {
            profile,
            spiffe_id: csr.uri().ok_or("the CSR has no URI")?.clone(),
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            subject_serial_number: None,
            key: csr.public_key().clone(),
            life: profile.default_life(),
            now: OffsetDateTime::now_utc(),
        };
        black_box(authority.sign(draft.check()?)?);
        Ok(())
    };
    Ok((seconds()?, each(issue)?))
}

fn authority() -> Result<SigningAuthority, Error> {
    let now = OffsetDateTime::now_utc();
    let trust_domain = TrustDomain::new("example.org")?;
    let year = Duration::from_secs(365 * 86_400);
    let root = RootAuthority::create(trust_domain.clone(), 10 * year, AuthorityKeyType::P256, now)?;
    let prepared = PreparedAuthority::generate(trust_domain, AuthorityKeyType::P256)?;
    let csr = AuthorityCsr::parse(&prepared.csr()?)?;
    let issued = root.sign_intermediate(&csr, &Profile::default_of(ProfileName::Intermediate), year, now)?;
    Ok(prepared.activate(&[issued.der], root.certificate(), now)?)
}

fn each(mut what: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    let before = thread_cpu();
    for _ in 0..TIMES {
        what()?;
    }
    Ok((thread_cpu() - before).as_secs_f64() / f64::from(TIMES))
}

fn thread_cpu() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(spent.tv_sec).expect("CPU time is not negative"),
        u32::try_from(spent.tv_nsec).expect("less than a second"),
    )
}
