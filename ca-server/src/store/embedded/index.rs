//! The index: rows in a table, kept by a thread of its own behind what is durable, so that nobody waits for it. It is believed at a
//! start only if it was put away at the journal's very end; after any other stop it is deleted and made again from memory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use journal::{Durable, Head};
use prost::Message as _;
use runtime::threads::Worker;

use super::marker::{self, Marker};
use super::table::{Broken, Rows, Table};
use crate::store::entry::Snapshot;
use crate::store::error::{StoreError, io_error};
use crate::store::health::Health;
use crate::store::rows::{Row, RowKey, RowKind};
use crate::store::snapshots::PART_BYTES;
use crate::store::state::State;

/// How long a table that cannot be made, or does not keep up, is left alone.
const RETRY: Duration = Duration::from_secs(60);
/// Changes that may wait for the table. What does not fit is dropped with the table, which is rebuilt later.
const QUEUE: usize = 256;
/// How long the table may take to be written at a close; without it the next start reads the journal.
const CLOSE_LIMIT: Duration = Duration::from_secs(6);
/// How long its thread is waited for when nothing has to be written.
const END_LIMIT: Duration = Duration::from_secs(2);

/// What lies in the folder of an index at a start.
pub(super) struct Found {
    marker: Option<Marker>,
    table: Option<Table>,
    durable: Option<Durable>,
}

/// The thread that keeps the table. It ends when this is dropped, and is waited for, so that the folder is
/// free afterwards; but not for long, in case its disk does not answer.
pub(super) struct Index {
    messages: Option<SyncSender<Message>>,
    worker: Worker,
    is_behind: Arc<AtomicBool>,
}

enum Message {
    Note(u64, HashMap<RowKey, Option<RowKind>>),
    Close(Head, SyncSender<Result<(), StoreError>>),
}

struct Keeper {
    dir: PathBuf,
    table: Option<Table>,
    /// When it was last found that no table can be made.
    failed: Option<Instant>,
    /// Changes were dropped, since the table did not keep up.
    is_behind: Arc<AtomicBool>,
    state: Arc<RwLock<State>>,
}

/// Looks at an index without changing it. One that cannot be read counts as none.
pub(super) fn find(dir: &Path) -> Result<Found, StoreError> {
    let marker = marker::read(dir);
    let table_dir = table_dir(dir);
    let exists = table_dir.try_exists().map_err(io_error("look for", &table_dir))?;
    let table = exists
        .then(|| Table::open(&table_dir).map_err(|broken| log_broken(&broken)).ok())
        .flatten();
    let known = table
        .as_ref()
        .and_then(|table| table.position().map_err(|broken| log_broken(&broken)).ok())
        .flatten();
    let says = |position, evidence| Durable { position, evidence };
    let durable = [
        known.map(|position| says(position, table_dir)),
        marker.map(|marker| says(marker.head.position, marker::path(dir))),
    ];
    Ok(Found {
        marker,
        table,
        durable: durable.into_iter().flatten().max_by_key(|known| known.position),
    })
}

impl Found {
    /// The last position that the index knows to be durable: the journal must not end before it.
    pub(super) fn durable(&self) -> Option<Durable> {
        self.durable.clone()
    }

    /// Not to be believed, whatever its mark says.
    pub(super) fn distrusted(self) -> Self {
        Self { marker: None, ..self }
    }

    /// Rows and table, if they are exactly those that were put away at this head.
    pub(super) fn at(self, head: Head) -> Option<(Snapshot, Table)> {
        let marker = self.marker.filter(|marker| marker.head == head)?;
        let table = self.table?;
        match (table.position(), table.rows()) {
            (Ok(Some(position)), Ok((rows, digest)))
                if position == head.position && digest == marker.rows =>
            {
                Some((rows, table))
            }
            (Err(broken), _) | (_, Err(broken)) => {
                log_broken(&broken);
                None
            }
            _ => {
                tracing::warn!("the index is not what it was when the server stopped; making it again");
                None
            }
        }
    }
}

impl Index {
    /// Keeps the index of `state`. Without a table one is made first, while the state serves already.
    pub(super) fn start(
        dir: &Path,
        table: Option<Table>,
        state: Arc<RwLock<State>>,
        health: Arc<Health>,
    ) -> Result<Self, StoreError> {
        marker::remove(dir)?;
        let (sender, messages) = mpsc::sync_channel(QUEUE);
        let is_behind = Arc::new(AtomicBool::new(false));
        let mut keeper = Keeper {
            dir: dir.to_owned(),
            table,
            failed: None,
            is_behind: Arc::clone(&is_behind),
            state,
        };
        let worker = Worker::start(
            "index",
            move || health.panicked("index"),
            move || keeper.run(&messages),
        )
        .map_err(io_error("start a thread for", dir))?;
        Ok(Self {
            messages: Some(sender),
            worker,
            is_behind,
        })
    }

    /// Takes in what became of rows. It never waits: the index is rebuilt if its thread does not keep up.
    pub(super) fn note(&self, position: u64, changes: HashMap<RowKey, Option<RowKind>>) {
        let Some(messages) = &self.messages else {
            return;
        };
        if let Err(TrySendError::Full(_)) = messages.try_send(Message::Note(position, changes)) {
            self.is_behind.store(true, Ordering::Relaxed);
        }
    }

    /// Puts the index away as that of this head. An index that does not answer is left as it is, without its
    /// mark.
    pub(super) fn close(mut self, head: Head) -> Result<(), StoreError> {
        let until = Instant::now() + CLOSE_LIMIT;
        let (sender, answer) = mpsc::sync_channel(1);
        // The queue is emptied while this waits; a thread that has ended answers nothing.
        let mut message = Message::Close(head, sender);
        while let Some(messages) = &self.messages {
            message = match messages.try_send(message) {
                Err(TrySendError::Full(message)) if Instant::now() < until => message,
                Ok(()) | Err(_) => break,
            };
            std::thread::sleep(Duration::from_millis(1));
        }
        match answer.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(closed) => closed,
            Err(RecvTimeoutError::Disconnected) => Err(StoreError::Closed),
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!(
                    "the index was not written within {CLOSE_LIMIT:?}; the next start reads the journal"
                );
                self.messages = None;
                Ok(())
            }
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        // A close that took too long has waited already.
        let limit = match self.messages.take() {
            Some(_) => END_LIMIT,
            None => Duration::ZERO,
        };
        if !self.worker.join(limit) {
            tracing::warn!("the thread of the index does not end, its disk does not answer");
        }
    }
}

impl Keeper {
    fn run(&mut self, messages: &Receiver<Message>) {
        self.ensure();
        for message in messages {
            match message {
                Message::Note(position, changes) => self.note(position, changes),
                Message::Close(head, answer) => {
                    drop(answer.send(self.close(head)));
                    return;
                }
            }
        }
    }

    fn note(&mut self, position: u64, changes: HashMap<RowKey, Option<RowKind>>) {
        let rows: Rows = changes
            .into_iter()
            .map(|(key, kind)| (key, kind.map(|kind| Row::from(kind).encode_to_vec())))
            .collect();
        let applied = match &self.table {
            Some(table) => table.apply(position, &rows),
            None => Ok(()),
        };
        if let Err(broken) = applied {
            log_broken(&broken);
            self.table = None;
        }
        if self.is_behind.swap(false, Ordering::Relaxed) {
            tracing::warn!("the index does not keep up with the journal and is rebuilt in {RETRY:?}");
            (self.table, self.failed) = (None, Some(Instant::now()));
        }
        self.ensure();
    }

    /// Makes the table if there is none, from the state as it is now; changes noted before that change nothing again.
    fn ensure(&mut self) {
        if self.table.is_some() || self.failed.is_some_and(|failed| failed.elapsed() < RETRY) {
            return;
        }
        match self.make() {
            Ok(table) => (self.table, self.failed) = (Some(table), None),
            Err(broken) => {
                log_broken(&broken);
                self.failed = Some(Instant::now());
            }
        }
    }

    fn make(&self) -> Result<Table, Broken> {
        let dir = table_dir(&self.dir);
        Table::clear(&dir)?;
        let table = Table::open(&dir)?;
        let mut after = Some(RowKey::new());
        // In parts, so that the writer does not wait for the state. A row that changes meanwhile is noted
        // after this.
        while let Some(key) = after {
            let (position, part) = {
                let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
                (state.position(), state.part_after(&key, PART_BYTES))
            };
            let rows = part.rows.into_iter();
            let rows: Rows = rows
                .filter_map(|row| Some((row.key()?, Some(row.encode_to_vec()))))
                .collect();
            table.apply(position, &rows)?;
            after = part.through;
        }
        Ok(table)
    }

    fn rows(&self) -> (u64, Vec<(RowKey, Vec<u8>)>) {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let rows = state
            .rows()
            .map(|(key, kind)| (key.clone(), Row::from(kind.clone()).encode_to_vec()))
            .collect();
        (state.position(), rows)
    }

    /// Rows in memory know when the last leaves end; those in the table may not, as that is not written for each.
    fn close(&mut self, head: Head) -> Result<(), StoreError> {
        self.failed = None;
        self.ensure();
        let Some(table) = self.table.take() else {
            tracing::warn!("there is no index to put away; the next start makes it again");
            return Ok(());
        };
        let (_, rows) = self.rows();
        let put_away = table
            .bring_to(head.position, &rows)
            .and_then(|digest| table.put_away(&table_dir(&self.dir)).map(|()| digest));
        match put_away {
            Ok(rows) => marker::write(&self.dir, &Marker { head, rows }),
            Err(broken) => {
                log_broken(&broken);
                Ok(())
            }
        }
    }
}

fn log_broken(broken: &Broken) {
    tracing::warn!("the index cannot be used: {broken}; it is made again from the journal");
}

fn table_dir(dir: &Path) -> PathBuf {
    dir.join("state")
}
