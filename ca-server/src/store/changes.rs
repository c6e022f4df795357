//! Which registrations changed last, so that a reader which keeps them compiled catches up without reading
//! all of them.

use std::collections::VecDeque;

use super::rows::{ResourceRow, RowKind};

/// The kind under which registrations are stored.
pub const REGISTRATION_KIND: &str = "Registration";

/// Most changes that are remembered; a reader that missed more reads all registrations.
const MAX_REMEMBERED: usize = 4096;

/// The changes of registrations since this process began to hold the state.
#[derive(Clone, Debug, Default)]
pub struct RegistrationChanges {
    count: u64,
    /// Namespaces and names, the newest last; one per change.
    newest: VecDeque<(String, String)>,
}

impl RegistrationChanges {
    /// How many there were. Equal numbers of one state mean equal registrations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Namespaces and names of what changed after the first `count` changes, perhaps repeatedly; `None` if
    /// they are no longer known.
    pub fn since(&self, count: u64) -> Option<impl Iterator<Item = (&str, &str)>> {
        let missed = usize::try_from(self.count.checked_sub(count)?).ok()?;
        let first = self.newest.len().checked_sub(missed)?;
        let names = self.newest.range(first..);
        Some(names.map(|(namespace, name)| (namespace.as_str(), name.as_str())))
    }

    /// Notes that a row was put or removed.
    pub(super) fn note(&mut self, row: &RowKind) {
        let RowKind::Resource(ResourceRow {
            kind,
            namespace,
            name,
            ..
        }) = row
        else {
            return;
        };
        if kind != REGISTRATION_KIND {
            return;
        }
        self.count += 1;
        if self.newest.len() == MAX_REMEMBERED {
            self.newest.pop_front();
        }
        self.newest.push_back((namespace.clone(), name.clone()));
    }

    /// Notes that everything may have changed.
    pub(super) fn reset(&mut self) {
        self.count += 1;
        self.newest.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: &str, name: usize) -> RowKind {
        RowKind::Resource(ResourceRow {
            kind: kind.to_owned(),
            namespace: "default".to_owned(),
            name: name.to_string(),
            ..ResourceRow::default()
        })
    }

    fn names(changes: &RegistrationChanges, since: u64) -> Option<Vec<String>> {
        let names = changes.since(since)?;
        Some(names.map(|(_, name)| name.to_owned()).collect())
    }

    #[test]
    fn changes_are_known_until_there_are_too_many_or_everything_is_replaced() {
        let mut changes = RegistrationChanges::default();
        changes.note(&row("PeerAuthentication", 0));
        changes.note(&RowKind::Revision(7));
        assert_eq!((changes.count(), names(&changes, 0)), (0, Some(vec![])));
        changes.note(&row(REGISTRATION_KIND, 1));
        changes.note(&row(REGISTRATION_KIND, 2));
        assert_eq!(names(&changes, 0).unwrap(), ["1", "2"]);
        assert_eq!(names(&changes, 1).unwrap(), ["2"]);
        assert_eq!(names(&changes, 2).unwrap(), [""; 0]);
        assert_eq!(names(&changes, 3), None, "another state's number");
        changes.reset();
        assert_eq!((names(&changes, 2), names(&changes, 3)), (None, Some(vec![])));
        for name in 0..=MAX_REMEMBERED {
            changes.note(&row(REGISTRATION_KIND, name));
        }
        assert_eq!(names(&changes, 3), None);
        assert_eq!(names(&changes, 4).unwrap().len(), MAX_REMEMBERED);
    }
}
