//! What is known of the open segment without reading it: where each record lies, which keys it has. It grows with each
//! batch, and becomes the segment's index file when the segment is sealed.

use std::ops::RangeInclusive;

use crate::batch::RecordView;
use crate::index::{Key, KeyEntry};
use crate::{Hash, Record};

/// Keys are sorted in runs; below this many they are looked through one by one.
const RUN: usize = 1024;

/// The index of one segment, in memory.
pub(crate) struct Memory {
    pub(crate) first: u64,
    /// Bytes of the segment that are durable.
    pub(crate) length: u64,
    /// Hash of the last batch.
    pub(crate) hash: Hash,
    /// Latest expiry of a record, seconds since 1970; 0 without one.
    pub(crate) latest_expiry: i64,
    /// Newest position of each kind.
    pub(crate) kinds: Vec<(u8, u64)>,
    /// Where each record starts, by order of position.
    pub(crate) offsets: Vec<u32>,
    /// Sorted runs, each longer than the next; the last is not sorted.
    runs: Vec<Vec<KeyEntry>>,
}

impl Memory {
    /// Of a segment that holds no batch.
    pub(crate) fn new(first: u64, length: u64, hash: Hash) -> Self {
        Self {
            first,
            length,
            hash,
            latest_expiry: 0,
            kinds: Vec::new(),
            offsets: Vec::new(),
            runs: vec![Vec::new()],
        }
    }

    /// The position after the last record.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.offsets.len() as u64
    }

    /// Takes in a batch that was just written: its records, where each starts in it, its length and hash.
    pub(crate) fn add_written(&mut self, records: &[Record], offsets: &[u32], length: u64, hash: Hash) {
        let at = self.length;
        for (record, offset) in records.iter().zip(offsets) {
            self.add(
                at + u64::from(*offset),
                record.kind,
                record.ends,
                record.keys.iter().copied(),
            );
        }
        (self.length, self.hash) = (at + length, hash);
        self.sort_recent();
    }

    /// Takes in a record that was read from the segment. After the last, `end_at` is to be called.
    pub(crate) fn add_read(&mut self, batch_at: u64, record: &RecordView<'_>) {
        self.add(
            batch_at + record.offset as u64,
            record.kind,
            record.ends,
            record.keys(),
        );
    }

    /// All records of the segment have been read, up to this length, the last batch with this hash.
    pub(crate) fn end_at(&mut self, length: u64, hash: Hash) {
        (self.length, self.hash) = (length, hash);
        self.sort_recent();
    }

    /// The entries with these keys, in order.
    pub(crate) fn find(&self, keys: &RangeInclusive<Key>) -> Vec<KeyEntry> {
        let (recent, sorted) = self.runs.split_last().expect("there is always a last run");
        let mut found: Vec<KeyEntry> = recent
            .iter()
            .filter(|entry| keys.contains(&entry.key()))
            .copied()
            .collect();
        for run in sorted {
            let start = run.partition_point(|entry| entry.key() < *keys.start());
            found.extend(run[start..].iter().take_while(|entry| entry.key() <= *keys.end()));
        }
        found.sort();
        found
    }

    /// All keys in order.
    pub(crate) fn sorted_keys(&self) -> Vec<KeyEntry> {
        let mut all = self.runs.concat();
        all.sort();
        all
    }

    fn add(&mut self, at: u64, kind: u8, ends: i64, keys: impl Iterator<Item = (u8, u64)>) {
        let record = u32::try_from(self.offsets.len()).expect("a segment has fewer records than bytes");
        let position = self.next();
        self.offsets
            .push(u32::try_from(at).expect("a segment is smaller than 4 GiB"));
        self.latest_expiry = self.latest_expiry.max(ends);
        match self.kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, newest)) => *newest = position,
            None => self.kinds.push((kind, position)),
        }
        let recent = self.runs.last_mut().expect("there is always a last run");
        recent.extend(keys.map(|(field, fingerprint)| KeyEntry {
            field,
            fingerprint,
            record,
        }));
    }

    /// Like a binary counter: a run that is long enough is sorted and merged with those before that are not longer, so that
    /// there are few runs and each key is moved few times.
    fn sort_recent(&mut self) {
        let recent = self.runs.last_mut().expect("there is always a last run");
        if recent.len() < RUN {
            return;
        }
        recent.sort_unstable();
        while let [.., older, newer] = self.runs.as_mut_slice()
            && older.len() <= newer.len()
        {
            older.append(newer);
            // Two sorted runs in a row: the standard sort finds and merges them in linear time.
            older.sort();
            self.runs.pop();
        }
        self.runs.push(Vec::new());
    }
}
