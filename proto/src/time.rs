//! Times and durations between `google.protobuf` and `time`.

use std::time::Duration;

use ::time::OffsetDateTime;

/// Parts of a second are kept; a time that no calendar has is `None`.
pub fn timestamp_from_message(at: &prost_types::Timestamp) -> Option<OffsetDateTime> {
    let nanos = u32::try_from(at.nanos).ok()?;
    OffsetDateTime::from_unix_timestamp(at.seconds)
        .ok()?
        .replace_nanosecond(nanos)
        .ok()
}

/// The time as a protobuf timestamp.
pub fn timestamp_to_message(at: OffsetDateTime) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.unix_timestamp(),
        nanos: i32::try_from(at.nanosecond()).expect("below 10^9"),
    }
}

/// Negative durations, and those with parts out of range, are `None`.
pub fn duration_from_message(span: &prost_types::Duration) -> Option<Duration> {
    let nanos = u32::try_from(span.nanos).ok().filter(|n| *n < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(span.seconds).ok()?, nanos))
}

/// The duration as a protobuf duration; above 2^63 seconds it is cut there.
pub fn duration_to_message(span: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).expect("below 10^9"),
    }
}
