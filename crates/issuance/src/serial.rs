//! Serial numbers: 31 bits of seconds since 2020-01-01, then 128 random bits. Twenty octets, positive until 2088, ordered in time
//! for the record's index, and not to be guessed (RFC 5280 section 4.1.2.2).

use identity::Serial;
use ring::error::Unspecified;
use ring::rand::{SecureRandom, SystemRandom};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const EPOCH: OffsetDateTime = datetime!(2020-01-01 00:00 UTC);

/// A fresh serial number for a certificate made now. Fails if the system has no randomness.
pub(crate) fn fresh(now: OffsetDateTime) -> Result<Serial, Unspecified> {
    let seconds = (now - EPOCH).whole_seconds().clamp(0, i64::from(i32::MAX));
    let seconds = u32::try_from(seconds).expect("clamped to 31 bits");
    let mut octets = [0; 20];
    let (time, random) = octets.split_at_mut(4);
    time.copy_from_slice(&seconds.to_be_bytes());
    SystemRandom::new().fill(random)?;
    // All octets zero has the probability 2^-128, and only before 2020.
    Serial::from_bytes(&octets).map_err(|_| Unspecified)
}

/// When a serial number of ours was made, to the second; `None` for one of another form. A certificate's notBefore is earlier.
pub fn made_at(serial: &Serial) -> Option<OffsetDateTime> {
    let (seconds, random) = serial.as_bytes().split_first_chunk()?;
    let seconds = u32::from_be_bytes(*seconds);
    (random.len() == 16).then(|| EPOCH + Duration::seconds(i64::from(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_tells_when_it_was_made() {
        let now = datetime!(2026-01-01 00:00:07 UTC);
        assert_eq!(made_at(&fresh(now).unwrap()), Some(now));
        assert_eq!(made_at(&Serial::from_bytes(&[1, 2, 3, 4, 5]).unwrap()), None);
    }

    #[test]
    fn serials_are_twenty_octets_positive_distinct_and_ordered_in_time() {
        let early = fresh(datetime!(2026-01-01 00:00:00 UTC)).unwrap();
        let late = fresh(datetime!(2026-01-01 00:00:01 UTC)).unwrap();
        assert!(early < late);
        assert_eq!(early.as_bytes().len(), 20);
        assert_ne!(fresh(EPOCH).unwrap(), fresh(EPOCH).unwrap());
        let beyond = fresh(datetime!(2500-01-01 00:00 UTC)).unwrap();
        assert_eq!(beyond.as_bytes()[..4], [0x7f, 0xff, 0xff, 0xff]);
        assert!(fresh(datetime!(1900-01-01 00:00 UTC)).is_ok());
    }
}
