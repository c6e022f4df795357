//! Durations as files and commands write them: `90s`, `10m`, `24h`, `90d`, `10y`, also joined (`1h30m`); a year has 365 days.

use std::time::Duration;

const UNITS: [(char, u64); 5] = [
    ('y', 365 * 86_400),
    ('d', 86_400),
    ('h', 3_600),
    ('m', 60),
    ('s', 1),
];

/// A text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is not a duration, expected a whole number with a unit, such as 90s, 10m, 24h, 90d or 10y"
)]
pub struct DurationError {
    found: String,
}

/// Parses a duration; every number needs a unit, units stand in falling order, a bare `0` is zero.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let wrong = || DurationError {
        found: text.chars().take(100).collect(),
    };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut seconds, mut rest, mut allowed) = (0_u64, text, &UNITS[..]);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = rest[digits..].chars().next().ok_or_else(wrong)?;
        let at = allowed
            .iter()
            .position(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        seconds = number
            .checked_mul(allowed[at].1)
            .and_then(|s| seconds.checked_add(s))
            .ok_or_else(wrong)?;
        allowed = &allowed[at + 1..];
        rest = &rest[digits + unit.len_utf8()..];
    }
    // Wider than any calendar computation needs, narrow enough that adding it to a date cannot overflow.
    const LONGEST_SECONDS: u64 = 1_000 * 365 * 86_400;
    if text.is_empty() || seconds > LONGEST_SECONDS {
        return Err(wrong());
    }
    Ok(Duration::from_secs(seconds))
}

/// Prints the largest unit that divides the duration: 3600 s is `1h`, 90 s is `90s`. Parts of a second are dropped.
pub fn print(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (unit, size) = UNITS
        .iter()
        .find(|(_, size)| seconds >= *size && seconds.is_multiple_of(*size))
        .unwrap_or(&('s', 1));
    format!("{}{unit}", seconds / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_alone_and_joined() {
        for (text, seconds) in [
            ("90s", 90),
            ("10m", 600),
            ("24h", 86_400),
            ("1h30m", 5_400),
            ("10y", 315_360_000),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_has_no_unit_or_no_meaning_is_refused() {
        for bad in [
            "",
            "90",
            "s",
            "1.5h",
            "-1s",
            "1h1h",
            "1s1h",
            "1w",
            "99999999999999999999s",
            "18446744073709551615y",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn printing_and_parsing_again_is_identity() {
        for seconds in [1, 59, 60, 90, 3_600, 86_400, 31_536_000, 31_536_001] {
            let duration = Duration::from_secs(seconds);
            assert_eq!(parse(&print(duration)), Ok(duration));
        }
    }
}
