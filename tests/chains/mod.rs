//! The peer verifier next to OpenSSL, Go's crypto/x509 and rustls-webpki, on chains that are made at random:
//! it accepts a chain only if all three accept it, and refuses one only if one of them refuses it, except for
//! the differences of `differences`, each of which has a reason. The chains follow from a seed;
//! `SIGNET_CHAINS_SEED` sets another one, and `SIGNET_CHAINS` their number.

mod certificate;
mod differences;
mod facts;
mod faults;
mod generator;
mod keys;
mod presentation;
mod random;
mod validators;

use std::collections::BTreeMap;

use identity::{PeerVerifier, TrustBundle, TrustDomain, Usage, VerifyError};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use self::certificate::NOW;
use self::differences::{ACCEPTED, Difference, REFUSED};
use self::generator::{Case, TRUST_DOMAIN};
use self::validators::Objection;

/// How many chains are compared.
const CHAINS: usize = 2_000;

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is not a number: {text}")),
        Err(_) => default,
    }
}

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW).expect("a time in range")
}

/// Has the peer verifier verify a case.
fn signet(case: &Case, usage: Usage) -> Result<(), String> {
    let trust_domain = TrustDomain::new(TRUST_DOMAIN).expect("a trust domain");
    let roots = case
        .roots
        .iter()
        .map(|der| CertificateDer::from(der.clone()))
        .collect();
    let bundle = TrustBundle::new(trust_domain, roots).map_err(|e| e.to_string())?;
    let chain: Vec<CertificateDer<'_>> = case
        .chain
        .iter()
        .map(|der| CertificateDer::from(&der[..]))
        .collect();
    let result: Result<_, VerifyError> = PeerVerifier::new(&bundle).verify(&chain, usage, now());
    result.map(|_| ()).map_err(|e| e.to_string())
}

/// How often each difference occurred, and the results that no difference explains.
#[derive(Default)]
struct Comparison {
    accepted: usize,
    refused: usize,
    counts: BTreeMap<&'static str, usize>,
    unexplained: Vec<String>,
}

impl Comparison {
    fn add(&mut self, case: &Case, usage: Usage, ours: &Result<(), String>, theirs: [&Objection; 3]) {
        let [openssl, go, webpki] = theirs;
        let causes: Vec<Option<&Difference>> = match ours {
            Ok(()) => {
                self.accepted += 1;
                let explain = |why| {
                    ACCEPTED
                        .iter()
                        .find(|difference| (difference.explains)(case, why))
                };
                let messages = openssl.split(", ").chain([go.as_str(), webpki.as_str()]);
                messages.filter(|why| !why.is_empty()).map(explain).collect()
            }
            Err(why) => {
                self.refused += 1;
                let alone = theirs.iter().all(|objection| objection.is_empty());
                let explain = || REFUSED.iter().find(|difference| (difference.explains)(case, why));
                alone.then(explain).into_iter().collect()
            }
        };
        for cause in causes {
            match cause {
                Some(difference) => *self.counts.entry(difference.name).or_default() += 1,
                None => self.unexplained.push(format!(
                    "case {} as {usage:?} ({}): Signet {ours:?}, OpenSSL {openssl:?}, Go {go:?}, webpki {webpki:?}",
                    case.index,
                    case.faults.join(", ")
                )),
            }
        }
    }
}

#[test]
fn the_peer_verifier_agrees_with_the_strictest_of_openssl_go_and_webpki() {
    let seed = number("SIGNET_CHAINS_SEED", 1);
    let count = usize::try_from(number("SIGNET_CHAINS", 2_000)).expect("a number of chains");
    let folder = tempfile::tempdir().expect("a folder");
    let foreign = keys::Key::foreign(folder.path());
    let cases: Vec<Case> = (0..count)
        .map(|index| generator::case(seed, index, &foreign))
        .collect();
    let go = validators::go(&cases, folder.path());
    let openssl = validators::openssl(&cases, folder.path());

    let mut comparison = Comparison::default();
    for ((case, go), openssl) in cases.iter().zip(&go).zip(&openssl) {
        let webpki = validators::webpki(case);
        let all = [openssl, &go.results, &webpki];
        let (client, server) = (all.map(|of| &of.client), all.map(|of| &of.server));
        for (usage, theirs) in [(Usage::Client, client), (Usage::Server, server)] {
            comparison.add(case, usage, &signet(case, usage), theirs);
        }
    }
    eprintln!(
        "{} accepted, {} refused, differences {:#?}",
        comparison.accepted, comparison.refused, comparison.counts
    );
    let unexplained = &comparison.unexplained;
    assert!(
        unexplained.is_empty(),
        "seed {seed}: {} differences\n{}",
        unexplained.len(),
        unexplained.join("\n")
    );
    if count >= CHAINS {
        for Difference { name, reason, .. } in ACCEPTED.iter().chain(REFUSED) {
            let occurs = comparison.counts.contains_key(name);
            assert!(
                occurs,
                "seed {seed}: the difference {name:?} ({reason}) does not occur"
            );
        }
    }
}
