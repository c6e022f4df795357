//! The kinds of documents, by all the names that people and programs call them.

use std::fmt;

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Who may have which identity.
    Registration,
    /// Which connections a workload takes.
    PeerAuthentication,
    /// How clients connect to a service.
    DestinationRule,
    /// A service of the mesh, or one outside of it.
    ServiceEntry,
    /// One workload.
    WorkloadEntry,
}

/// All that a kind is called.
struct Words {
    word: &'static str,
    plural: &'static str,
    short: &'static str,
    /// The one that documents are kept under goes first.
    api_versions: &'static [&'static str],
}

const NETWORKING: &[&str] = &[
    "networking.istio.io/v1",
    "networking.istio.io/v1beta1",
    "networking.istio.io/v1alpha3",
];

/// A word that names no kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind {found:?}, expected one of {}", Kind::known())]
pub struct UnknownKind {
    found: String,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 5] = [
        Kind::Registration,
        Kind::PeerAuthentication,
        Kind::DestinationRule,
        Kind::ServiceEntry,
        Kind::WorkloadEntry,
    ];

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

    fn words(self) -> Words {
        let (word, plural, short, api_versions): (_, _, _, &[&str]) = match self {
            Kind::Registration => ("Registration", "registrations", "reg", &["signet.dev/v1"]),
            Kind::PeerAuthentication => (
                "PeerAuthentication",
                "peerauthentications",
                "pa",
                &["security.istio.io/v1", "security.istio.io/v1beta1"],
            ),
            Kind::DestinationRule => ("DestinationRule", "destinationrules", "dr", NETWORKING),
            Kind::ServiceEntry => ("ServiceEntry", "serviceentries", "se", NETWORKING),
            Kind::WorkloadEntry => ("WorkloadEntry", "workloadentries", "we", NETWORKING),
        };
        Words {
            word,
            plural,
            short,
            api_versions,
        }
    }

    /// The word in a document's `kind`.
    pub fn word(self) -> &'static str {
        self.words().word
    }

    /// The plural in lower case, as `signet get` takes it.
    pub fn plural(self) -> &'static str {
        self.words().plural
    }

    /// The short name.
    pub fn short(self) -> &'static str {
        self.words().short
    }

    /// The `apiVersion` that its documents are kept under.
    pub fn api_version(self) -> &'static str {
        self.words().api_versions[0]
    }

    /// Every `apiVersion` that its documents may have; all mean the same.
    pub fn api_versions(self) -> &'static [&'static str] {
        self.words().api_versions
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
        for (kind, words) in [
            (
                Kind::Registration,
                "Registration registration registrations reg registrations.signet.dev",
            ),
            (
                Kind::PeerAuthentication,
                "peerauthentication peerauthentications pa peerauthentications.security.istio.io",
            ),
            (
                Kind::DestinationRule,
                "destinationrule destinationrules dr destinationrules.networking.istio.io",
            ),
            (Kind::ServiceEntry, "serviceentry serviceentries se"),
            (Kind::WorkloadEntry, "workloadentry workloadentries we"),
        ] {
            for word in words.split(' ') {
                assert_eq!(Kind::from_word(word), Ok(kind), "{word}");
            }
        }
    }

    #[test]
    fn an_unknown_kind_is_answered_with_the_known_ones() {
        let error = Kind::from_word("pods").unwrap_err().to_string();
        let known = "Registration, PeerAuthentication, DestinationRule, ServiceEntry, WorkloadEntry";
        assert_eq!(error, format!(r#"unknown kind "pods", expected one of {known}"#));
    }
}
