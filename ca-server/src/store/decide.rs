//! The decisions, as pure functions of what is known: one for each command. Whatever store keeps the record, it decides by these.

mod admin;
mod issue;
mod prune;
mod resources;
mod revoke;

pub(super) use issue::judge;
pub(crate) use issue::{redeemed_alike, token_counts};

use proto::Refusal;

use super::command::{Command, Outcome};
use super::entry::Entry;
use super::rows::{Row, RowKey, RowKind};
use super::view::View;

/// What a command comes to: the entry to be recorded, if it changes anything, and the answer once that is durable.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) entry: Option<Entry>,
    pub(super) outcome: Outcome,
}

/// Decides a command at the time of the view.
pub(super) fn decide(view: &View<'_>, command: Command) -> Result<Decision, Refusal> {
    let now = view.now();
    match command {
        Command::Instance(row) => admin::instance(view, row, now),
        Command::Issue(command) => issue::issue(view, *command),
        Command::CreateToken {
            token,
            registration,
            by,
        } => admin::create_token(view, token, registration, by, now),
        Command::RevokeToken { id, by } => admin::revoke_token(view, &id, by, now),
        Command::Apply {
            resources,
            dry_run,
            by,
        } => resources::apply(view, resources, dry_run, by, now),
        Command::Delete { which, by } => resources::delete(view, &which, by, now),
        Command::Revoke {
            which,
            known,
            reason,
            by,
        } => revoke::revoke(view, &which, known, &reason, by),
        Command::PutAuthority { row, by } => admin::put_authority(view, row, by, now),
        Command::PutCrl { authority, number } => admin::put_crl(view, authority, number, now),
        Command::Refused { by, refused } => Ok(Decision::recorded(
            Entry {
                at: now,
                by,
                refused: Some(refused),
                ..Entry::default()
            },
            Outcome::Done,
        )),
        Command::AcceptTime { at, dispute, by } => Ok(admin::accept_time(view, at, &dispute, by)),
        Command::Prune => Ok(prune::prune(view, now)),
    }
}

impl Decision {
    fn recorded(entry: Entry, outcome: Outcome) -> Self {
        Self {
            entry: Some(entry),
            outcome,
        }
    }

    /// Nothing changes.
    pub(super) fn unchanged(outcome: Outcome) -> Self {
        Self { entry: None, outcome }
    }
}

/// An entry in the making: rows put and removed by one act.
struct Change {
    entry: Entry,
}

impl Change {
    fn new(now: i64, by: String, action: impl Into<String>) -> Self {
        Self {
            entry: Entry {
                at: now,
                by,
                action: action.into(),
                ..Entry::default()
            },
        }
    }

    fn put(&mut self, row: RowKind) {
        self.entry.puts.push(Row::from(row));
    }

    fn delete(&mut self, key: RowKey) {
        self.entry.deletes.push(key);
    }

    /// Gives the next revision to what was changed, so that watchers follow.
    fn revise(&mut self, view: &View<'_>) -> u64 {
        let revision = view.revision() + 1;
        self.put(RowKind::Revision(revision));
        revision
    }

    fn is_empty(&self) -> bool {
        self.entry.puts.is_empty() && self.entry.deletes.is_empty()
    }

    fn into_decision(self, outcome: Outcome) -> Decision {
        Decision::recorded(self.entry, outcome)
    }
}
