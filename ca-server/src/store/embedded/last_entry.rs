//! When the journal's last entry was written: the time that a wall clock cannot lie before.

use journal::Reader;
use prost::Message;
use time::OffsetDateTime;

use crate::store::entry::{KIND_ENTRY, KIND_SNAPSHOT_END};
use crate::store::error::StoreError;

/// Records that are looked through, newest first, for one with a time. Entries, snapshots and their parts
/// have one each.
const LOOKED_THROUGH: u64 = 64;

/// The field that entries, snapshots and their parts have in common; all others are skipped.
#[derive(Clone, PartialEq, Message)]
struct Dated {
    #[prost(int64, tag = "1")]
    at: i64,
}

/// `None` for a journal without entries.
pub(super) fn time(reader: &Reader) -> Result<Option<OffsetDateTime>, StoreError> {
    let head = reader.head().position;
    for position in (1..=head)
        .rev()
        .zip(0..LOOKED_THROUGH)
        .map(|(position, _)| position)
    {
        let Some(stored) = reader.read(position)? else {
            continue;
        };
        if !(KIND_ENTRY..=KIND_SNAPSHOT_END).contains(&stored.kind) {
            continue;
        }
        let dated = Dated::decode(stored.payload.as_slice()).map_err(|error| StoreError::Entry {
            position,
            why: error.to_string(),
        })?;
        if dated.at > 0 {
            return Ok(OffsetDateTime::from_unix_timestamp(dated.at).ok());
        }
    }
    Ok(None)
}
