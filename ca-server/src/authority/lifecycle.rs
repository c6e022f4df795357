//! The life of signing authorities: made and signed here where the root key is at hand (`signet up`), else prepared here, signed
//! elsewhere and activated. When to act is a pure function of validities and time; acting is the loop around it.

use std::sync::Arc;
use std::time::Duration;

use identity::{KeyDigest, Leaf, Reason, Validity, hex, moment};
use issuance::{
    AuthorityCsr, AuthorityError, AuthorityKeyType, PreparedAuthority, Profile, ProfileName, RootAuthority,
    SigningAuthority,
};
use proto::Refusal;
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use super::answer;
use super::signers::{Signer, Signers, by_kind, server_names};
use crate::store::entry::{field, fingerprint};
use crate::store::{AuthorityRow, Command, Store};

/// How a problem with authorities is put to callers.
fn refuse(reason: Reason, why: impl std::fmt::Display) -> Refusal {
    Refusal::new(reason, why.to_string())
}

/// The same, with the certificate and field that are wrong.
fn refuse_authority(error: &AuthorityError) -> Refusal {
    let refusal = refuse(error.reason(), error);
    match error.field() {
        Some(field) => refusal.with("field", field),
        None => refusal,
    }
}

/// The root of this instance: the kept one, or a new one of ten years.
pub fn own_root(signers: &Signers, now: OffsetDateTime) -> Result<RootAuthority, Refusal> {
    let keys = signers.keys();
    if let Some(root) = keys.load_root().map_err(|e| refuse(Reason::Internal, e))? {
        return Ok(root);
    }
    let life = Profile::default_of(ProfileName::Root).default_life();
    let root = RootAuthority::create(signers.trust_domain().clone(), life, AuthorityKeyType::P256, now)
        .map_err(|e| refuse(e.reason(), e))?;
    keys.save_root(&root).map_err(|e| refuse(Reason::Internal, e))?;
    Ok(root)
}

/// Makes an authority under `root` and puts it to work in place of the present one.
pub async fn renew_under(
    root: &RootAuthority,
    profile: &Profile,
    signers: &Signers,
    store: &dyn Store,
    now: OffsetDateTime,
) -> Result<(), Refusal> {
    let prepared = key_to_certify(signers)?;
    let csr = prepared.csr().map_err(|e| refuse(e.reason(), e))?;
    let csr = AuthorityCsr::parse(&csr).map_err(|e| refuse(e.reason(), e))?;
    let signed = root
        .sign_intermediate(&csr, profile, profile.default_life(), now)
        .map_err(|e| refuse(e.reason(), e))?;
    // Whatever the answer is, the key stays: an activation whose answer was lost may be recorded later. Until
    // it is known to be in service, the next attempt takes this key again.
    signers.set_unrecorded(Some(prepared.public_key().digest()));
    let authority = prepared
        .activate(&[signed.der], root.certificate(), now)
        .map_err(|e| refuse_authority(&e))?;
    put_to_work(&authority, signers, store, "server", now).await?;
    signers.set_unrecorded(None);
    Ok(())
}

/// The key of an earlier attempt that is not known to be recorded, or a new one, which is on disk before it
/// is used.
fn key_to_certify(signers: &Signers) -> Result<PreparedAuthority, Refusal> {
    let keys = signers.keys();
    let in_service = |key| {
        signers
            .current()
            .all()
            .any(|signer| signer.public_key().digest() == key)
    };
    if let Some(digest) = signers.unrecorded().filter(|key| !in_service(*key)) {
        let known = keys.load(signers.trust_domain(), digest);
        if let Some(prepared) = known.map_err(|e| refuse(Reason::Internal, e))? {
            return Ok(prepared);
        }
    }
    let prepared = PreparedAuthority::generate(signers.trust_domain().clone(), AuthorityKeyType::P256)
        .map_err(|e| refuse(e.reason(), e))?;
    keys.save(&prepared).map_err(|e| refuse(Reason::Internal, e))?;
    Ok(prepared)
}

/// Activates a chain that was signed elsewhere for a key prepared here. Says which of key, chain, profile and trust domain is wrong.
pub async fn activate(
    chain: &[CertificateDer<'_>],
    root: &CertificateDer<'_>,
    signers: &Signers,
    store: &dyn Store,
    by: &str,
    now: OffsetDateTime,
) -> Result<Arc<Signer>, Refusal> {
    let invalid = |why: String| Refusal::new(Reason::ResourceInvalid, why);
    let own = chain
        .iter()
        .find(|certificate| *certificate != root)
        .ok_or_else(|| invalid("chain: there is no certificate in it beside the root".to_owned()))?;
    let own = Leaf::parse(own).map_err(|e| invalid(format!("chain: {e}")))?;
    let prepared = signers
        .keys()
        .load(signers.trust_domain(), own.key_digest())
        .map_err(|e| refuse(Reason::Internal, e))?
        .ok_or_else(|| {
            invalid(format!(
                "key: the chain is for the key {}, which was not prepared here; sign the CSR that `signet authority prepare` wrote",
                own.key_digest()
            ))
            .with("found", own.key_digest())
        })?;
    has_no_leaf(own.key_digest(), store)?;
    let authority = prepared
        .activate(chain, root, now)
        .map_err(|e| refuse_authority(&e))?;
    let (dns_names, addresses) = by_kind(&server_names(store.read().instance()));
    authority
        .prove(&dns_names, &addresses, now)
        .map_err(|e| refuse_authority(&e))?;
    put_to_work(&authority, signers, store, by, now).await?;
    let set = signers.current();
    let active = set.by_key_id(authority.key_id()).ok_or_else(|| {
        refuse(
            Reason::Internal,
            "the authority was recorded and is not in service",
        )
    })?;
    report(active);
    Ok(Arc::clone(active))
}

fn report(active: &Signer) {
    let key_id = hex::encode(active.key_id());
    let end = active.end();
    if active.ends_early() {
        tracing::warn!("signing authority {key_id} is in service only until {end}");
    } else {
        tracing::info!("signing authority {key_id} is in service until {end}");
    }
}

/// A key with a certificate, expired ones included, is not an authority's. The writer checks once more for
/// valid ones.
fn has_no_leaf(key: KeyDigest, store: &dyn Store) -> Result<(), Refusal> {
    for position in store.find(field::KEY, fingerprint(&[key.as_bytes()]))? {
        let issued = store.entry(position)?.and_then(|entry| entry.issued);
        if let Some(leaf) = issued.filter(|issued| issued.key_digest == key.as_bytes()) {
            let message = format!(
                "key: {key} has the certificate {} of {}, expected a key that nothing else uses; prepare another",
                hex::encode(&leaf.serial),
                leaf.spiffe_id
            );
            return Err(Refusal::new(Reason::KeyBound, message).with("found", key));
        }
    }
    Ok(())
}

async fn put_to_work(
    authority: &SigningAuthority,
    signers: &Signers,
    store: &dyn Store,
    by: &str,
    now: OffsetDateTime,
) -> Result<(), Refusal> {
    let row = AuthorityRow {
        key_id: authority.key_id().to_vec(),
        chain: authority.chain().iter().map(|cert| cert.to_vec()).collect(),
        root: authority.root().to_vec(),
        ..AuthorityRow::default()
    };
    answer(store.submit(Command::PutAuthority {
        row,
        by: by.to_owned(),
    }))
    .await?;
    signers
        .follow(store, now)
        .map_err(|e| refuse(Reason::Internal, e))
}

/// How an authority's life stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In the first half of its life.
    Fresh,
    /// Past the middle: renew it, or warn.
    Due,
    /// Less than one default leaf life is left: what is issued now would end too soon.
    Ending,
    /// It signs nothing any more.
    Ended,
}

/// The standing at `now` of an authority whose leaves live for `leaf_life` by default. One that never had that much left is not
/// ending before it is due.
pub fn standing(validity: Validity, leaf_life: Duration, now: OffsetDateTime) -> Standing {
    if now > validity.not_after() {
        Standing::Ended
    } else if now < validity.middle() {
        Standing::Fresh
    } else if validity.not_after() - now < leaf_life {
        Standing::Ending
    } else {
        Standing::Due
    }
}

/// The advice about an authority that begins later than now, as one does that was made while the clock was
/// ahead. With the key of its root the server makes another by itself; a root it does not replace, as every
/// client trusts it.
pub fn begins_later(row: &AuthorityRow, has_root_key: bool, now: OffsetDateTime) -> Option<String> {
    let later = |certificate: &Vec<u8>| {
        let begin = Leaf::parse(certificate).ok()?.validity().not_before();
        (begin > now).then_some(begin)
    };
    if let Some(begin) = later(&row.root) {
        return Some(format!(
            "the root begins at {}, as it was made while the clock was ahead; wait until then, or start again with a new \
             data folder",
            moment(begin)
        ));
    }
    let begin = row.chain.iter().filter_map(later).max();
    begin.filter(|_| !has_root_key).map(|begin| {
        format!(
            "the signing authority begins at {}; wait until then, or activate a new one (`signet authority prepare`)",
            moment(begin)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn an_authority_is_due_at_half_of_its_life_and_ending_when_a_leaf_would_be_cut() {
        let begin = datetime!(2026-01-01 0:00 UTC);
        let validity = Validity::new(begin, begin + Duration::from_secs(100)).unwrap();
        let at = |seconds| {
            standing(
                validity,
                Duration::from_secs(20),
                begin + Duration::from_secs(seconds),
            )
        };
        assert_eq!(at(49), Standing::Fresh);
        assert_eq!(at(50), Standing::Due);
        assert_eq!(at(80), Standing::Due);
        assert_eq!(at(81), Standing::Ending);
        assert_eq!(at(100), Standing::Ending);
        assert_eq!(at(101), Standing::Ended);
    }
}
