//! A thousand clients for a day: some clocks are wrong from the start, some jump, some machines sleep or
//! reboot. The CA issues as many certificates as to clients whose clocks are right.

use time::macros::datetime;

use super::*;

const START: OffsetDateTime = datetime!(2026-01-01 0:00 UTC);
const DAY: u64 = 86_400;
const STEP: u64 = 60;
const CLIENTS: u64 = 1_000;

/// Numbers that look random and are the same in each run (Knuth's constants for MMIX).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// From -2 to +2 days.
    fn offset(&mut self) -> time::Duration {
        let seconds = i64::try_from(self.below(4 * DAY)).unwrap() - i64::try_from(2 * DAY).unwrap();
        time::Duration::seconds(seconds)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Machine {
    Steady,
    /// Its wall clock is set at a random time, and set right later.
    Jumping,
    /// Sleeps for half an hour at noon.
    Sleeping,
    /// Reboots each hour.
    Rebooting,
}

#[derive(Default)]
struct Outcome {
    renewals: u64,
    /// Seconds by the CA's clock for which an expired certificate was held.
    expired: u64,
    /// How often the wall clock was set forward by more than the life.
    leaps: u64,
}

fn certificate(now: u64, life: u64) -> Terms {
    let issued = START + Duration::from_secs(now);
    Terms {
        validity: Validity::starting(issued, Duration::from_secs(life)).unwrap(),
        renew_after: None,
        clipped: false,
        requested: None,
    }
}

fn simulate(life: u64, machine: Machine, mut offset: time::Duration, numbers: &mut Numbers) -> Outcome {
    let mut outcome = Outcome::default();
    let half_day = DAY / 2 / STEP;
    let (set_at, right_at) = (
        STEP * numbers.below(half_day),
        STEP * (half_day + numbers.below(half_day)),
    );
    let reading = |now: u64, offset: time::Duration, boot: u64| Reading {
        wall: START + Duration::from_secs(now) + offset,
        boot: BootTime::of(&format!("boot {boot}"), Duration::from_secs(1_000_000 + now)),
    };
    let (mut now, mut boot) = (0, 0);
    let mut terms = certificate(now, life);
    let mut receipt = Receipt::new(&terms, reading(now, offset, boot), Duration::ZERO);
    while now < DAY {
        now += STEP;
        let before = offset;
        match machine {
            Machine::Jumping if now == set_at => offset = numbers.offset(),
            Machine::Jumping if now == right_at => offset = time::Duration::ZERO,
            Machine::Sleeping if now == DAY / 2 => now += 1_800,
            Machine::Rebooting if now.is_multiple_of(3_600) => boot += 1,
            _ => {}
        }
        outcome.leaps += u64::from(offset - before > Duration::from_secs(life));
        let late = START + Duration::from_secs(now) - terms.validity.not_after();
        outcome.expired = outcome
            .expired
            .max(u64::try_from(late.whole_seconds()).unwrap_or(0));
        let at = reading(now, offset, boot);
        if receipt.stage(receipt.renew_in(0.0), &at) != Stage::Current {
            outcome.renewals += 1;
            terms = certificate(now, life);
            receipt = Receipt::new(&terms, at, Duration::ZERO);
        }
    }
    outcome
}

#[test]
fn a_thousand_clients_with_wrong_clocks_cost_the_ca_no_more_renewals_than_as_many_with_right_ones() {
    use Machine::{Jumping, Rebooting, Sleeping, Steady};
    let mut numbers = Numbers(1);
    for life in [600, 3_600] {
        let right = simulate(life, Steady, time::Duration::ZERO, &mut numbers);
        assert_eq!((right.renewals, right.expired), (DAY / (life / 2), 0));
        for client in 0..CLIENTS {
            let machine = [Steady, Jumping, Sleeping, Rebooting][usize::try_from(client % 4).unwrap()];
            let offset = numbers.offset();
            let wrong = simulate(life, machine, offset, &mut numbers);
            if machine != Sleeping {
                assert_eq!(wrong.expired, 0, "client {client} held an expired certificate");
            }
            match machine {
                Steady | Rebooting => assert_eq!(wrong.renewals, right.renewals, "client {client}"),
                // A leap may be time for which the machine was stopped, so the CA is asked, once.
                Jumping => assert!(wrong.renewals <= right.renewals + wrong.leaps, "client {client}"),
                Sleeping => assert!(wrong.renewals <= right.renewals, "client {client}"),
            }
        }
    }
}

#[test]
fn as_an_authority_expires_its_last_certificates_are_renewed_a_few_times_each() {
    const LIFE: u64 = 3_600;
    let end = START + Duration::from_secs(LIFE);
    for ahead in [-2, 0, 2].map(time::Duration::days) {
        let (mut now, mut renewals) = (0_u64, 0);
        // Under ten seconds nothing is issued.
        while now + 10 <= LIFE {
            let issued = START + Duration::from_secs(now);
            let validity = Validity::starting(issued, Duration::from_secs(LIFE)).unwrap();
            let clipped = Validity::new(validity.not_before(), end.min(validity.not_after())).unwrap();
            let terms = Terms {
                validity: clipped,
                renew_after: Some(clipped.middle()),
                clipped: now > 0,
                requested: None,
            };
            let at = Reading {
                wall: issued + ahead,
                boot: BootTime::of("boot", Duration::from_secs(now)),
            };
            let receipt = Receipt::new(&terms, at, Duration::ZERO);
            now += receipt.renew_in(1.0).as_secs() + 1;
            assert!(now <= LIFE, "renewed after it expired");
            renewals += 1;
        }
        assert!(renewals < 15, "{renewals}");
    }
}
