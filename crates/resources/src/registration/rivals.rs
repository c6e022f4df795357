//! Two registrations for one identity: legal, and only one of them applies to a caller that both admit.

use super::Registration;

/// A registration that grants the same identity to callers that both admit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// Which of the two applies and which does not, from the view of the first argument.
    pub message: String,
    /// What to do about it.
    pub fix: &'static str,
}

impl Rival {
    /// The code of this finding.
    pub const CODE: &'static str = "IDENTITY_TWICE";

    /// Compares two registrations of different names.
    pub fn find(one: &Registration, other: &Registration) -> Option<Self> {
        let same_domain = match (one.trust_domain(), other.trust_domain()) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        let name = |registration: &Registration| {
            (
                registration.namespace().to_owned(),
                registration.name().to_owned(),
            )
        };
        let is_same_identity = one.path().as_str() == other.path().as_str() && same_domain;
        if !is_same_identity || name(one) == name(other) || !one.shares_callers_with(other) {
            return None;
        }
        let effect = if name(one) < name(other) {
            "this one applies, as the first by name, and the other has no effect for them"
        } else {
            "the other applies, as the first by name, and this one has no effect for them"
        };
        Some(Self {
            message: format!(
                "grants the same identity as Registration {} to callers that both admit: {effect}",
                other.full_name()
            ),
            fix: "merge the two, or let them admit different callers",
        })
    }
}
