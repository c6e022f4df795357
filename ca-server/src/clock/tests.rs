//! The shared clock: what threads see of disputes, of entries and of acceptance.

use identity::Witness;
use time::macros::datetime;

use super::*;

const NOON: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);
const DAY: i64 = 24 * 3600;

/// The clocks of a machine that a test sets.
#[derive(Debug)]
pub(crate) struct ManualTime(Mutex<(OffsetDateTime, Duration, bool)>);

impl ManualTime {
    pub(crate) fn new(wall: OffsetDateTime) -> Arc<Self> {
        Arc::new(Self(Mutex::new((wall, Duration::from_secs(1000), false))))
    }

    /// Time passes on both clocks.
    pub(crate) fn pass(&self, seconds: u64) {
        let mut clocks = self.0.lock().unwrap();
        clocks.0 += Duration::from_secs(seconds);
        clocks.1 += Duration::from_secs(seconds);
    }

    /// The wall clock is set.
    pub(crate) fn step(&self, seconds: i64) {
        self.0.lock().unwrap().0 += time::Duration::seconds(seconds);
    }

    fn synchronise(&self) {
        self.0.lock().unwrap().2 = true;
    }
}

impl TimeSource for Arc<ManualTime> {
    fn wall(&self) -> OffsetDateTime {
        self.0.lock().unwrap().0
    }

    fn boot(&self) -> Duration {
        self.0.lock().unwrap().1
    }

    fn is_synchronised(&self) -> bool {
        self.0.lock().unwrap().2
    }
}

fn machine() -> (Arc<ManualTime>, ServerClock) {
    let time = ManualTime::new(NOON);
    let clock = ServerClock::new(Box::new(Arc::clone(&time)), Limits::default());
    (time, clock)
}

#[test]
fn a_dispute_begins_with_the_reading_that_shows_it() {
    let (time, clock) = machine();
    let disputes = clock.disputes();
    time.step(3 * DAY);
    assert_eq!(clock.now(), NOON);
    assert!(disputes.borrow().is_some());
    assert_eq!(clock.dispute().unwrap().witness, Witness::BootClock);
    let refusal = require_undisputed(&clock).unwrap_err();
    assert_eq!(refusal.reason(), Reason::ClockImplausible);
    for part in ["2026-01-04T12:00:00Z", "2026-01-01T12:00:00Z", "accept-clock"] {
        assert!(refusal.message().contains(part), "{}", refusal.message());
    }
}

#[test]
fn a_jump_that_a_request_saw_counts_though_no_comparison_saw_it() {
    let (time, clock) = machine();
    time.pass(7200);
    clock.compare();
    assert!(clock.permits_deletion());
    time.step(3 * DAY);
    clock.now();
    time.step(-3 * DAY);
    assert_eq!(clock.now(), NOON + Duration::from_secs(7200));
    assert!(clock.dispute().is_none());
    assert!(!clock.permits_deletion(), "the hour begins anew");
}

#[test]
fn the_kernels_word_ends_a_dispute_by_comparisons_alone() {
    let (time, clock) = machine();
    time.step(3 * DAY);
    clock.compare();
    time.synchronise();
    for _ in 0..59 {
        time.pass(1);
        assert_eq!(clock.compare(), None);
        assert!(clock.dispute().is_some());
    }
    time.pass(1);
    assert!(matches!(
        clock.compare(),
        Some(Change::Ended(_, End::Synchronised))
    ));
    assert_eq!(clock.now(), NOON + Duration::from_secs(60 + 3 * 86_400));
}

#[test]
fn the_last_entry_disputes_a_clock_that_lies_before_it() {
    let (time, clock) = machine();
    clock.journal_ends_at(NOON + Duration::from_secs(86_400));
    let dispute = clock.dispute().unwrap();
    assert_eq!(dispute.witness, Witness::LastEntry);
    time.pass(10);
    assert_eq!(clock.now(), NOON + Duration::from_secs(86_410));
    // What is written now does not make the wall clock more wrong than it is.
    clock.entry_written();
    time.step(DAY);
    assert!(clock.dispute().is_none());
}

#[test]
fn an_entry_of_a_running_server_is_a_witness() {
    let (time, clock) = machine();
    time.pass(100);
    clock.entry_written();
    time.step(-61);
    assert_eq!(clock.dispute().unwrap().witness, Witness::LastEntry);
}

#[test]
fn an_accepted_clock_is_not_disputed_again_by_entries_of_the_wrong_time() {
    let (time, clock) = machine();
    clock.entry_written();
    time.step(-3 * DAY);
    assert!(clock.dispute().is_some());
    let sample = clock.sample();
    time.pass(5);
    // The entry of the acceptance itself.
    clock.entry_written();
    assert!(clock.accept(sample).unwrap().is_some());
    assert!(clock.dispute().is_none());
    assert_eq!(clock.now(), NOON - Duration::from_secs(3 * 86_400 - 5));
    time.pass(3600);
    clock.compare();
    assert!(clock.dispute().is_none() && clock.permits_deletion());
    assert!(
        clock.accept(clock.sample()).unwrap().is_none(),
        "there is no dispute"
    );
}

#[test]
fn a_clock_that_is_set_before_its_sample_is_accepted_is_refused() {
    let (time, clock) = machine();
    time.step(3 * DAY);
    let sample = clock.sample();
    time.step(DAY);
    assert_eq!(clock.accept(sample).unwrap_err().reason(), Reason::Conflict);
    assert!(clock.dispute().is_some());
}
