//! The kinds of documents, by all the names that people and programs call them.

use std::fmt;

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Who may have which identity.
    Registration,
}

/// A word that names no kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind {found:?}, expected one of {}", Kind::known())]
pub struct UnknownKind {
    found: String,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 1] = [Kind::Registration];

    /// Finds a kind by its word in documents, its singular, plural or short name, or its plural with the group; any case.
    pub fn from_word(word: &str) -> Result<Self, UnknownKind> {
        let wanted = word.to_ascii_lowercase();
        let named = |kind: &Kind| {
            let (plural, group) = (kind.plural(), kind.group());
            wanted == kind.word().to_ascii_lowercase()
                || wanted == plural
                || wanted == kind.short()
                || wanted
                    .strip_prefix(plural)
                    .and_then(|rest| rest.strip_prefix('.'))
                    == Some(group)
        };
        Self::ALL.into_iter().find(named).ok_or_else(|| UnknownKind {
            found: crate::error::shorten(word),
        })
    }

    /// The word in a document's `kind`.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Registration => "Registration",
        }
    }

    /// The plural in lower case, as `signet get` takes it.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Registration => "registrations",
        }
    }

    /// The short name.
    pub fn short(self) -> &'static str {
        match self {
            Kind::Registration => "reg",
        }
    }

    /// The `apiVersion` of its documents.
    pub fn api_version(self) -> &'static str {
        match self {
            Kind::Registration => "signet.dev/v1",
        }
    }

    /// The group in that.
    pub fn group(self) -> &'static str {
        self.api_version().split('/').next().unwrap_or_default()
    }

    /// The known words, for messages.
    pub(crate) fn known() -> String {
        Self::ALL.map(Kind::word).join(", ")
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_answers_to_all_its_names() {
        for word in [
            "Registration",
            "registration",
            "registrations",
            "reg",
            "registrations.signet.dev",
        ] {
            assert_eq!(Kind::from_word(word), Ok(Kind::Registration), "{word}");
        }
    }

    #[test]
    fn an_unknown_kind_is_answered_with_the_known_ones() {
        let error = Kind::from_word("pods").unwrap_err().to_string();
        assert_eq!(error, r#"unknown kind "pods", expected one of Registration"#);
    }
}
