//! A refusal as every part of Signet passes it on, and its form in gRPC: standard code, message for people, and
//! `google.rpc.ErrorInfo` under the domain `signet.dev` for programs.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use identity::{Kind, Reason};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of our reasons in `ErrorInfo`.
pub const DOMAIN: &str = "signet.dev";

/// Longest message and longest piece of evidence, in bytes. Both repeat what callers sent, and travel in headers, of which clients take
/// some 16 KiB.
const MAX_TEXT: usize = 2048;

/// A refusal: a stable reason, a message that a person can act on, and evidence under the keys `name`, `limit`, `found`,
/// `expected` and `field`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    message: String,
    evidence: Vec<(&'static str, String)>,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal without evidence. A long message is cut.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: shorten(message.into()),
            evidence: Vec::new(),
            retry_after: None,
        }
    }

    /// Adds a piece of evidence, cut if it is long.
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.evidence.push((key, shorten(value.to_string())));
        self
    }

    /// Adds how long the caller should wait before it asks again.
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The stable word.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// What was wrong, what was expected, what to do next.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How long to wait before asking again.
    pub fn delay(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The evidence under this key.
    pub fn evidence(&self, key: &str) -> Option<&str> {
        self.evidence
            .iter()
            .find(|(k, _)| *k == key)
            .map(|(_, value)| value.as_str())
    }

    /// The refusal as a gRPC status with its details.
    pub fn to_status(&self) -> Status {
        let metadata: HashMap<String, String> = self
            .evidence
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        let mut details = ErrorDetails::with_error_info(self.reason.word(), DOMAIN, metadata);
        if let Some(delay) = self.retry_after {
            details.set_retry_info(Some(delay));
        }
        Status::with_error_details(code(self.reason), self.message.clone(), details)
    }

    /// Reads our details out of a status. A status without them (a proxy's, or tonic's own) gets the reason that fits its code.
    pub fn from_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN);
        let reason = info
            .and_then(|info| Reason::from_word(&info.reason))
            .unwrap_or_else(|| reason_for(status.code()));
        let known = [
            "name", "limit", "found", "expected", "field", "line", "column", "file",
        ];
        let evidence = known
            .into_iter()
            .filter_map(|key| {
                info.and_then(|info| info.metadata.get(key))
                    .map(|value| (key, value.clone()))
            })
            .collect();
        let retry_after = details.retry_info().and_then(|info| info.retry_delay);
        Self {
            reason,
            message: status.message().to_owned(),
            evidence,
            retry_after,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        refusal.to_status()
    }
}

fn shorten(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT - 3).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text.push_str("...");
    }
    text
}

fn code(reason: Reason) -> Code {
    match (reason, reason.kind()) {
        (Reason::EnrolmentPending, _) => Code::FailedPrecondition,
        (_, Kind::Invalid) => Code::InvalidArgument,
        (_, Kind::Unauthenticated) => Code::Unauthenticated,
        (_, Kind::Forbidden) => Code::PermissionDenied,
        (_, Kind::Absent) => Code::NotFound,
        (_, Kind::Conflict) => Code::Aborted,
        (_, Kind::Exhausted) => Code::ResourceExhausted,
        (_, Kind::Unavailable) => Code::Unavailable,
        (_, Kind::Internal) => Code::Internal,
    }
}

fn reason_for(code: Code) -> Reason {
    match code {
        Code::InvalidArgument | Code::FailedPrecondition => Reason::ResourceInvalid,
        Code::Unauthenticated => Reason::NoProof,
        Code::PermissionDenied => Reason::IdentityNotGranted,
        Code::NotFound => Reason::NotFound,
        Code::Aborted | Code::AlreadyExists => Reason::Conflict,
        Code::ResourceExhausted => Reason::TooManyRequests,
        Code::OutOfRange => Reason::TooLarge,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Reason::NotReady,
        _ => Reason::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_survives_the_wire() {
        for reason in Reason::ALL {
            let refusal = Refusal::new(reason, "csr of 70000 bytes, expected at most 65536")
                .with("found", 70_000)
                .with("limit", 65_536)
                .retry_after(Duration::from_secs(2));
            assert_eq!(Refusal::from_status(&refusal.to_status()), {
                let mut sorted = refusal.clone();
                sorted.evidence = vec![("limit", "65536".into()), ("found", "70000".into())];
                sorted
            });
        }
    }

    #[test]
    fn what_a_caller_sent_is_repeated_in_part() {
        let long = "\u{e4}".repeat(100_000);
        let refusal = Refusal::new(Reason::NotFound, &long).with("found", &long);
        for text in [refusal.message(), refusal.evidence("found").unwrap()] {
            assert!((MAX_TEXT - 4..=MAX_TEXT).contains(&text.len()) && text.ends_with("\u{e4}..."));
        }
        let fits = "a".repeat(MAX_TEXT);
        assert_eq!(Refusal::new(Reason::NotFound, &fits).message(), fits);
    }

    #[test]
    fn codes_are_those_of_the_contract() {
        for (reason, code) in [
            (Reason::NoProof, Code::Unauthenticated),
            (Reason::IdentityNotGranted, Code::PermissionDenied),
            (Reason::EnrolmentPending, Code::FailedPrecondition),
            (Reason::Conflict, Code::Aborted),
            (Reason::TooLarge, Code::ResourceExhausted),
            (Reason::NotReady, Code::Unavailable),
        ] {
            assert_eq!(Refusal::new(reason, "").to_status().code(), code);
        }
    }

    #[test]
    fn a_status_of_a_stranger_gets_the_reason_that_fits_its_code() {
        assert_eq!(
            Refusal::from_status(&Status::unavailable("gone")).reason(),
            Reason::NotReady
        );
        assert_eq!(
            Refusal::from_status(&Status::unknown("?")).reason(),
            Reason::Internal
        );
    }
}
