//! A store that is gone with its process: for tests, and the measure of what the embedded one does.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use identity::Clock;
use journal::{Head, Record};
use prost::Message;
use proto::Refusal;

use super::bindings::Bindings;
use super::entry::{Entry, KIND_ENTRY};
use super::error::StoreError;
use super::journaled::{Journaled, Start};
use super::medium::{Medium, Records};
use super::rows::{RowKey, RowKind};
use super::state::State;
use super::view::unreadable;

/// A store in memory.
pub type MemoryStore = Journaled<Memory>;

/// Records in memory; the hash of their head is all zero.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<RwLock<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    records: Vec<Record>,
    index: HashMap<(u8, u64), Vec<u64>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let memory = Memory::default();
        let mut state = State::default();
        *state.bindings_mut() = Bindings::complete();
        Self::start(Start {
            records: Arc::new(memory.clone()),
            medium: memory,
            state: Arc::new(RwLock::new(state)),
            snapshot: 0,
            clock,
            health: Arc::default(),
        })
        .expect("a process that has no room for a thread cannot be tested")
    }
}

impl Memory {
    fn kept(&self) -> RwLockReadGuard<'_, Kept> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records for Memory {
    fn entry(&self, position: u64) -> Result<Option<Entry>, Refusal> {
        let kept = self.kept();
        let index = position
            .checked_sub(1)
            .and_then(|index| usize::try_from(index).ok());
        index
            .and_then(|index| kept.records.get(index))
            .filter(|record| record.kind == KIND_ENTRY)
            .map(|record| Entry::decode(record.payload.as_slice()).map_err(unreadable))
            .transpose()
    }

    fn find(&self, field: u8, fingerprint: u64) -> Result<Vec<u64>, Refusal> {
        let positions = self.kept().index.get(&(field, fingerprint)).cloned();
        Ok(positions.unwrap_or_default().into_iter().rev().collect())
    }

    fn head(&self) -> Head {
        Head {
            position: self.kept().records.len() as u64,
            ..Head::EMPTY
        }
    }
}

impl Medium for Memory {
    fn append(&mut self, records: &[Record]) -> Result<(), String> {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            kept.records.push(record.clone());
            let position = kept.records.len() as u64;
            for key in &record.keys {
                kept.index.entry(*key).or_default().push(position);
            }
        }
        Ok(())
    }

    fn note(&mut self, _: u64, _: HashMap<RowKey, Option<RowKind>>) {}

    fn has_ended(&self, now: i64) -> impl Fn(u64) -> bool {
        let kept = self.kept();
        move |position| {
            usize::try_from(position - 1)
                .ok()
                .and_then(|index| kept.records.get(index))
                .is_none_or(|record| record.ends < now)
        }
    }

    fn close(self) -> Result<(), StoreError> {
        Ok(())
    }
}
