//! The time of a running server: the wall clock, as long as its witnesses do not contradict it.
//! `WitnessedTime` of `identity` decides; this file takes the readings and holds the state that all threads
//! share.

mod kept;
mod os;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use identity::clock::witnessed::{Change, End, Evaluation, Limits, Marks, Reading, WitnessedTime};
use identity::{Clock, Dispute, Reason, moment};
use proto::Refusal;
use time::OffsetDateTime;
use tokio::sync::watch;

pub use kept::KeptTime;
pub use os::OsTime;

/// How often the clocks are to be compared when no request reads them.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// When a request that a dispute refused may be sent again: no dispute over a new reading ends sooner.
const RETRY: Duration = Duration::from_secs(60);
/// Between a sample of the wall clock and its acceptance the clock may have been slewed, but not set.
const SAMPLE_TOLERANCE: time::Duration = time::Duration::seconds(2);
/// Stands for a journal without entries.
const NO_ENTRY: i64 = i64::MIN;

/// The clocks of a machine.
pub trait TimeSource: Send + Sync {
    /// The wall clock, in UTC.
    fn wall(&self) -> OffsetDateTime;

    /// Time since boot, suspension included.
    fn boot(&self) -> Duration;

    /// Whether the kernel calls the wall clock synchronised.
    fn is_synchronised(&self) -> bool;
}

/// A clock with witnesses. Reading it takes no lock, unless a dispute begins or ends with the reading.
pub struct ServerClock {
    source: Box<dyn TimeSource>,
    limits: Limits,
    /// From an earlier process of this boot.
    marks: Option<Marks>,
    time: ArcSwap<WitnessedTime>,
    /// Seconds since 1970.
    last_entry: AtomicI64,
    /// Held for each change of the two above.
    changing: Mutex<()>,
    disputes: watch::Sender<Option<Dispute>>,
}

/// A time of the wall clock that may be accepted.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    wall: OffsetDateTime,
    boot: Duration,
}

impl Sample {
    /// What the wall clock read.
    pub fn wall(&self) -> OffsetDateTime {
        self.wall
    }
}

impl ServerClock {
    /// The clock of this machine, with what an earlier process of this boot knew of it.
    pub fn system(marks: Option<Marks>) -> Self {
        Self::resume(Box::new(OsTime), Limits::default(), marks)
    }

    /// Begins with the wall clock of `source`. A store that opens with this clock adds the last entry.
    pub fn new(source: Box<dyn TimeSource>, limits: Limits) -> Self {
        Self::resume(source, limits, None)
    }

    fn resume(source: Box<dyn TimeSource>, limits: Limits, marks: Option<Marks>) -> Self {
        let time = begin(&read(source.as_ref(), NO_ENTRY), limits, marks);
        let dispute = time.dispute().cloned();
        Self {
            source,
            limits,
            marks,
            time: ArcSwap::from_pointee(time),
            last_entry: AtomicI64::new(NO_ENTRY),
            changing: Mutex::default(),
            disputes: watch::Sender::new(dispute),
        }
    }

    /// What another process of this boot should begin with; `None` before any wall clock was believed.
    pub fn marks(&self) -> Option<Marks> {
        self.time.load().marks()
    }

    /// Compares the clocks, and ends a dispute that has been resolved. To be called each [`INTERVAL`].
    pub fn compare(&self) -> Option<Change> {
        // What the kernel says matters only during a dispute.
        self.observe(|| self.disputes.borrow().is_some() && self.source.is_synchronised())
    }

    /// The dispute as it began, and each change of it.
    pub fn disputes(&self) -> watch::Receiver<Option<Dispute>> {
        self.disputes.subscribe()
    }

    /// The wall clock as it is now.
    pub fn sample(&self) -> Sample {
        let Reading { wall, boot, .. } = self.read();
        Sample { wall, boot }
    }

    /// Takes the wall clock as right, if it has not been set since `sample`. Returns the dispute that this
    /// ends.
    ///
    /// # Errors
    /// `CONFLICT` if the wall clock was set meanwhile.
    pub fn accept(&self, sample: Sample) -> Result<Option<Dispute>, Refusal> {
        let changing = self.change();
        let reading = self.read();
        let expected = sample.wall + reading.boot.saturating_sub(sample.boot);
        if (reading.wall - expected).abs() > SAMPLE_TOLERANCE {
            let message = format!(
                "the wall clock read {}, and was set to {} before that was accepted; check it and try again",
                moment(sample.wall),
                moment(reading.wall)
            );
            return Err(Refusal::new(Reason::Conflict, message));
        }
        let mut time = WitnessedTime::clone(&self.time.load());
        let change = time.accept(&reading);
        self.replace(&changing, time, &reading, change.as_ref());
        Ok(match change {
            Some(Change::Ended(dispute, _)) => Some(dispute),
            _ => None,
        })
    }

    fn evaluate(&self) -> Evaluation {
        let reading = Reading {
            wall: self.source.wall(),
            boot: self.source.boot(),
            last_entry: entry_time(self.last_entry.load(Ordering::Relaxed)),
        };
        let evaluation = self.time.load().evaluate(&reading);
        if !evaluation.is_news {
            return evaluation;
        }
        self.observe(|| false);
        self.time.load().evaluate(&self.read())
    }

    fn observe(&self, is_synchronised: impl FnOnce() -> bool) -> Option<Change> {
        let changing = self.change();
        let reading = self.read();
        let mut time = WitnessedTime::clone(&self.time.load());
        let change = time.observe(&reading, is_synchronised());
        self.replace(&changing, time, &reading, change.as_ref());
        change
    }

    fn replace(
        &self,
        _: &MutexGuard<'_, ()>,
        time: WitnessedTime,
        reading: &Reading,
        change: Option<&Change>,
    ) {
        if let Some(Change::Ended(..)) = change {
            // Entries that a wrong clock dated later are no witnesses against the one that is believed now.
            let believed = reading.wall.unix_timestamp();
            self.last_entry.fetch_min(believed, Ordering::Relaxed);
        }
        let dispute = time.dispute().cloned();
        self.time.store(Arc::new(time));
        if let Some(change) = change {
            log(change);
            self.disputes.send_replace(dispute);
        }
    }

    fn read(&self) -> Reading {
        read(self.source.as_ref(), self.last_entry.load(Ordering::Relaxed))
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        // Each change replaces a whole value, so a panic leaves nothing half done.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ServerClock {
    fn now(&self) -> OffsetDateTime {
        self.evaluate().now
    }

    fn dispute(&self) -> Option<Dispute> {
        self.evaluate().dispute
    }

    fn permits_deletion(&self) -> bool {
        self.evaluate().permits_deletion
    }

    fn journal_ends_at(&self, at: OffsetDateTime) {
        let changing = self.change();
        self.last_entry.store(at.unix_timestamp(), Ordering::Relaxed);
        let reading = self.read();
        let time = begin(&reading, self.limits, self.marks);
        let began = time.dispute().cloned().map(Change::Disputed);
        self.replace(&changing, time, &reading, began.as_ref());
    }

    fn entry_written(&self) {
        // Under the lock: an acceptance must not be followed by a time that was read before it.
        let _changing = self.change();
        let evaluation = self.time.load().evaluate(&self.read());
        if evaluation.dispute.is_none() {
            self.last_entry
                .fetch_max(evaluation.now.unix_timestamp(), Ordering::Relaxed);
        }
    }
}

/// Refuses while the time is disputed: for everything that signs, and for what is recorded with it.
///
/// # Errors
/// `CLOCK_IMPLAUSIBLE` with both times.
pub fn require_undisputed(clock: &dyn Clock) -> Result<(), Refusal> {
    match clock.dispute() {
        None => Ok(()),
        Some(dispute) => Err(implausible(&dispute)),
    }
}

/// The refusal during a dispute.
pub fn implausible(dispute: &Dispute) -> Refusal {
    Refusal::new(Reason::ClockImplausible, explanation(dispute))
        .with("found", moment(dispute.wall))
        .with("expected", moment(dispute.expected))
        .retry_after(RETRY)
}

/// What is wrong, what follows, and how it ends.
pub fn explanation(dispute: &Dispute) -> String {
    format!(
        "{dispute}; nothing is signed or deleted until they agree, or the wall clock is steady and synchronised, or \
         `signet server accept-clock` accepts it"
    )
}

fn log(change: &Change) {
    match change {
        Change::Disputed(dispute) => tracing::error!("the time is disputed: {}", explanation(dispute)),
        Change::Ended(dispute, end) => {
            let end = match end {
                End::Agreement => "the clocks agree again",
                End::Synchronised => "the wall clock has been steady, and the kernel calls it synchronised",
                End::Accepted => "an administrator accepted the wall clock",
            };
            tracing::warn!("the time is no longer disputed: {end}; before, {dispute}");
        }
    }
}

fn begin(reading: &Reading, limits: Limits, marks: Option<Marks>) -> WitnessedTime {
    match marks {
        Some(marks) => WitnessedTime::resume(reading, limits, marks),
        None => WitnessedTime::start(reading, limits),
    }
}

/// Both clocks at one instant: a thread that is held up between them reads them again.
fn read(source: &dyn TimeSource, last_entry: i64) -> Reading {
    const APART: Duration = Duration::from_millis(100);
    const ATTEMPTS: usize = 10;
    let last_entry = entry_time(last_entry);
    let mut boot = source.boot();
    for _ in 1..ATTEMPTS {
        let wall = source.wall();
        let after = source.boot();
        if after.saturating_sub(boot) <= APART {
            return Reading {
                wall,
                boot,
                last_entry,
            };
        }
        boot = after;
    }
    Reading {
        wall: source.wall(),
        boot,
        last_entry,
    }
}

/// A time that no calendar has is no witness.
fn entry_time(seconds: i64) -> Option<OffsetDateTime> {
    if seconds == NO_ENTRY {
        return None;
    }
    OffsetDateTime::from_unix_timestamp(seconds).ok()
}

#[cfg(test)]
pub(crate) mod tests;
