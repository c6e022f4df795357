//! The store: what the authority knows, and the record that it is made of. One thread decides commands in their order, writes
//! what a batch of them changes as one durable batch of the record, and answers only then; reading never waits for a disk.
//!
//! Two kinds keep it: [`MemoryStore`] for tests, and [`EmbeddedStore`], a journal that is the truth with an index beside it. Both
//! decide by the same pure functions and pass the same suite of tests.

mod answer;
mod bindings;
mod changes;
mod command;
mod decide;
mod embedded;
pub mod entry;
mod error;
mod gather;
mod health;
pub mod inventory;
mod journaled;
mod medium;
mod memory;
mod prefetched;
mod recent;
pub mod revocation;
mod rows;
mod snapshots;
mod state;
mod view;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::RwLockReadGuard;

use journal::Head;
use proto::Refusal;
use tokio::sync::watch;

pub use answer::Answer;
pub use changes::{REGISTRATION_KIND, RegistrationChanges};
pub use command::{
    Command, IssueCommand, IssueFacts, NewResource, Outcome, Parent, RegistrationRef, ResourceName, Verb,
    Verdict,
};
pub(crate) use decide::{redeemed_alike, token_counts};
pub use embedded::EmbeddedStore;
pub use entry::{Entry, Issued, Origin, Refused};
pub use error::StoreError;
pub use journaled::Journaled;
pub use medium::{Medium, Observer, Records};
pub use memory::MemoryStore;
pub use revocation::{Revocation, Selection};
pub use rows::{
    AuthorityRow, CrlRow, EarlierCertificate, InstanceRow, Redemption, ResourceRow, RevocationRow, RowKey,
    RowKind, TokenRow,
};
pub use state::{Place, State, TOKEN_REGISTRATION_NAMESPACE, TOKEN_REGISTRATION_PREFIX};

/// What is kept, whoever keeps it.
pub trait Store: Send + Sync {
    /// The state as of now. Held for look-ups only: the writer waits for it when it makes a batch known.
    fn read(&self) -> RwLockReadGuard<'_, State>;

    /// Has a command decided and recorded. Commands are decided in the order of these calls.
    fn submit(&self, command: Command) -> Answer<Outcome>;

    /// The entry at this position of the record; `None` if there is none.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE` if the record cannot be read.
    fn entry(&self, position: u64) -> Result<Option<Entry>, Refusal>;

    /// Positions of the entries with this fingerprint in this field (see [`entry::field`]), newest first. Each is to be
    /// confirmed in its entry.
    ///
    /// # Errors
    /// `STORE_UNAVAILABLE` if the record cannot be read.
    fn find(&self, field: u8, fingerprint: u64) -> Result<Vec<u64>, Refusal>;

    /// The judgement that [`Command::Issue`] would come to now, before a signature is spent on it.
    ///
    /// # Errors
    /// As `Command::Issue`: the reason for which no certificate may be made.
    fn judge(&self, facts: &IssueFacts) -> Result<Verdict, Refusal>;

    /// Where the record ends.
    fn head(&self) -> Head;

    /// The revision of resources, authorities, revocations and CRLs, for those who follow them.
    fn changed(&self) -> watch::Receiver<u64>;

    /// Why nothing can be recorded at the moment; `None` while all is well.
    fn health(&self) -> watch::Receiver<Option<String>>;

    /// Why the process has to end, once it has to: a thread of the store has ended by a panic.
    fn failure(&self) -> watch::Receiver<Option<String>>;

    /// Stops: what was submitted before is answered, then all is put away for a fast start. Blocks until that
    /// is done, or a deadline has passed.
    ///
    /// # Errors
    /// What could not be put away; the next start reads the record instead.
    fn close(&self) -> Result<(), StoreError>;
}
