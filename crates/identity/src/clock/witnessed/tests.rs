//! Every transition of the state machine, with clocks that the test moves.

use time::macros::datetime;

use super::*;

const NOON: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);
const DAY: i64 = 24 * 3600;

/// A machine whose clocks a test sets. Times are in seconds.
struct Machine {
    reading: Reading,
    synchronised: bool,
    time: WitnessedTime,
}

impl Machine {
    fn booted() -> Self {
        Self::started(NOON, None)
    }

    fn started(wall: OffsetDateTime, last_entry: Option<OffsetDateTime>) -> Self {
        let reading = Reading {
            wall,
            boot: Duration::from_secs(1000),
            last_entry,
        };
        Self {
            reading,
            synchronised: false,
            time: WitnessedTime::start(&reading, Limits::default()),
        }
    }

    /// Time passes on both clocks; nothing looks at them meanwhile.
    fn passes(&mut self, seconds: u64) -> &mut Self {
        self.reading.wall += Duration::from_secs(seconds);
        self.reading.boot += Duration::from_secs(seconds);
        self
    }

    /// As `passes`, with an observation each second.
    fn runs(&mut self, seconds: u64) -> Vec<Change> {
        (0..seconds)
            .filter_map(|_| {
                self.passes(1);
                self.observe()
            })
            .collect()
    }

    fn step(&mut self, seconds: i64) -> &mut Self {
        self.reading.wall += time::Duration::seconds(seconds);
        self
    }

    fn observe(&mut self) -> Option<Change> {
        self.time.observe(&self.reading, self.synchronised)
    }

    fn evaluate(&self) -> Evaluation {
        self.time.evaluate(&self.reading)
    }

    fn now(&self) -> OffsetDateTime {
        self.evaluate().now
    }
}

fn witness(change: Option<Change>) -> Witness {
    match change {
        Some(Change::Disputed(dispute)) => dispute.witness,
        other => panic!("{other:?} is no dispute"),
    }
}

fn end(changes: &[Change]) -> End {
    match changes {
        [Change::Ended(_, end)] => *end,
        other => panic!("{other:?} is not one end"),
    }
}

#[test]
fn a_clock_that_runs_is_believed() {
    let mut machine = Machine::booted();
    assert_eq!(machine.runs(3600), []);
    assert_eq!(machine.now(), NOON + Duration::from_secs(3600));
    assert!(machine.evaluate().dispute.is_none());
}

#[test]
fn a_suspended_machine_is_not_disputed_as_the_boot_clock_counts_suspension() {
    let mut machine = Machine::booted();
    machine.runs(10);
    assert_eq!(machine.passes(8 * 3600).observe(), None);
    assert_eq!(machine.now(), machine.reading.wall);
}

#[test]
fn a_step_of_five_minutes_is_believed_and_a_longer_one_is_disputed() {
    for step in [300, -300] {
        let mut machine = Machine::booted();
        machine.step(step);
        assert_eq!(machine.observe(), None);
        assert_eq!(machine.now(), machine.reading.wall);
    }
    for step in [301, -301, 3 * DAY, -3 * DAY] {
        let mut machine = Machine::booted();
        machine.runs(60);
        let before = machine.now();
        let expected = before + Duration::from_secs(7);
        machine.passes(7).step(step);
        let evaluation = machine.evaluate();
        assert!(evaluation.is_news && evaluation.dispute.is_some());
        assert_eq!(evaluation.now, expected, "{step}");
        assert_eq!(
            machine.observe(),
            Some(Change::Disputed(Dispute {
                wall: machine.reading.wall,
                expected,
                witness: Witness::BootClock
            }))
        );
        assert_eq!(machine.observe(), None, "it is news once");
    }
}

#[test]
fn during_a_dispute_time_continues_where_the_last_undisputed_reading_was() {
    let mut machine = Machine::booted();
    // A small step that is believed, and then a large one.
    machine.step(120);
    machine.observe();
    let before = machine.now();
    machine.passes(30).step(3 * DAY);
    machine.observe();
    machine.runs(600);
    assert_eq!(machine.now(), before + Duration::from_secs(630));
}

#[test]
fn small_steps_add_up_until_they_are_disputed() {
    let mut machine = Machine::booted();
    let honest = machine.reading.wall;
    let mut stepped = 0;
    let disputed = (0..100).any(|_| {
        machine.passes(10).step(30);
        stepped += 1;
        machine.observe().is_some()
    });
    assert!(disputed);
    assert!(stepped <= 11, "{stepped} steps of 30 s were believed");
    let true_time = honest + Duration::from_secs(10 * stepped);
    assert!(machine.now() - true_time <= Duration::from_secs(301));
}

#[test]
fn a_rogue_source_of_time_moves_the_clock_by_no_more_than_86_seconds_a_day() {
    let mut machine = Machine::booted();
    let mut gained = 0;
    // As much as is believed, for ten days.
    for _ in 0..10 * 24 * 60 {
        machine.passes(60);
        let mut attempt = machine.time.clone();
        let ahead = Reading {
            wall: machine.reading.wall + Duration::from_secs(1),
            ..machine.reading
        };
        if attempt.observe(&ahead, true).is_none() {
            machine.step(1);
            gained += 1;
        }
        assert_eq!(machine.observe(), None);
    }
    assert!((850..=300 + 870).contains(&gained), "{gained} s");
}

#[test]
fn drift_and_leap_seconds_are_not_disputed_in_a_year() {
    let mut machine = Machine::booted();
    for day in 0..365 {
        machine.passes(24 * 3600).step(40);
        assert_eq!(machine.observe(), None, "day {day}");
    }
}

#[test]
fn a_dispute_ends_when_the_clocks_agree_again() {
    for step in [3 * DAY, -3 * DAY] {
        let mut machine = Machine::booted();
        machine.runs(10);
        machine.step(step);
        assert_eq!(witness(machine.observe()), Witness::BootClock);
        assert_eq!(machine.runs(50), []);
        machine.step(-step);
        let evaluation = machine.evaluate();
        assert!(evaluation.is_news, "a reading alone ends nothing");
        assert!(evaluation.dispute.is_some());
        assert_eq!(end(&machine.runs(1)), End::Agreement);
        assert_eq!(machine.now(), NOON + Duration::from_secs(61));
    }
}

#[test]
fn a_steady_and_synchronised_reading_is_accepted_after_sixty_seconds() {
    let mut machine = Machine::booted();
    machine.synchronised = true;
    machine.step(3 * DAY);
    machine.observe();
    assert_eq!(machine.runs(59), []);
    assert_eq!(end(&machine.runs(1)), End::Synchronised);
    assert_eq!(machine.now(), machine.reading.wall);
    // From here on it is what the boot-time clock is compared with.
    machine.step(-3 * DAY);
    assert_eq!(witness(machine.observe()), Witness::BootClock);
}

#[test]
fn a_steady_reading_that_is_not_synchronised_stays_disputed_until_it_is() {
    let mut machine = Machine::booted();
    machine.step(3 * DAY);
    machine.observe();
    assert_eq!(machine.runs(DAY.unsigned_abs()), []);
    machine.synchronised = true;
    assert_eq!(end(&machine.runs(1)), End::Synchronised);
}

#[test]
fn a_reading_that_is_set_again_has_to_be_steady_anew() {
    let mut machine = Machine::booted();
    machine.synchronised = true;
    machine.step(3 * DAY);
    machine.observe();
    assert_eq!(machine.runs(50), []);
    machine.step(3600);
    assert_eq!(witness(machine.observe()), Witness::BootClock);
    assert_eq!(machine.runs(59), []);
    assert_eq!(end(&machine.runs(1)), End::Synchronised);
}

#[test]
fn a_reading_that_is_slewed_stays_steady() {
    let mut machine = Machine::booted();
    machine.synchronised = true;
    machine.step(3 * DAY);
    machine.observe();
    for _ in 0..59 {
        machine.reading.wall += Duration::from_millis(10);
        assert_eq!(machine.runs(1), []);
    }
    assert_eq!(end(&machine.runs(1)), End::Synchronised);
}

#[test]
fn an_administrator_accepts_the_wall_clock() {
    let mut machine = Machine::booted();
    assert_eq!(machine.time.accept(&machine.reading), None, "there is no dispute");
    machine.step(-3 * DAY);
    machine.observe();
    let accepted = machine.time.accept(&machine.reading);
    assert!(matches!(accepted, Some(Change::Ended(_, End::Accepted))));
    assert_eq!(machine.now(), machine.reading.wall);
    assert_eq!(machine.runs(3600), []);
}

#[test]
fn a_clock_before_the_last_entry_is_disputed_from_the_start_and_the_entry_is_the_earliest_time() {
    let entry = NOON + Duration::from_secs(600);
    let mut machine = Machine::started(NOON, Some(entry));
    let dispute = machine.evaluate().dispute.unwrap();
    assert_eq!((dispute.witness, dispute.expected), (Witness::LastEntry, entry));
    machine.runs(5);
    assert_eq!(machine.now(), entry + Duration::from_secs(5));

    let machine = Machine::started(NOON, Some(NOON + Duration::from_secs(61)));
    assert!(machine.evaluate().dispute.is_some());
    let machine = Machine::started(NOON, Some(NOON + Duration::from_secs(60)));
    assert!(machine.evaluate().dispute.is_none());
    let machine = Machine::started(NOON, Some(NOON - Duration::from_secs(3600)));
    assert!(machine.evaluate().dispute.is_none());
}

#[test]
fn a_machine_that_boots_in_1970_and_is_then_set_is_believed_when_it_is_synchronised() {
    let mut machine = Machine::started(OffsetDateTime::UNIX_EPOCH, Some(NOON));
    assert_eq!(machine.runs(600), [], "time that passes ends nothing");
    let months_later = NOON + Duration::from_secs(100 * 24 * 3600);
    machine.reading.wall = months_later;
    assert_eq!(witness(machine.observe()), Witness::BootClock);
    machine.synchronised = true;
    assert_eq!(machine.runs(59), []);
    assert_eq!(end(&machine.runs(1)), End::Synchronised);
    assert_eq!(machine.now(), months_later + Duration::from_secs(60));
}

#[test]
fn a_clock_that_was_behind_at_a_restart_and_is_corrected_agrees_at_once() {
    let mut machine = Machine::started(NOON - Duration::from_secs(86_400), Some(NOON));
    machine.runs(20);
    // The server was down for ten seconds.
    machine.reading.wall = NOON + Duration::from_secs(30);
    assert_eq!(end(&machine.runs(1)), End::Agreement);
    assert_eq!(machine.now(), machine.reading.wall);
}

#[test]
fn a_clock_that_was_ahead_at_the_start_is_disputed_when_it_is_corrected() {
    let mut machine = Machine::started(NOON + Duration::from_secs(3 * 86_400), Some(NOON));
    assert_eq!(machine.runs(100), []);
    // Entries were written by the wrong clock.
    machine.reading.last_entry = Some(machine.reading.wall);
    machine.step(-3 * DAY);
    assert_eq!(witness(machine.observe()), Witness::BootClock);
    machine.time.accept(&machine.reading);
    // The journal's entry of the acceptance takes the place of those of the wrong time.
    machine.reading.last_entry = Some(machine.reading.wall);
    assert_eq!(machine.runs(100), []);
    assert_eq!(machine.now(), NOON + Duration::from_secs(200));
}

#[test]
fn a_clock_set_back_behind_the_last_entry_is_disputed_though_within_five_minutes() {
    let mut machine = Machine::booted();
    machine.runs(100);
    machine.reading.last_entry = Some(machine.reading.wall);
    machine.step(-60);
    assert_eq!(machine.observe(), None);
    machine.step(-1);
    assert_eq!(witness(machine.observe()), Witness::LastEntry);
    assert_eq!(
        machine.now(),
        NOON + Duration::from_secs(100 - 60),
        "the last agreement's line"
    );
    assert_eq!(
        end(&machine.runs(1)),
        End::Agreement,
        "the entry's time has nearly come"
    );
}

#[test]
fn nothing_may_be_deleted_for_an_hour_after_the_start_and_after_each_dispute() {
    let mut machine = Machine::booted();
    machine.runs(3599);
    assert!(!machine.evaluate().permits_deletion);
    machine.runs(1);
    assert!(machine.evaluate().permits_deletion);

    machine.step(3 * DAY);
    assert!(
        !machine.evaluate().permits_deletion,
        "not even before it is observed"
    );
    machine.observe();
    machine.runs(7200);
    assert!(!machine.evaluate().permits_deletion);
    machine.step(-3 * DAY);
    assert_eq!(end(&machine.runs(1)), End::Agreement);
    machine.runs(3599);
    assert!(!machine.evaluate().permits_deletion);
    machine.runs(1);
    assert!(machine.evaluate().permits_deletion);

    machine.step(-3 * DAY);
    machine.observe();
    machine.time.accept(&machine.reading);
    assert!(!machine.evaluate().permits_deletion);
}

#[test]
fn a_reading_that_arrives_late_moves_nothing_back() {
    let mut machine = Machine::booted();
    let early = machine.reading;
    machine.runs(60);
    let later = machine.now();
    assert_eq!(machine.time.observe(&early, false), None);
    assert_eq!(machine.now(), later);
}

#[test]
fn times_at_the_ends_of_the_calendar_do_not_panic() {
    let far = datetime!(9999-12-31 23:59:59 UTC);
    let mut machine = Machine::started(NOON, Some(far));
    machine.runs(10);
    assert!(machine.now() >= far);
    let mut machine = Machine::started(far, None);
    machine.reading.boot = Duration::MAX;
    machine.observe();
    machine.evaluate();
}

#[test]
fn a_restart_in_the_same_boot_ends_no_dispute_and_one_in_another_boot_begins_anew() {
    let limits = Limits::default();
    let reading = |wall: i64, boot: u64| Reading {
        wall: NOON + time::Duration::seconds(wall),
        boot: Duration::from_secs(boot),
        last_entry: None,
    };
    let before = WitnessedTime::start(&reading(0, 1000), limits);
    let marks = before.marks().unwrap();
    let days = 3 * DAY;

    let mut after = WitnessedTime::resume(&reading(days + 60, 1060), limits, marks);
    let dispute = after.dispute().cloned().unwrap();
    assert_eq!(dispute.witness, Witness::BootClock);
    assert_eq!(dispute.expected, reading(60, 0).wall);
    assert_eq!(after.marks(), Some(marks), "it can be restarted again");
    assert_eq!(
        after.observe(&reading(70, 1070), false),
        Some(Change::Ended(dispute, End::Agreement))
    );

    let agreed = WitnessedTime::resume(&reading(60, 1060), limits, marks);
    assert!(agreed.dispute().is_none());
    let rebooted = WitnessedTime::resume(&reading(days, 30), limits, marks);
    assert!(rebooted.dispute().is_none());
}
