//! Authorities and drafts that the tests of this module share.

mod fitting;
mod keys;
mod leaves;
mod paths;

use std::net::IpAddr;
use std::time::Duration;

use identity::{Leaf, Reason, Serial};
use time::macros::datetime;

use super::*;
use crate::openssl::OpenSsl;
use crate::{
    AuthorityCsr, Draft, DraftError, LeafKey, Profile, ProfileName, RevocationReason, RootAuthority,
};

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> OffsetDateTime {
    // openssl judges by the real clock.
    OffsetDateTime::now_utc()
}

fn trust_domain() -> TrustDomain {
    TrustDomain::new("example.org").unwrap()
}

fn intermediate() -> Profile {
    Profile::default_of(ProfileName::Intermediate)
}

fn prepared() -> PreparedAuthority {
    PreparedAuthority::generate(trust_domain(), AuthorityKeyType::P256).unwrap()
}

fn root(now: OffsetDateTime) -> RootAuthority {
    RootAuthority::create(trust_domain(), 3650 * DAY, AuthorityKeyType::P256, now).unwrap()
}

fn authority_with(root: &RootAuthority, life: Duration, now: OffsetDateTime) -> SigningAuthority {
    let prepared = prepared();
    let csr = AuthorityCsr::parse(&prepared.csr().unwrap()).unwrap();
    let issued = root.sign_intermediate(&csr, &intermediate(), life, now).unwrap();
    prepared.activate(&[issued.der], root.certificate(), now).unwrap()
}

fn draft(name: ProfileName, path: &str, now: OffsetDateTime) -> Draft {
    let profile = Profile::default_of(name);
    Draft {
        profile,
        spiffe_id: trust_domain().id_with_path(path).unwrap(),
        dns_names: Vec::new(),
        ip_addresses: Vec::new(),
        subject_serial_number: None,
        key: LeafKey::generate().unwrap().public_key().clone(),
        life: profile.default_life(),
        now,
    }
}

fn workload(path: &str, now: OffsetDateTime) -> Draft {
    draft(ProfileName::Workload, path, now)
}

fn write_chain(openssl: &OpenSsl, authority: &SigningAuthority, leaf: &[u8]) {
    let pem = identity::bundle::certificate_pem;
    openssl.write("root.pem", pem(authority.root()));
    openssl.write(
        "chain.pem",
        authority.chain().iter().map(|c| pem(c)).collect::<String>(),
    );
    openssl.write("leaf.pem", pem(leaf));
}
