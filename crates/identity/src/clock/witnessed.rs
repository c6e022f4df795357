//! What time it is when the clocks of a machine disagree: a state machine over readings that the caller
//! takes. It has no clock of its own, so that every transition can be tested.

use std::time::Duration;

use time::OffsetDateTime;

use super::{Dispute, Witness};

/// The clocks of a machine, read together.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The wall clock.
    pub wall: OffsetDateTime,
    /// The boot-time clock: it counts suspension, and no one can set it.
    pub boot: Duration,
    /// When the last entry of the journal was written; `None` for an empty journal.
    pub last_entry: Option<OffsetDateTime>,
}

/// How far clocks may differ, and how long to wait before a time is relied on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Wall and boot-time clock may differ by this much since the last agreement: 5 minutes.
    pub divergence: Duration,
    /// The wall clock may lie this far before the last entry: 60 seconds.
    pub behind_entry: Duration,
    /// A new reading of a wall clock that the kernel calls synchronised is accepted after it has been steady
    /// for this long: 60 seconds.
    pub steady: Duration,
    /// Nothing is deleted before the time has been undisputed for this long: 1 hour.
    pub deletion: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            divergence: Duration::from_secs(5 * 60),
            behind_entry: Duration::from_secs(60),
            steady: Duration::from_secs(60),
            deletion: Duration::from_secs(3600),
        }
    }
}

/// The anchor follows the wall clock by at most one part in this many of the time passed: 86 seconds a day.
/// Slewing and drift move wall and boot-time clock alike, so only steps have to be absorbed: leap seconds,
/// the first correction after boot, a guest that was paused. A clock that is stepped again and again, each
/// time by less than `divergence`, is disputed as soon as the sum exceeds it.
const ANCHOR_FOLLOWS: u32 = 1000;

/// A step of the wall clock by more than this makes it a new reading, to be steady anew.
const STEADY_TOLERANCE: time::Duration = time::Duration::seconds(2);

/// Decides whether the wall clock is believed.
///
/// Two marks relate the clocks. The *anchor* decides: a wall clock that is further than `divergence` from its
/// line is disputed. It follows the wall clock slowly (see `ANCHOR_FOLLOWS`). The last *agreement* tells the
/// time during a dispute: its line continues where the last undisputed reading was.
///
/// At the start there is nothing but the wall clock and the last entry. If the wall clock lies before the
/// entry, both marks are set to the entry's time: now is not before it, so this is the earliest time that is
/// possible. A certificate is then taken for valid rather than expired, and nothing is signed or deleted by
/// it. A wall clock that is ahead at the start cannot be recognised; nothing is deleted for an hour, and it
/// is disputed as soon as it is corrected.
///
/// Another start in the same boot goes on with the marks of the process before it: a restart ends no dispute.
#[derive(Clone, Debug)]
pub struct WitnessedTime {
    limits: Limits,
    anchor: Mark,
    agreement: Mark,
    /// The marks are those of the last entry: no wall clock was believed since the start.
    begins_at_entry: bool,
    disputed: Option<Disputed>,
    undisputed_since: Duration,
}

/// One instant by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The wall clock.
    pub wall: OffsetDateTime,
    /// The boot-time clock.
    pub boot: Duration,
}

/// What an earlier process of the same boot knew of the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Its anchor.
    pub anchor: Mark,
    /// Its last agreement.
    pub agreement: Mark,
}

/// A dispute that has not ended.
#[derive(Clone, Debug)]
struct Disputed {
    /// As it was when the wall clock began to show its present reading.
    dispute: Dispute,
    /// Since when the wall clock has been steady.
    steady: Mark,
}

/// What a reading says.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The best known time: the wall clock's, or while it is disputed that of the last agreement plus the
    /// boot-time clock's count.
    pub now: OffsetDateTime,
    /// Why the wall clock is not believed.
    pub dispute: Option<Dispute>,
    /// Whether something may be deleted because it has expired.
    pub permits_deletion: bool,
    /// The reading begins or ends a dispute: give a fresh one to [`WitnessedTime::observe`].
    pub is_news: bool,
}

/// A change of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The wall clock is disputed from now on, or was set to another time during a dispute.
    Disputed(Dispute),
    /// The dispute is over.
    Ended(Dispute, End),
}

/// How a dispute ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The clocks agree again.
    Agreement,
    /// The new reading was steady, and the kernel calls it synchronised.
    Synchronised,
    /// An administrator accepted the wall clock.
    Accepted,
}

impl WitnessedTime {
    /// Begins with this reading, and with a dispute if the wall clock lies before the last entry.
    pub fn start(reading: &Reading, limits: Limits) -> Self {
        let mut time = Self {
            limits,
            anchor: reading.mark(),
            agreement: reading.mark(),
            begins_at_entry: false,
            disputed: None,
            undisputed_since: reading.boot,
        };
        if let Some(dispute) = time.disagreement(reading) {
            let earliest = Mark {
                wall: dispute.expected,
                boot: reading.boot,
            };
            (time.anchor, time.agreement, time.begins_at_entry) = (earliest, earliest, true);
            time.disputed = Some(Disputed {
                dispute,
                steady: reading.mark(),
            });
        }
        time
    }

    /// Goes on with the marks that an earlier process of the same boot had.
    pub fn resume(reading: &Reading, limits: Limits, marks: Marks) -> Self {
        // A boot-time clock that ran backwards is that of another boot.
        if marks.anchor.boot.max(marks.agreement.boot) > reading.boot {
            return Self::start(reading, limits);
        }
        let mut time = Self {
            limits,
            anchor: marks.anchor,
            agreement: marks.agreement,
            begins_at_entry: false,
            disputed: None,
            undisputed_since: reading.boot,
        };
        match time.divergence(reading) {
            Some(dispute) => {
                time.disputed = Some(Disputed {
                    dispute,
                    steady: reading.mark(),
                });
                time
            }
            None if behind_entry(reading, &limits).is_some() => Self::start(reading, limits),
            None => {
                time.agree(reading);
                time
            }
        }
    }

    /// The marks for another process of this boot; `None` before any wall clock was believed.
    pub fn marks(&self) -> Option<Marks> {
        (!self.begins_at_entry).then_some(Marks {
            anchor: self.anchor,
            agreement: self.agreement,
        })
    }

    /// Evaluates a reading without a change of state.
    pub fn evaluate(&self, reading: &Reading) -> Evaluation {
        let dispute = self.disagreement(reading);
        let is_news = dispute.is_some() != self.disputed.is_some();
        let Some(disputed) = &self.disputed else {
            let now = match dispute {
                None => reading.wall,
                Some(_) => self.agreement.at(reading.boot),
            };
            let quiet = reading.boot.saturating_sub(self.undisputed_since);
            return Evaluation {
                now,
                permits_deletion: dispute.is_none() && quiet >= self.limits.deletion,
                dispute,
                is_news,
            };
        };
        Evaluation {
            now: self.agreement.at(reading.boot),
            dispute: Some(dispute.unwrap_or_else(|| disputed.dispute.clone())),
            permits_deletion: false,
            is_news,
        }
    }

    /// Takes a reading into account. `synchronised` is what the kernel says of the wall clock.
    pub fn observe(&mut self, reading: &Reading, synchronised: bool) -> Option<Change> {
        let disagreement = self.disagreement(reading);
        match (&mut self.disputed, disagreement) {
            (None, None) => {
                self.agree(reading);
                None
            }
            (Some(_), None) => self.end(reading, End::Agreement),
            (Some(disputed), Some(_)) if disputed.is_steady(reading) => {
                let steady = reading.boot.saturating_sub(disputed.steady.boot);
                if synchronised && steady >= self.limits.steady {
                    self.end(reading, End::Synchronised)
                } else {
                    None
                }
            }
            (_, Some(dispute)) => {
                self.disputed = Some(Disputed {
                    dispute: dispute.clone(),
                    steady: reading.mark(),
                });
                Some(Change::Disputed(dispute))
            }
        }
    }

    /// Takes the wall clock's time as right; `None` if it is not disputed.
    pub fn accept(&mut self, reading: &Reading) -> Option<Change> {
        self.end(reading, End::Accepted)
    }

    /// The dispute, with the times of its beginning.
    pub fn dispute(&self) -> Option<&Dispute> {
        self.disputed.as_ref().map(|disputed| &disputed.dispute)
    }

    /// Why the wall clock is not believed.
    fn disagreement(&self, reading: &Reading) -> Option<Dispute> {
        if self.begins_at_entry {
            behind_entry(reading, &self.limits).or_else(|| self.divergence(reading))
        } else {
            self.divergence(reading)
                .or_else(|| behind_entry(reading, &self.limits))
        }
    }

    fn divergence(&self, reading: &Reading) -> Option<Dispute> {
        let difference = reading.wall - self.anchor.at(reading.boot);
        (difference.unsigned_abs() > self.limits.divergence).then(|| Dispute {
            wall: reading.wall,
            expected: self.agreement.at(reading.boot),
            witness: Witness::BootClock,
        })
    }

    fn agree(&mut self, reading: &Reading) {
        // A reading may be taken before another and arrive after it.
        let Some(passed) = reading.boot.checked_sub(self.agreement.boot) else {
            return;
        };
        let expected = self.anchor.at(reading.boot);
        let most = signed(passed / ANCHOR_FOLLOWS);
        let step = (reading.wall - expected).clamp(-most, most);
        self.anchor = Mark {
            wall: expected.saturating_add(step),
            boot: reading.boot,
        };
        self.agreement = reading.mark();
    }

    fn end(&mut self, reading: &Reading, end: End) -> Option<Change> {
        let disputed = self.disputed.take()?;
        self.begins_at_entry = false;
        self.undisputed_since = reading.boot;
        match end {
            End::Agreement => self.agree(reading),
            End::Synchronised | End::Accepted => {
                (self.anchor, self.agreement) = (reading.mark(), reading.mark());
            }
        }
        Some(Change::Ended(disputed.dispute, end))
    }
}

fn behind_entry(reading: &Reading, limits: &Limits) -> Option<Dispute> {
    let expected = reading.last_entry?;
    (expected - reading.wall > limits.behind_entry).then_some(Dispute {
        wall: reading.wall,
        expected,
        witness: Witness::LastEntry,
    })
}

impl Reading {
    fn mark(&self) -> Mark {
        Mark {
            wall: self.wall,
            boot: self.boot,
        }
    }
}

impl Mark {
    /// What the wall clock would show at `boot` if it had gone on from here.
    fn at(&self, boot: Duration) -> OffsetDateTime {
        self.wall.saturating_add(signed(boot) - signed(self.boot))
    }
}

impl Disputed {
    fn is_steady(&self, reading: &Reading) -> bool {
        (reading.wall - self.steady.at(reading.boot)).abs() <= STEADY_TOLERANCE
    }
}

/// A count of the boot-time clock: it has room for 292 years in either.
fn signed(duration: Duration) -> time::Duration {
    time::Duration::try_from(duration).unwrap_or(time::Duration::MAX)
}

#[cfg(test)]
mod tests;
