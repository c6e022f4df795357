//! One audit line. Its field names are what log collectors search by.

use identity::{Reason, Serial};
use proto::Refusal;
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// A certificate or JWT-SVID was issued.
    Issued,
    /// A recorded certificate was given again.
    Replayed,
    /// A request was refused.
    Refused,
    /// An administrator changed something.
    Changed,
    /// A second key was renewed from one certificate.
    Forked,
}

impl Decision {
    fn word(self) -> &'static str {
        match self {
            Decision::Issued => "issued",
            Decision::Replayed => "replayed",
            Decision::Refused => "refused",
            Decision::Changed => "changed",
            Decision::Forked => "forked",
        }
    }
}

/// One decision, with what is known of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// When it was decided.
    #[serde(serialize_with = "rfc3339")]
    pub time: OffsetDateTime,
    /// What.
    pub decision: Decision,
    /// The SPIFFE ID that was issued or asked for, or that of the certificate that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Serial number of the certificate.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "printed")]
    pub serial: Option<Serial>,
    /// Serial number of the certificate that it was renewed from.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "printed")]
    pub parent: Option<Serial>,
    /// How the caller proved itself: token, jwt, certificate, renewal, admin; or the protocol where it did not get so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'static str>,
    /// Who asked, as the record names it.
    pub caller: String,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "printed")]
    pub reason: Option<Reason>,
    /// What was changed, or the refusal for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// namespace/name of the registration that granted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration: Option<String>,
    /// How many decisions the line stands for, where that is not one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Position of its entry in the journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// Head of the journal's hash chain after that entry, in hex: kept elsewhere, it proves that the journal was not changed.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "hex")]
    pub head: Option<[u8; 32]>,
}

impl Line {
    /// A line with nothing but the decision and who asked.
    pub fn new(time: OffsetDateTime, decision: Decision, caller: impl Into<String>) -> Self {
        Self {
            time,
            decision,
            identity: None,
            serial: None,
            parent: None,
            method: None,
            caller: caller.into(),
            reason: None,
            message: None,
            registration: None,
            count: None,
            position: None,
            head: None,
        }
    }

    /// A refusal.
    pub fn refused(time: OffsetDateTime, refusal: &Refusal, caller: impl Into<String>) -> Self {
        Self {
            reason: Some(refusal.reason()),
            message: Some(refusal.message().to_owned()),
            ..Self::new(time, Decision::Refused, caller)
        }
    }

    /// The same for people, in the log.
    pub(super) fn log(&self) {
        tracing::debug!(
            identity = self.identity,
            serial = self.serial.map(tracing::field::display),
            caller = self.caller,
            what = self.message,
            "{}",
            self.decision.word()
        );
    }
}

fn rfc3339<S: Serializer>(time: &OffsetDateTime, serializer: S) -> Result<S::Ok, S::Error> {
    let text = time.format(&Rfc3339).map_err(serde::ser::Error::custom)?;
    serializer.serialize_str(&text)
}

fn printed<S: Serializer, T: std::fmt::Display>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn hex<S: Serializer>(bytes: &Option<[u8; 32]>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => serializer.serialize_str(&identity::hex::encode(bytes)),
        None => serializer.serialize_none(),
    }
}
