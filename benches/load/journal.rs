//! The record of a server that has stopped, against what its callers were given.

use std::collections::BTreeSet;
use std::fs;

use ca_server::store::Entry;
use ca_server::store::entry::KIND_ENTRY;
use identity::Serial;
use journal::{Journal, Options};
use prost::Message;
use tempfile::TempDir;

use super::Error;

/// Every answer stands in the record, every renewal of the record was an answer, and no serial number is there twice.
pub(crate) fn compare(folder: &TempDir, answers: &BTreeSet<Serial>, given: usize) -> Result<(), Error> {
    if answers.len() != given {
        return Err(format!("{given} answers with {} distinct serial numbers", answers.len()).into());
    }
    let data = folder.path().join("data");
    let options = Options::new(fs::read(data.join("keys/journal.key"))?);
    let opened = Journal::open(&data.join("journal"), options)?;
    let mut recorded = BTreeSet::new();
    for stored in opened.journal.reader().scan(1) {
        let stored = stored?;
        if stored.kind != KIND_ENTRY {
            continue;
        }
        let Some(issued) = Entry::decode(stored.payload.as_slice())?.issued else {
            continue;
        };
        if issued.method == "renewal" && !recorded.insert(Serial::from_bytes(&issued.serial)?) {
            return Err(format!("a serial number is recorded twice, at {}", stored.position).into());
        }
    }
    let (missing, extra) = (
        answers.difference(&recorded).count(),
        recorded.difference(answers).count(),
    );
    if (missing, extra) == (0, 0) {
        return Ok(());
    }
    Err(
        format!("{missing} answers are not in the record, {extra} certificates of the record were not given")
            .into(),
    )
}
