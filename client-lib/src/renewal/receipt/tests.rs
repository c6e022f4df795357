//! One receipt: when its certificate is due, expires, and may be used, with clocks that are right and wrong.

use time::macros::datetime;

use super::*;

const ISSUED: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);
const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

fn terms(life: Duration) -> Terms {
    Terms {
        validity: Validity::starting(ISSUED, life).unwrap(),
        renew_after: None,
        clipped: false,
        requested: None,
    }
}

fn reading(wall: OffsetDateTime, since_boot: Duration) -> Reading {
    Reading {
        wall,
        boot: BootTime::of("boot", since_boot),
    }
}

/// Received by a machine that has run for a day and whose clock is `ahead` of the CA's.
fn received(terms: &Terms, ahead: time::Duration) -> Receipt {
    Receipt::new(terms, reading(ISSUED + ahead, 24 * HOUR), Duration::ZERO)
}

fn after(receipt: &Receipt, passed: Duration) -> Reading {
    reading(receipt.at.wall + passed, receipt.at.boot.since_boot() + passed)
}

#[test]
fn renewal_is_half_a_life_after_receipt_or_up_to_a_tenth_earlier() {
    for seconds in [10, 60, 600, 3_600, 86_400] {
        let life = Duration::from_secs(seconds);
        let receipt = received(&terms(life), time::Duration::ZERO);
        assert_eq!(receipt.life(), life);
        assert_eq!(receipt.renew_in(0.0), life / 2);
        assert_eq!(receipt.renew_in(1.0), life.mul_f64(0.45));
        assert_eq!(receipt.renew_in(7.0), receipt.renew_in(1.0));
        assert_eq!(receipt.ca_time(), ISSUED);
        let early = after(&receipt, life / 2 - Duration::from_millis(1));
        assert_eq!(receipt.stage(life / 2, &early), Stage::Current);
        let due = after(&receipt, life / 2);
        assert_eq!(receipt.stage(life / 2, &due), Stage::Due);
        assert_eq!(receipt.due_at(life / 2, &early), receipt.at.wall + life / 2);
        let late = after(&receipt, life + Duration::from_millis(1));
        assert_eq!(receipt.stage(life / 2, &late), Stage::Lapsed);
        assert_eq!(receipt.left(&late), Some(Duration::ZERO));
    }
}

#[test]
fn the_ca_may_ask_for_another_time_within_bounds() {
    for (share, expected) in [(0.25, 0.25), (0.7, 0.7), (0.99, 0.8), (10.0, 0.8), (-10.0, 0.1)] {
        let mut terms = terms(HOUR);
        terms.renew_after = Some(terms.validity.at(share));
        let renew_in = received(&terms, time::Duration::ZERO).renew_in(0.0);
        let difference = (renew_in.as_secs_f64() - 3_600.0 * expected).abs();
        assert!(difference < 1.0, "{share}: {renew_in:?}");
    }
}

#[test]
fn of_a_certificate_clipped_to_its_authority_no_more_is_expected_than_it_has() {
    let ten = Duration::from_secs(10);
    for requested in [Some(HOUR), None] {
        let terms = Terms {
            validity: Validity::new(terms(HOUR).validity.not_before(), ISSUED + ten).unwrap(),
            // The middle of its validity has passed already.
            renew_after: Some(ISSUED - Duration::from_secs(25)),
            clipped: true,
            requested,
        };
        let receipt = received(&terms, time::Duration::ZERO);
        assert_eq!((receipt.life(), receipt.renew_in(0.0)), (ten, ten));
    }
}

#[test]
fn near_the_end_of_the_authority_few_certificates_are_renewed_for_nothing() {
    // An hour was requested, and the authority ends in 59 minutes.
    let end = ISSUED + 59 * MINUTE;
    let (mut now, mut renewals) = (ISSUED, 0);
    while now < end {
        let terms = Terms {
            validity: Validity::new(now - MINUTE, end).unwrap(),
            renew_after: None,
            clipped: true,
            requested: Some(HOUR),
        };
        let receipt = Receipt::new(&terms, reading(now, 24 * HOUR), Duration::ZERO);
        now += receipt.renew_in(1.0).max(Duration::from_millis(1));
        renewals += 1;
        assert!(receipt.renew_in(1.0) >= Duration::from_secs(9).min(receipt.life().mul_f64(0.8)));
    }
    assert!(renewals <= 6, "{renewals}");
}

#[test]
fn a_repeated_answer_is_as_old_as_the_known_clock_of_the_ca_says_and_no_older_than_its_key() {
    let terms = terms(HOUR);
    let before = received(&terms, time::Duration::days(2));
    let now = after(&before, 40 * MINUTE);
    let age = |known, asked| Receipt::age(&terms, known, asked, &now);
    assert_eq!(age(Some(&before), HOUR), 40 * MINUTE);
    assert_eq!(age(Some(&before), MINUTE), MINUTE);
    assert_eq!(age(None, MINUTE), MINUTE, "a wrong wall clock is bounded");
    let late = Receipt::new(&terms, now.clone(), 40 * MINUTE);
    assert_eq!(late.life(), 20 * MINUTE);
    assert_eq!(late.renew_in(0.0), 2 * MINUTE, "the floor");
    assert_eq!(late.ca_time_at(&now), ISSUED + 40 * MINUTE);
}

#[test]
fn the_wall_clock_is_followed_once_when_it_moves_by_more_than_the_life() {
    let receipt = received(&terms(HOUR), time::Duration::ZERO);
    let half = HOUR / 2;
    let jumped = |passed, jump| {
        let now = after(&receipt, passed);
        Reading {
            wall: now.wall + jump,
            ..now
        }
    };
    let week = 7 * MINUTE;
    let two_days = time::Duration::days(2);
    assert_eq!(
        receipt.stage(half, &jumped(week, time::Duration::minutes(35))),
        Stage::Current
    );
    assert_eq!(receipt.stage(half, &jumped(week, -two_days)), Stage::Current);
    let now = jumped(week, two_days);
    assert_eq!(receipt.stage(half, &now), Stage::Due);
    let renewed = Receipt::new(&terms(HOUR), now, Duration::ZERO);
    assert_eq!(renewed.stage(half, &after(&renewed, 29 * MINUTE)), Stage::Current);
    let soon = jumped(5 * MINUTE, two_days);
    assert_eq!(receipt.stage(half, &soon), Stage::Current, "before the floor");
    assert!(!receipt.permits_success(&soon));
}

#[test]
fn after_a_reboot_the_wall_clock_is_compared_with_itself() {
    let receipt = received(&terms(HOUR), time::Duration::days(-2));
    let validity = terms(HOUR).validity;
    let rebooted = |passed: time::Duration| Reading {
        wall: receipt.at.wall + passed,
        boot: BootTime::of("next boot", MINUTE),
    };
    for (minutes, stage, in_force) in [
        (29, Stage::Current, true),
        (31, Stage::Due, true),
        (61, Stage::Due, false),
        (-1, Stage::Due, false),
    ] {
        let now = rebooted(time::Duration::minutes(minutes));
        assert_eq!(receipt.stage(HOUR / 2, &now), stage, "{minutes}");
        assert_eq!(receipt.is_in_force(validity, &now), in_force, "{minutes}");
    }
    let back = rebooted(time::Duration::minutes(-1));
    assert_eq!(receipt.left(&back), None);
    assert!(receipt.permits_success(&back));
}

#[test]
fn a_certificate_of_unknown_receipt_is_due_at_half_its_life_by_the_wall_clock() {
    let receipt = Receipt::assumed(terms(HOUR).validity);
    let at = |minutes| reading(ISSUED + time::Duration::minutes(minutes), HOUR);
    assert_eq!(receipt.stage(HOUR / 2, &at(29)), Stage::Current);
    assert_eq!(receipt.stage(HOUR / 2, &at(30)), Stage::Due);
    assert_eq!(receipt.stage(HOUR / 2, &at(90)), Stage::Due, "the CA decides");
    assert_eq!(receipt.stage(HOUR / 2, &at(-90)), Stage::Due, "the CA decides");
}

#[test]
fn a_wrong_clock_is_reported_with_both_times() {
    let skewed = |ahead, life| {
        let receipt = received(&terms(life), ahead);
        receipt.clock_skew(terms(life).validity, &receipt.at)
    };
    assert_eq!(skewed(time::Duration::minutes(1), HOUR), None);
    let skew = skewed(time::Duration::days(3), HOUR).unwrap().to_string();
    for expected in ["2026-01-04T12:00:00Z", "2026-01-01T12:00:00Z"] {
        assert!(skew.contains(expected), "{skew}");
    }
    assert!(skewed(time::Duration::days(-3), HOUR).is_some());
    let receipt = received(&terms(HOUR), time::Duration::ZERO);
    let mut now = after(&receipt, 10 * MINUTE);
    assert_eq!(receipt.clock_skew(terms(HOUR).validity, &now), None);
    now.wall += time::Duration::days(3);
    let skew = receipt.clock_skew(terms(HOUR).validity, &now).unwrap();
    assert_eq!(skew.ca, ISSUED + 10 * MINUTE, "it jumped since");
    assert!(skewed(time::Duration::seconds(30), Duration::from_secs(10)).is_some());
}

#[test]
fn absurd_values_do_not_panic() {
    let far = Terms {
        validity: Validity::new(datetime!(0000-01-01 0:00 UTC), datetime!(9999-12-31 0:00 UTC)).unwrap(),
        renew_after: Some(datetime!(9999-12-31 0:00 UTC)),
        clipped: false,
        requested: Some(Duration::MAX),
    };
    let receipt = received(&far, time::Duration::ZERO);
    let now = reading(datetime!(9999-01-01 0:00 UTC), Duration::MAX);
    let odd = Receipt::recorded(now.clone(), receipt.ca_time(), Duration::MAX, Duration::MAX);
    for receipt in [receipt, odd] {
        for now in [
            &now,
            &reading(ISSUED, HOUR),
            &after(&received(&far, time::Duration::ZERO), HOUR),
        ] {
            receipt.stage(receipt.renew_in(0.5), now);
            receipt.ca_time_at(now);
            receipt.due_at(receipt.renew_in(0.5), now);
            receipt.left(now);
        }
    }
}
