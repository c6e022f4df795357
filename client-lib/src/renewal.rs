//! When a holder acts: pure functions of time and of a random number, so that tests need no clock. The loop
//! around them is the source's.

mod receipt;

use std::time::Duration;

use ring::rand::SecureRandom;

pub use receipt::{ClockSkew, Receipt, Terms};

/// The first pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause that is ours; a server may ask for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Pauses stay under this part of the life, so that short lives get enough attempts before they end.
const PAUSES_PER_LIFE: u32 = 20;
/// The longest pause that a server may ask for.
const MOST_PATIENCE: Duration = Duration::from_secs(600);

/// What the holder of a certificate has to do; see [`Receipt::stage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing.
    Current,
    /// Renew it.
    Due,
    /// It has expired without doubt: enrol with another proof.
    Lapsed,
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
    pub fn for_life(life: Duration) -> Self {
        Self {
            next: FIRST_PAUSE,
            longest: (life / PAUSES_PER_LIFE).clamp(FIRST_PAUSE, LONGEST_PAUSE),
        }
    }

    /// The next pause: half of it fixed, half by `jitter` (0.0 to 1.0). The delay that the server asked for
    /// is kept, plus up to a tenth of it, so that clients that it refused together do not come back together;
    /// but it is no longer than half of what is `left` until the certificate expires, so that there are
    /// attempts before that.
    pub fn pause(&mut self, asked: Option<Duration>, left: Option<Duration>, jitter: f64) -> Duration {
        let jitter = jitter.clamp(0.0, 1.0);
        let own = self.next.mul_f64(0.5 + 0.5 * jitter);
        // Short pauses are for attempts before the certificate expires.
        let has_expired = left == Some(Duration::ZERO);
        let longest = if has_expired { LONGEST_PAUSE } else { self.longest };
        self.next = (self.next * 2).min(longest);
        let asked = asked.unwrap_or_default().min(MOST_PATIENCE);
        let asked = asked.mul_f64(1.0 + 0.1 * jitter);
        match left {
            Some(left) if !left.is_zero() => own.max(asked.min(left / 2)),
            _ => own.max(asked),
        }
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

    #[test]
    fn after_expiry_pauses_grow_to_a_minute_however_short_the_life_was() {
        let mut backoff = Backoff::for_life(Duration::from_secs(1));
        let left = Some(Duration::from_millis(500));
        let before = (0..10).map(|_| backoff.pause(None, left, 1.0)).last().unwrap();
        assert_eq!(before, FIRST_PAUSE);
        let after = (0..10)
            .map(|_| backoff.pause(None, Some(Duration::ZERO), 1.0))
            .last();
        assert_eq!(after, Some(LONGEST_PAUSE));
    }

    #[test]
    fn pauses_double_up_to_a_limit_that_fits_the_life() {
        let mut backoff = Backoff::new();
        let pauses: Vec<u128> = (0..10)
            .map(|_| backoff.pause(None, None, 1.0).as_millis())
            .collect();
        assert_eq!(
            pauses,
            [
                250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000
            ]
        );
        let mut backoff = Backoff::for_life(Duration::from_secs(20));
        let last = (0..10).map(|_| backoff.pause(None, None, 1.0)).last().unwrap();
        assert_eq!(last, Duration::from_secs(1));
        assert_eq!(Backoff::new().pause(None, None, 0.0), FIRST_PAUSE / 2);
    }

    #[test]
    fn what_the_server_asks_for_is_kept_within_reason() {
        let ten = Duration::from_secs(10);
        assert_eq!(Backoff::new().pause(Some(ten), None, 0.0), ten);
        assert_eq!(
            Backoff::new().pause(Some(ten), None, 1.0),
            Duration::from_secs(11)
        );
        assert_eq!(
            Backoff::new().pause(Some(Duration::MAX), None, 0.0),
            MOST_PATIENCE
        );
    }

    #[test]
    fn a_delay_that_the_server_asks_for_leaves_time_for_attempts_before_the_certificate_expires() {
        let (asked, minute) = (Some(Duration::from_secs(600)), Duration::from_secs(60));
        assert_eq!(Backoff::new().pause(asked, Some(minute), 0.0), minute / 2);
        assert_eq!(Backoff::new().pause(asked, Some(minute), 1.0), minute / 2);
        // An expired certificate gives no reason for haste.
        assert_eq!(
            Backoff::new().pause(asked, Some(Duration::ZERO), 0.0),
            MOST_PATIENCE
        );
    }
}
