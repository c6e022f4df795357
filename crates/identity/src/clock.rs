//! What time it is, and whether that is disputed. No other code reads the wall clock, so that tests can set
//! it and a wrong clock has one place where it is recognised.

pub mod witnessed;

use std::fmt;

use time::OffsetDateTime;

use crate::moment;

/// The time, and how far it can be relied on.
pub trait Clock: Send + Sync {
    /// The best known time, in UTC.
    fn now(&self) -> OffsetDateTime;

    /// Why the time is disputed; `None` while it is not. While it is disputed nothing is issued, deleted,
    /// pruned or remade.
    fn dispute(&self) -> Option<Dispute> {
        None
    }

    /// Whether something may be deleted because it has expired: the time has been undisputed for an hour
    /// since the start or the last dispute. Deletion is never urgent.
    fn permits_deletion(&self) -> bool {
        true
    }

    /// Takes note of the time of the journal's last entry. A store says it once, when it opens and before it
    /// uses the time.
    fn journal_ends_at(&self, _at: OffsetDateTime) {}

    /// Takes note that an entry was written just now. A store says it after each batch.
    fn entry_written(&self) {}
}

/// Two times that disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispute {
    /// What the wall clock reads.
    pub wall: OffsetDateTime,
    /// The time by the witness.
    pub expected: OffsetDateTime,
    /// The witness that disagrees with the wall clock.
    pub witness: Witness,
}

/// A source of time other than the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// The time of the last agreement plus what the boot-time clock has counted since.
    BootClock,
    /// The time of the last entry in the journal: now is not before it.
    LastEntry,
}

impl fmt::Display for Dispute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            wall,
            expected,
            witness,
        } = self;
        let (wall, expected) = (moment(*wall), moment(*expected));
        match witness {
            Witness::BootClock => write!(
                f,
                "the wall clock reads {wall}, but by the boot-time clock it is {expected}"
            ),
            Witness::LastEntry => write!(
                f,
                "the wall clock reads {wall}, but the last entry of the journal was written at {expected}"
            ),
        }
    }
}

/// The operating system's wall clock, which nothing disputes. For programs that run once; a server has
/// witnesses.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}
