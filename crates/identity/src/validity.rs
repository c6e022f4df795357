//! The span in which a certificate counts, and when its holder should ask for the next one.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Longest back-date of notBefore; a life under ten minutes is back-dated by a tenth of itself. Clients renew in the middle of
/// notBefore..notAfter, so a fixed back-date would make short lives loop.
pub const MAX_BACKDATE: Duration = Duration::from_secs(60);

/// notBefore and notAfter (RFC 5280 section 4.1.2.5), whole seconds in UTC, the former before the latter. Both ends count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

/// A moment for people and programs: RFC 3339, whole seconds.
pub fn moment(at: OffsetDateTime) -> String {
    // Only years beyond four digits have no such form; no certificate has one (RFC 5280 section 4.1.2.5).
    whole_seconds(at)
        .format(&Rfc3339)
        .unwrap_or_else(|_| at.to_string())
}

/// An end that is not after its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("validity ends at {}, expected an end after its beginning {}", moment(*not_after), moment(*not_before))]
pub struct ValidityError {
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

impl Validity {
    /// Checks that the end lies after the beginning; parts of a second are dropped.
    pub fn new(not_before: OffsetDateTime, not_after: OffsetDateTime) -> Result<Self, ValidityError> {
        let (not_before, not_after) = (whole_seconds(not_before), whole_seconds(not_after));
        if not_before < not_after {
            Ok(Self {
                not_before,
                not_after,
            })
        } else {
            Err(ValidityError {
                not_before,
                not_after,
            })
        }
    }

    /// The validity of a certificate issued now: notBefore = now - min(60 s, life / 10), notAfter = now + life.
    pub fn starting(now: OffsetDateTime, life: Duration) -> Result<Self, ValidityError> {
        let backdate = MAX_BACKDATE.min(life / 10);
        Self::new(now - backdate, now + life)
    }

    /// First second in which the certificate counts.
    pub fn not_before(&self) -> OffsetDateTime {
        self.not_before
    }

    /// Last second in which the certificate counts.
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// The moment at which `part` (0.0 to 1.0) of the validity has passed.
    pub fn at(&self, part: f64) -> OffsetDateTime {
        self.not_before + (self.not_after - self.not_before) * part
    }

    /// The middle: when a holder renews.
    pub fn middle(&self) -> OffsetDateTime {
        self.at(0.5)
    }

    /// Whether it has begun and not ended.
    pub fn contains(&self, now: OffsetDateTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// The part that lies within both; `None` if there is none.
    pub fn intersection(&self, other: Self) -> Option<Self> {
        Self::new(
            self.not_before.max(other.not_before),
            self.not_after.min(other.not_after),
        )
        .ok()
    }
}

fn whole_seconds(at: OffsetDateTime) -> OffsetDateTime {
    at.replace_nanosecond(0)
        .expect("zero nanoseconds exist in every second")
        .to_offset(time::UtcOffset::UTC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-01-01 12:00:00.7 UTC);

    #[test]
    fn the_back_date_is_a_tenth_of_the_life_and_at_most_a_minute() {
        let short = Validity::starting(NOW, Duration::from_secs(20)).unwrap();
        assert_eq!(short.not_before(), datetime!(2026-01-01 11:59:58 UTC));
        assert_eq!(short.not_after(), datetime!(2026-01-01 12:00:20 UTC));
        let long = Validity::starting(NOW, Duration::from_secs(86_400)).unwrap();
        assert_eq!(long.not_before(), datetime!(2026-01-01 11:59:00 UTC));
    }

    #[test]
    fn a_moment_is_told_in_whole_seconds_of_utc() {
        assert_eq!(moment(NOW), "2026-01-01T12:00:00Z");
        assert_eq!(moment(datetime!(2026-01-01 13:00 +1)), "2026-01-01T12:00:00Z");
    }

    #[test]
    fn the_middle_of_a_short_life_lies_ahead() {
        let validity = Validity::starting(NOW, Duration::from_secs(10)).unwrap();
        assert!(validity.middle() > NOW);
    }

    #[test]
    fn an_intersection_lies_within_both() {
        let validity = Validity::starting(NOW, Duration::from_secs(3600)).unwrap();
        let later = Validity::starting(NOW + Duration::from_secs(600), Duration::from_secs(9999)).unwrap();
        let both = validity.intersection(later).unwrap();
        assert_eq!(
            (both.not_before(), both.not_after()),
            (later.not_before(), validity.not_after())
        );
        assert_eq!(later.intersection(validity), Some(both));
        let after = Validity::starting(NOW + Duration::from_secs(4000), Duration::from_secs(10)).unwrap();
        assert_eq!(validity.intersection(after), None);
        assert!(Validity::new(NOW, NOW).is_err());
    }
}
