//! Certificate revocation lists (RFC 5280 section 5): full, of an authority's leaves, with number, key id and nextUpdate.

use std::fmt;
use std::str::FromStr;

use identity::Serial;
use time::OffsetDateTime;

use crate::certificate::{Issuer, SignError, extension};
use crate::der::{self, sequence, tag, tlv};
use crate::oid;

/// One revoked certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// Its serial number.
    pub serial: Serial,
    /// When it was revoked.
    pub at: OffsetDateTime,
    /// Why.
    pub reason: RevocationReason,
}

/// Why a leaf is revoked (RFC 5280 section 5.3.1). Holds can be lifted and authorities are not on this list, so neither occurs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RevocationReason {
    /// Not said.
    #[default]
    Unspecified,
    /// The private key may be in other hands; the key is never certified again.
    KeyCompromise,
    /// The holder's names changed.
    AffiliationChanged,
    /// Another certificate took its place.
    Superseded,
    /// It is no longer needed.
    CessationOfOperation,
    /// What it granted was taken back.
    PrivilegeWithdrawn,
}

impl RevocationReason {
    /// Every reason.
    pub const ALL: [RevocationReason; 6] = [
        RevocationReason::Unspecified,
        RevocationReason::KeyCompromise,
        RevocationReason::AffiliationChanged,
        RevocationReason::Superseded,
        RevocationReason::CessationOfOperation,
        RevocationReason::PrivilegeWithdrawn,
    ];

    /// Its name in RFC 5280.
    pub fn word(self) -> &'static str {
        match self {
            RevocationReason::Unspecified => "unspecified",
            RevocationReason::KeyCompromise => "keyCompromise",
            RevocationReason::AffiliationChanged => "affiliationChanged",
            RevocationReason::Superseded => "superseded",
            RevocationReason::CessationOfOperation => "cessationOfOperation",
            RevocationReason::PrivilegeWithdrawn => "privilegeWithdrawn",
        }
    }

    /// Its number in RFC 5280.
    pub fn code(self) -> u8 {
        match self {
            RevocationReason::Unspecified => 0,
            RevocationReason::KeyCompromise => 1,
            RevocationReason::AffiliationChanged => 3,
            RevocationReason::Superseded => 4,
            RevocationReason::CessationOfOperation => 5,
            RevocationReason::PrivilegeWithdrawn => 9,
        }
    }

    /// The reason with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word that is no reason to revoke a leaf.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is no reason for a revocation, expected unspecified, keyCompromise, affiliationChanged, superseded, \
     cessationOfOperation or privilegeWithdrawn"
)]
pub struct RevocationReasonError {
    found: String,
}

impl FromStr for RevocationReason {
    type Err = RevocationReasonError;
    fn from_str(word: &str) -> Result<Self, RevocationReasonError> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.word() == word)
            .ok_or_else(|| RevocationReasonError {
                found: word.chars().take(100).collect(),
            })
    }
}

pub(crate) fn sign(
    issuer: &Issuer,
    number: u64,
    this_update: OffsetDateTime,
    next_update: OffsetDateTime,
    revoked: &[Revoked],
) -> Result<Vec<u8>, SignError> {
    if next_update <= this_update {
        return Err(SignError::Update {
            this_update,
            next_update,
        });
    }
    let number = extension(oid::CRL_NUMBER, false, &der::integer(&number.to_be_bytes()));
    let extensions = sequence(&[issuer.authority_key_id(), &number]);
    let entries: Vec<u8> = revoked.iter().flat_map(entry).collect();
    // Section 5.1.2.6: an empty list is left out.
    let entries = if entries.is_empty() {
        Vec::new()
    } else {
        sequence(&[&entries])
    };
    let signed = sequence(&[
        &der::integer(&[1]),
        issuer.key.signature_algorithm(),
        &issuer.name,
        &der::time(this_update),
        &der::time(next_update),
        &entries,
        &tlv(tag::context_constructed(0), &[&extensions]),
    ]);
    issuer.sign(&signed)
}

fn entry(revoked: &Revoked) -> Vec<u8> {
    // Section 5.3.1: the absence of a reason is preferred to `unspecified`.
    let reason = match revoked.reason {
        RevocationReason::Unspecified => Vec::new(),
        reason => sequence(&[&extension(
            oid::CRL_REASON,
            false,
            &tlv(tag::ENUMERATED, &[&[reason.code()]]),
        )]),
    };
    sequence(&[
        &der::integer(revoked.serial.as_bytes()),
        &der::time(revoked.at),
        &reason,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_what_they_print() {
        for reason in RevocationReason::ALL {
            assert_eq!(reason.word().parse(), Ok(reason));
            assert_eq!(RevocationReason::from_code(reason.code()), Some(reason));
        }
        for bad in ["", "keycompromise", "cACompromise", "certificateHold"] {
            assert!(bad.parse::<RevocationReason>().is_err(), "{bad}");
        }
        assert_eq!(RevocationReason::from_code(6), None);
    }
}
