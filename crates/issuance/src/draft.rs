//! A draft of an end-entity certificate, checked by SPIFFE's and RFC 5280's rules before anything is signed.

use std::net::IpAddr;
use std::time::Duration;

use identity::spiffe_id::Role;
use identity::{KeyDigest, Reason, SpiffeId, Validity};
use time::OffsetDateTime;

use crate::csr::{MAX_NAMES, PublicKey, is_host_name, is_printable_string};
use crate::profile::{LifeError, Profile, ProfileName};

/// Longest serialNumber attribute (`ub-serial-number`, RFC 5280 appendix A.1).
const MAX_SERIAL_NUMBER: usize = 64;

/// What is to be issued, as authorization decided it; not yet checked.
#[derive(Clone, Debug)]
pub struct Draft {
    /// A profile of end entities.
    pub profile: Profile,
    /// Whose certificate it will be.
    pub spiffe_id: SpiffeId,
    /// Granted host names, in lower case.
    pub dns_names: Vec<String>,
    /// Addresses, servers only.
    pub ip_addresses: Vec<IpAddr>,
    /// The serialNumber attribute of the subject, devices only.
    pub subject_serial_number: Option<String>,
    /// The public key; its holder has proved possession.
    pub key: PublicKey,
    /// From now to notAfter.
    pub life: Duration,
    /// The time of issuing.
    pub now: OffsetDateTime,
}

/// A draft that keeps every rule; an authority of its trust domain signs it, once.
#[derive(Debug)]
pub struct CheckedDraft {
    pub(crate) spiffe_id: SpiffeId,
    pub(crate) dns_names: Vec<String>,
    pub(crate) ip_addresses: Vec<IpAddr>,
    pub(crate) subject_serial_number: Option<String>,
    pub(crate) key: PublicKey,
    pub(crate) validity: Validity,
    pub(crate) now: OffsetDateTime,
}

/// The rule that a draft breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// The SPIFFE ID does not fit the profile.
    #[error("{id} is of the role {role}, which profile {profile} does not issue for")]
    Role {
        /// Whose certificate it would be.
        id: SpiffeId,
        /// What the path says.
        role: &'static str,
        /// The profile it was drafted by.
        profile: ProfileName,
    },
    /// Not a host name.
    #[error("{found:?} is not a host name, expected lower-case labels without wildcard")]
    DnsName {
        /// The name.
        found: String,
    },
    /// An address in another profile than server.
    #[error("address {found} in profile {profile}, expected addresses in profile server only")]
    IpAddress {
        /// The address.
        found: IpAddr,
        /// The profile it was drafted by.
        profile: ProfileName,
    },
    /// More names than peers read.
    #[error("{found} names, expected at most {MAX_NAMES}")]
    TooManyNames {
        /// How many there are.
        found: usize,
    },
    /// A serialNumber that cannot be written, or in a profile without subject.
    #[error(
        "subject serial number {found:?} in profile {profile}, expected 1 to {MAX_SERIAL_NUMBER} printable characters in profile device"
    )]
    SerialNumber {
        /// The serialNumber.
        found: String,
        /// The profile it was drafted by.
        profile: ProfileName,
    },
    /// A life out of the profile's range.
    #[error(transparent)]
    Life(#[from] LifeError),
}

impl DraftError {
    /// The stable word for it.
    pub fn reason(&self) -> Reason {
        match self {
            DraftError::Role { .. } => Reason::IdentityNotGranted,
            DraftError::DnsName { .. }
            | DraftError::IpAddress { .. }
            | DraftError::TooManyNames { .. }
            | DraftError::SerialNumber { .. } => Reason::NameNotGranted,
            DraftError::Life(error) => error.reason(),
        }
    }
}

impl Draft {
    /// Checks every rule that does not depend on the authority.
    pub fn check(self) -> Result<CheckedDraft, DraftError> {
        let profile = self.profile.name();
        let role = self.spiffe_id.role();
        // A trust domain has no profile of end entities, and no end entity has the profile of an authority.
        if role == Role::Authority || ProfileName::for_role(role) != Some(profile) {
            return Err(DraftError::Role {
                id: self.spiffe_id,
                role: role.word(),
                profile,
            });
        }
        let names = 1 + self.dns_names.len() + self.ip_addresses.len();
        if names > MAX_NAMES {
            return Err(DraftError::TooManyNames { found: names });
        }
        if let Some(found) = self.dns_names.iter().find(|name| !is_host_name(name)) {
            return Err(DraftError::DnsName { found: found.clone() });
        }
        if let (Some(found), true) = (self.ip_addresses.first(), profile != ProfileName::Server) {
            return Err(DraftError::IpAddress {
                found: *found,
                profile,
            });
        }
        if let Some(found) = &self.subject_serial_number {
            let fits = profile == ProfileName::Device
                && (1..=MAX_SERIAL_NUMBER).contains(&found.len())
                && found.bytes().all(is_printable_string);
            if !fits {
                return Err(DraftError::SerialNumber {
                    found: found.chars().take(MAX_SERIAL_NUMBER).collect(),
                    profile,
                });
            }
        }
        let life = self.profile.life(Some(self.life), None, None)?;
        let validity =
            Validity::starting(self.now, life).expect("a life of 10 s or more ends after it begins");
        Ok(CheckedDraft {
            spiffe_id: self.spiffe_id,
            dns_names: self.dns_names,
            ip_addresses: self.ip_addresses,
            subject_serial_number: self.subject_serial_number,
            key: self.key,
            validity,
            now: self.now,
        })
    }
}

impl CheckedDraft {
    /// Whose certificate it will be.
    pub fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// The key it will be for.
    pub fn key_digest(&self) -> KeyDigest {
        self.key.digest()
    }

    /// From when until when it will count, unless the authority ends before.
    pub fn validity(&self) -> Validity {
        self.validity
    }
}
