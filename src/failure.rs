//! The one error at the border of `main`: a stable reason, a message for people, and where the fault is, if it is in a file.

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

use identity::Reason;
use proto::Refusal;
use serde::Serialize;
use serde_json::{Value, json};

/// Wrong usage, as shells and clap have it.
const USAGE: u8 = 2;

/// Why a command did not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    reason: Reason,
    message: Box<str>,
    hint: Option<Box<str>>,
    place: Box<Place>,
    exit: u8,
}

/// Where the fault is; empty where it is nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
}

impl Failure {
    pub(crate) fn new(reason: Reason, message: impl Display) -> Self {
        Self {
            reason,
            message: message.to_string().into(),
            hint: None,
            place: Box::default(),
            exit: 1,
        }
    }

    /// A command that makes no sense as it was written.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(Reason::ResourceInvalid, message).exit(USAGE)
    }

    /// Something on this machine that went wrong.
    pub(crate) fn internal(message: impl Display) -> Self {
        Self::new(Reason::Internal, message)
    }

    /// A file that cannot be read or written.
    pub(crate) fn file(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => Reason::NotFound,
            _ => Reason::Internal,
        };
        Self::new(reason, format!("cannot {doing} {}: {error}", path.display())).at(Place::of_file(path))
    }

    /// A file that is not what it should be.
    pub(crate) fn content(path: &Path, why: impl Display) -> Self {
        let message = format!("{}: {why}", path.display());
        Self::new(Reason::ResourceInvalid, message).at(Place::of_file(path))
    }

    pub(crate) fn hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn at(mut self, place: Place) -> Self {
        self.place = Box::new(place);
        self
    }

    pub(crate) fn exit(mut self, code: u8) -> Self {
        self.exit = code;
        self
    }

    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit)
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("error: {}\nreason: {}", self.message, self.reason);
        if let Some(hint) = &self.hint {
            text.push_str("\nhint: ");
            text.push_str(hint);
        }
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let mut error = json!({
            "kind": self.reason.kind().word(),
            "reason": self.reason.word(),
            "message": self.message,
        });
        let place = serde_json::to_value(&self.place).expect("texts and numbers are JSON");
        if let (Some(error), Value::Object(place)) = (error.as_object_mut(), place) {
            error.extend(place);
        }
        json!({ "error": error })
    }
}

impl Place {
    pub(crate) fn of_file(path: &Path) -> Self {
        Self {
            file: Some(path.display().to_string()),
            ..Self::default()
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let number = |key| refusal.evidence(key).and_then(|value| value.parse().ok());
        let text = |key| refusal.evidence(key).map(str::to_owned);
        Self::new(refusal.reason(), refusal.message()).at(Place {
            file: text("file"),
            line: number("line"),
            column: number("column"),
            field: text("field"),
        })
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        Refusal::from_status(&status).into()
    }
}

impl From<client_lib::Error> for Failure {
    fn from(error: client_lib::Error) -> Self {
        match error {
            // The reason is printed beside the message, not within it.
            client_lib::Error::Refused(refusal) => refusal.into(),
            client_lib::Error::Folder(error) => error.into(),
            other => Self::new(other.reason(), &other),
        }
    }
}

impl From<client_lib::folder::FolderError> for Failure {
    fn from(error: client_lib::folder::FolderError) -> Self {
        use client_lib::folder::FolderError;
        match &error {
            FolderError::Io { path, source, .. } => {
                let reason = match source.kind() {
                    std::io::ErrorKind::NotFound => Reason::NotFound,
                    _ => Reason::Internal,
                };
                Self::new(reason, &error).at(Place::of_file(path))
            }
            FolderError::Locked { path, .. } | FolderError::Slow { path, .. } => {
                Self::new(Reason::Internal, &error).at(Place::of_file(path))
            }
            FolderError::NotOurs { path } => Self::new(Reason::Conflict, &error).at(Place::of_file(path)),
            FolderError::NoName { path } | FolderError::Content { path, .. } => {
                Self::new(Reason::ResourceInvalid, &error).at(Place::of_file(path))
            }
            FolderError::Key(_) => Self::new(Reason::ResourceInvalid, &error),
        }
    }
}

impl From<client_lib::proof::ProofError> for Failure {
    fn from(error: client_lib::proof::ProofError) -> Self {
        client_lib::Error::from(error).into()
    }
}

impl From<client_lib::key::KeyError> for Failure {
    fn from(error: client_lib::key::KeyError) -> Self {
        Self::new(Reason::Internal, error)
    }
}

impl From<journal::JournalError> for Failure {
    fn from(error: journal::JournalError) -> Self {
        use journal::JournalError;
        let reason = match &error {
            JournalError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Reason::NotFound
            }
            _ => Reason::StoreUnavailable,
        };
        let place = match &error {
            JournalError::Io { path, .. } | JournalError::Damaged { path, .. } => Place::of_file(path),
            _ => Place::default(),
        };
        Self::new(reason, &error).at(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_to_people_with_reason_and_hint_and_to_programs_with_its_place() {
        let place = Place {
            file: Some("a.yaml".into()),
            line: Some(3),
            column: Some(7),
            field: Some("spec.life".into()),
        };
        let failure = Failure::new(Reason::ResourceInvalid, "found 5 parsecs")
            .hint("write 1h")
            .at(place);
        assert_eq!(
            failure.text(),
            "error: found 5 parsecs\nreason: RESOURCE_INVALID\nhint: write 1h"
        );
        assert_eq!(
            failure.json(),
            json!({ "error": {
                "kind": "invalid", "reason": "RESOURCE_INVALID", "message": "found 5 parsecs",
                "file": "a.yaml", "line": 3, "column": 7, "field": "spec.life",
            } })
        );
    }

    #[test]
    fn what_the_server_says_of_the_fault_is_kept() {
        let refusal = Refusal::new(Reason::NameNotGranted, "a.example is not granted").with("field", "csr");
        let error = &Failure::from(refusal.to_status()).json()["error"];
        assert_eq!(error["kind"], "forbidden");
        assert_eq!(error["field"], "csr");
        assert_eq!(error["message"], "a.example is not granted");
        assert!(error.get("line").is_none());
    }
}
