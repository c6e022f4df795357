//! The stable words of refusals, `google.rpc.ErrorInfo.reason` under the domain `signet.dev`, and the kinds they belong to.
//! Programs decide by these; each protocol maps the kinds to codes of its own.

/// What sort of failure an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request itself is wrong.
    Invalid,
    /// The caller did not prove who it is.
    Unauthenticated,
    /// The caller is known and may not.
    Forbidden,
    /// The thing named does not exist.
    Absent,
    /// The thing named is in another state than supposed.
    Conflict,
    /// A limit is reached.
    Exhausted,
    /// Not now; the same request may succeed later.
    Unavailable,
    /// A defect of the server.
    Internal,
}

impl Kind {
    /// The lower-case word that JSON errors print.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Invalid => "invalid",
            Kind::Unauthenticated => "unauthenticated",
            Kind::Forbidden => "forbidden",
            Kind::Absent => "absent",
            Kind::Conflict => "conflict",
            Kind::Exhausted => "exhausted",
            Kind::Unavailable => "unavailable",
            Kind::Internal => "internal",
        }
    }
}

/// A stable reason of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "each variant is the word that `word` prints; docs/REASONS.md says when"
)]
pub enum Reason {
    NoProof,
    TokenInvalid,
    TokenExpired,
    TokenRevoked,
    TokenSpent,
    JwtInvalid,
    JwtExpired,
    JwtAudience,
    JwtIssuerUnknown,
    CertificateUntrusted,
    CertificateExpired,
    CertificateNotYetValid,
    CertificateRevoked,
    CertificateNotSvid,
    ProofsDisagree,
    IdentityNotGranted,
    NameNotGranted,
    IdentityAmbiguous,
    NotAdmin,
    ImpersonationRefused,
    DeviceSuspended,
    DeviceRetired,
    DeviceUnknown,
    EnrolmentPending,
    LineageFork,
    CsrMalformed,
    CsrSignature,
    CsrExtension,
    CsrSan,
    KeyType,
    KeyWeak,
    KeyBound,
    KeyCompromised,
    KeyIsAuthority,
    LifeTooLong,
    LifeTooShort,
    ResourceInvalid,
    NotFound,
    Conflict,
    TooLarge,
    TooManyRequests,
    TooManyInFlight,
    AuthorityEnded,
    ClockImplausible,
    StoreUnavailable,
    NotReady,
    ProviderUnavailable,
    Internal,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 48] = [
        Reason::NoProof,
        Reason::TokenInvalid,
        Reason::TokenExpired,
        Reason::TokenRevoked,
        Reason::TokenSpent,
        Reason::JwtInvalid,
        Reason::JwtExpired,
        Reason::JwtAudience,
        Reason::JwtIssuerUnknown,
        Reason::CertificateUntrusted,
        Reason::CertificateExpired,
        Reason::CertificateNotYetValid,
        Reason::CertificateRevoked,
        Reason::CertificateNotSvid,
        Reason::ProofsDisagree,
        Reason::IdentityNotGranted,
        Reason::NameNotGranted,
        Reason::IdentityAmbiguous,
        Reason::NotAdmin,
        Reason::ImpersonationRefused,
        Reason::DeviceSuspended,
        Reason::DeviceRetired,
        Reason::DeviceUnknown,
        Reason::EnrolmentPending,
        Reason::LineageFork,
        Reason::CsrMalformed,
        Reason::CsrSignature,
        Reason::CsrExtension,
        Reason::CsrSan,
        Reason::KeyType,
        Reason::KeyWeak,
        Reason::KeyBound,
        Reason::KeyCompromised,
        Reason::KeyIsAuthority,
        Reason::LifeTooLong,
        Reason::LifeTooShort,
        Reason::ResourceInvalid,
        Reason::NotFound,
        Reason::Conflict,
        Reason::TooLarge,
        Reason::TooManyRequests,
        Reason::TooManyInFlight,
        Reason::AuthorityEnded,
        Reason::ClockImplausible,
        Reason::StoreUnavailable,
        Reason::NotReady,
        Reason::ProviderUnavailable,
        Reason::Internal,
    ];

    /// Whether the caller's key is what was refused: no request with it will ever be granted, so it is not to be tried again.
    pub fn is_about_the_key(self) -> bool {
        matches!(
            self,
            Reason::KeyBound
                | Reason::KeyCompromised
                | Reason::KeyWeak
                | Reason::KeyType
                | Reason::KeyIsAuthority
        )
    }

    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Reason::NoProof => "NO_PROOF",
            Reason::TokenInvalid => "TOKEN_INVALID",
            Reason::TokenExpired => "TOKEN_EXPIRED",
            Reason::TokenRevoked => "TOKEN_REVOKED",
            Reason::TokenSpent => "TOKEN_SPENT",
            Reason::JwtInvalid => "JWT_INVALID",
            Reason::JwtExpired => "JWT_EXPIRED",
            Reason::JwtAudience => "JWT_AUDIENCE",
            Reason::JwtIssuerUnknown => "JWT_ISSUER_UNKNOWN",
            Reason::CertificateUntrusted => "CERTIFICATE_UNTRUSTED",
            Reason::CertificateExpired => "CERTIFICATE_EXPIRED",
            Reason::CertificateNotYetValid => "CERTIFICATE_NOT_YET_VALID",
            Reason::CertificateRevoked => "CERTIFICATE_REVOKED",
            Reason::CertificateNotSvid => "CERTIFICATE_NOT_SVID",
            Reason::ProofsDisagree => "PROOFS_DISAGREE",
            Reason::IdentityNotGranted => "IDENTITY_NOT_GRANTED",
            Reason::NameNotGranted => "NAME_NOT_GRANTED",
            Reason::IdentityAmbiguous => "IDENTITY_AMBIGUOUS",
            Reason::NotAdmin => "NOT_ADMIN",
            Reason::ImpersonationRefused => "IMPERSONATION_REFUSED",
            Reason::DeviceSuspended => "DEVICE_SUSPENDED",
            Reason::DeviceRetired => "DEVICE_RETIRED",
            Reason::DeviceUnknown => "DEVICE_UNKNOWN",
            Reason::EnrolmentPending => "ENROLMENT_PENDING",
            Reason::LineageFork => "LINEAGE_FORK",
            Reason::CsrMalformed => "CSR_MALFORMED",
            Reason::CsrSignature => "CSR_SIGNATURE",
            Reason::CsrExtension => "CSR_EXTENSION",
            Reason::CsrSan => "CSR_SAN",
            Reason::KeyType => "KEY_TYPE",
            Reason::KeyWeak => "KEY_WEAK",
            Reason::KeyBound => "KEY_BOUND",
            Reason::KeyCompromised => "KEY_COMPROMISED",
            Reason::KeyIsAuthority => "KEY_IS_AUTHORITY",
            Reason::LifeTooLong => "LIFE_TOO_LONG",
            Reason::LifeTooShort => "LIFE_TOO_SHORT",
            Reason::ResourceInvalid => "RESOURCE_INVALID",
            Reason::NotFound => "NOT_FOUND",
            Reason::Conflict => "CONFLICT",
            Reason::TooLarge => "TOO_LARGE",
            Reason::TooManyRequests => "TOO_MANY_REQUESTS",
            Reason::TooManyInFlight => "TOO_MANY_IN_FLIGHT",
            Reason::AuthorityEnded => "AUTHORITY_ENDED",
            Reason::ClockImplausible => "CLOCK_IMPLAUSIBLE",
            Reason::StoreUnavailable => "STORE_UNAVAILABLE",
            Reason::NotReady => "NOT_READY",
            Reason::ProviderUnavailable => "PROVIDER_UNAVAILABLE",
            Reason::Internal => "INTERNAL",
        }
    }

    /// The reason that this word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.word() == word)
    }

    /// The kind that it belongs to.
    pub fn kind(self) -> Kind {
        match self {
            Reason::NoProof
            | Reason::TokenInvalid
            | Reason::TokenExpired
            | Reason::TokenRevoked
            | Reason::TokenSpent
            | Reason::JwtInvalid
            | Reason::JwtExpired
            | Reason::JwtAudience
            | Reason::JwtIssuerUnknown
            | Reason::CertificateUntrusted
            | Reason::CertificateExpired
            | Reason::CertificateNotYetValid
            | Reason::CertificateRevoked
            | Reason::CertificateNotSvid
            | Reason::ProofsDisagree => Kind::Unauthenticated,
            Reason::IdentityNotGranted
            | Reason::NameNotGranted
            | Reason::NotAdmin
            | Reason::ImpersonationRefused
            | Reason::DeviceSuspended
            | Reason::DeviceRetired
            | Reason::DeviceUnknown
            | Reason::LineageFork => Kind::Forbidden,
            Reason::IdentityAmbiguous
            | Reason::CsrMalformed
            | Reason::CsrSignature
            | Reason::CsrExtension
            | Reason::CsrSan
            | Reason::KeyType
            | Reason::KeyWeak
            | Reason::KeyBound
            | Reason::KeyCompromised
            | Reason::KeyIsAuthority
            | Reason::LifeTooLong
            | Reason::LifeTooShort
            | Reason::ResourceInvalid => Kind::Invalid,
            Reason::EnrolmentPending
            | Reason::AuthorityEnded
            | Reason::ClockImplausible
            | Reason::StoreUnavailable
            | Reason::NotReady
            | Reason::ProviderUnavailable => Kind::Unavailable,
            Reason::NotFound => Kind::Absent,
            Reason::Conflict => Kind::Conflict,
            Reason::TooLarge | Reason::TooManyRequests | Reason::TooManyInFlight => Kind::Exhausted,
            Reason::Internal => Kind::Internal,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_of_a_key_is_about_the_key_and_no_other() {
        for reason in Reason::ALL {
            assert_eq!(
                reason.is_about_the_key(),
                reason.word().starts_with("KEY_"),
                "{reason}"
            );
        }
    }

    #[test]
    fn words_are_distinct_and_read_back() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_word(reason.word()), Some(reason));
        }
        assert_eq!(Reason::from_word("no_proof"), None);
    }
}
