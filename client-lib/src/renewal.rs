//! When a holder acts: pure functions of time and of a random number, so that tests need no clock. The loop around them is the
//! source's.

use std::time::Duration;

use identity::Validity;
use ring::rand::SecureRandom;
use time::OffsetDateTime;

/// How much earlier than the middle of the life a holder may renew: a tenth of the way there.
const EARLIEST: f64 = 0.1;
/// The first pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause that is ours; a server may ask for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Pauses stay under this part of the life, so that short lives get enough attempts before they end.
const PAUSES_PER_LIFE: u32 = 20;
/// The longest pause that a server may ask for.
const MOST_PATIENCE: Duration = Duration::from_secs(600);

/// Where a holder stands with its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// In use, nothing to do.
    Current,
    /// In use, and time to renew.
    Due,
    /// Ended: only a proof of another kind helps.
    Lapsed,
}

/// When to renew: the middle of the life, or up to a tenth of the way earlier as `jitter` goes from 0.0 to 1.0, so that
/// certificates issued together do not come back together.
pub fn renew_at(validity: Validity, jitter: f64) -> OffsetDateTime {
    validity.at(0.5 * (1.0 - EARLIEST * jitter.clamp(0.0, 1.0)))
}

/// Where the holder of a certificate stands that is to be renewed at `renew_at`.
pub fn stage(validity: Validity, renew_at: OffsetDateTime, now: OffsetDateTime) -> Stage {
    if now > validity.not_after() {
        Stage::Lapsed
    } else if now >= renew_at {
        Stage::Due
    } else {
        Stage::Current
    }
}

/// Growing pauses between attempts.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// Pauses of 250 ms, doubled each time, up to 60 s.
    pub fn new() -> Self {
        Self {
            next: FIRST_PAUSE,
            longest: LONGEST_PAUSE,
        }
    }

    /// The same, and no pause longer than a twentieth of this life.
    pub fn for_life(validity: Validity) -> Self {
        let life = validity.not_after() - validity.not_before();
        let life = Duration::try_from(life).unwrap_or(Duration::ZERO);
        Self {
            next: FIRST_PAUSE,
            longest: (life / PAUSES_PER_LIFE).clamp(FIRST_PAUSE, LONGEST_PAUSE),
        }
    }

    /// The next pause: half of it fixed, half by `jitter` (0.0 to 1.0). What the server asked for is kept, plus up to a tenth of
    /// it, so that those it sent away together do not come back together.
    pub fn pause(&mut self, asked: Option<Duration>, jitter: f64) -> Duration {
        let jitter = jitter.clamp(0.0, 1.0);
        let own = self.next.mul_f64(0.5 + 0.5 * jitter);
        self.next = (self.next * 2).min(self.longest);
        let asked = asked.unwrap_or_default().min(MOST_PATIENCE);
        own.max(asked.mul_f64(1.0 + 0.1 * jitter))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

/// A random number from 0.0 to 1.0; 0.5 if the system has none to give.
pub fn jitter() -> f64 {
    let mut bytes = [0; 4];
    match ring::rand::SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn hour() -> Validity {
        Validity::new(datetime!(2026-01-01 12:00 UTC), datetime!(2026-01-01 13:00 UTC)).unwrap()
    }

    #[test]
    fn renewal_is_at_the_middle_or_up_to_a_tenth_earlier() {
        assert_eq!(renew_at(hour(), 0.0), datetime!(2026-01-01 12:30 UTC));
        assert_eq!(renew_at(hour(), 1.0), datetime!(2026-01-01 12:27 UTC));
        assert_eq!(renew_at(hour(), 7.0), renew_at(hour(), 1.0));
        let mid = renew_at(hour(), jitter());
        assert!(renew_at(hour(), 1.0) <= mid && mid <= renew_at(hour(), 0.0));
    }

    #[test]
    fn the_stage_follows_from_the_time_alone() {
        let at = renew_at(hour(), 0.0);
        for (now, expected) in [
            (datetime!(2026-01-01 12:29:59 UTC), Stage::Current),
            (datetime!(2026-01-01 12:30 UTC), Stage::Due),
            (datetime!(2026-01-01 13:00 UTC), Stage::Due),
            (datetime!(2026-01-01 13:00:01 UTC), Stage::Lapsed),
        ] {
            assert_eq!(stage(hour(), at, now), expected, "{now}");
        }
    }

    #[test]
    fn pauses_double_up_to_a_limit_that_fits_the_life() {
        let mut backoff = Backoff::new();
        let pauses: Vec<u128> = (0..10).map(|_| backoff.pause(None, 1.0).as_millis()).collect();
        assert_eq!(
            pauses,
            [
                250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000
            ]
        );
        let short = Validity::new(
            datetime!(2026-01-01 12:00 UTC),
            datetime!(2026-01-01 12:00:20 UTC),
        )
        .unwrap();
        let mut backoff = Backoff::for_life(short);
        let last = (0..10).map(|_| backoff.pause(None, 1.0)).last().unwrap();
        assert_eq!(last, Duration::from_secs(1));
        assert_eq!(Backoff::new().pause(None, 0.0), FIRST_PAUSE / 2);
    }

    #[test]
    fn what_the_server_asks_for_is_kept_within_reason() {
        let ten = Duration::from_secs(10);
        assert_eq!(Backoff::new().pause(Some(ten), 0.0), ten);
        assert_eq!(Backoff::new().pause(Some(ten), 1.0), Duration::from_secs(11));
        assert_eq!(Backoff::new().pause(Some(Duration::MAX), 0.0), MOST_PATIENCE);
    }
}
