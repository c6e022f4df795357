//! The index: rows in a table, kept by a thread of its own behind what is durable, so that nobody waits for it. It is believed at a
//! start only if it was put away at the journal's very end; after any other stop it is deleted and made again from memory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use journal::Head;
use prost::Message as _;

use super::marker::{self, Marker};
use super::table::{Broken, Rows, Table};
use crate::store::entry::Snapshot;
use crate::store::error::{StoreError, io_error};
use crate::store::rows::{Row, RowKey, RowKind};
use crate::store::state::State;

/// How long a table that cannot be made is left alone.
const RETRY: Duration = Duration::from_secs(60);

/// What lies in the folder of an index at a start.
pub(super) struct Found {
    marker: Option<Marker>,
    table: Option<Table>,
    /// The last position that it knows to be durable.
    position: u64,
}

/// The thread that keeps the table. It ends when this is dropped, and is waited for, so that the folder is free afterwards.
pub(super) struct Index {
    messages: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
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
    let position = known
        .unwrap_or(0)
        .max(marker.map_or(0, |marker| marker.head.position));
    Ok(Found {
        marker,
        table,
        position,
    })
}

impl Found {
    /// The journal must not end before this.
    pub(super) fn durable_position(&self) -> u64 {
        self.position
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
    ) -> Result<Self, StoreError> {
        marker::remove(dir)?;
        let (sender, messages) = mpsc::channel();
        let mut keeper = Keeper {
            dir: dir.to_owned(),
            table,
            failed: None,
            state,
        };
        let thread = std::thread::Builder::new()
            .name(String::from("index"))
            .spawn(move || keeper.run(&messages))
            .map_err(io_error("start a thread for", dir))?;
        Ok(Self {
            messages: Some(sender),
            thread: Some(thread),
        })
    }

    /// Takes in what became of rows.
    pub(super) fn note(&self, position: u64, changes: HashMap<RowKey, Option<RowKind>>) {
        // If the thread is gone the next start makes the index again.
        self.send(Message::Note(position, changes));
    }

    /// Puts the index away as that of this head.
    pub(super) fn close(self, head: Head) -> Result<(), StoreError> {
        let (sender, answer) = mpsc::sync_channel(1);
        self.send(Message::Close(head, sender));
        answer.recv().unwrap_or(Err(StoreError::Closed))
    }

    fn send(&self, message: Message) {
        drop(self.messages.as_ref().map(|messages| messages.send(message)));
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.messages = None;
        drop(self.thread.take().map(JoinHandle::join));
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
        let (position, rows) = self.rows();
        table.bring_to(position, &rows)?;
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
