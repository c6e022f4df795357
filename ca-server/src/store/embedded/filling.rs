//! Reads, after a start, where the certificates are recorded that may still be valid. There may be millions,
//! and no caller waits: until it is done, what is not found in memory is looked up in the journal. It is done
//! again where what was left out matters after all, as the clock was set back.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use identity::Clock;
use journal::{JournalError, Reader, SegmentFacts};
use runtime::threads::Worker;

use crate::store::bindings::{Bindings, Facts};
use crate::store::entry::field;
use crate::store::health::Health;
use crate::store::state::State;
use crate::store::writer::{KEEP_BINDINGS, SOUND};

/// How often it looks whether something is missing. Short in tests, so that they come to it.
const LOOK_EVERY: Duration = if cfg!(test) {
    Duration::from_millis(5)
} else {
    Duration::from_secs(10)
};

/// Name of the thread.
const THREAD: &str = "bindings";
/// How long its end is waited for: it may be reading from a disk that hangs.
const END_LIMIT: Duration = Duration::from_secs(2);

/// A thread that fills the bindings; dropping it stops the thread, and waits until it has ended or does not
/// answer.
pub(super) struct Filling {
    stop: Option<SyncSender<()>>,
    thread: Worker,
}

struct Task {
    reader: Reader,
    state: Arc<RwLock<State>>,
    clock: Arc<dyn Clock>,
    stopped: Receiver<()>,
}

impl Filling {
    pub(super) fn start(
        reader: Reader,
        state: Arc<RwLock<State>>,
        clock: Arc<dyn Clock>,
        health: Arc<Health>,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel(0);
        let task = Task {
            reader,
            state,
            clock,
            stopped,
        };
        let panicked = move || health.panicked(THREAD);
        let thread = Worker::start(THREAD, panicked, move || task.run())?;
        Ok(Self {
            stop: Some(stop),
            thread,
        })
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.stop = None;
        if !self.thread.join(END_LIMIT) {
            tracing::warn!("the thread of the key bindings does not end, its disk does not answer");
        }
    }
}

impl Task {
    fn run(&self) {
        let mut last_error = None;
        loop {
            let now = self.clock.now().unix_timestamp();
            let is_partial = self.state.read().expect(SOUND).bindings().is_partial(now);
            if is_partial {
                last_error = self.fill(now - KEEP_BINDINGS, last_error);
            }
            if !matches!(
                self.stopped.recv_timeout(LOOK_EVERY),
                Err(RecvTimeoutError::Timeout)
            ) {
                return;
            }
        }
    }

    /// Returns what went wrong, which is logged once.
    fn fill(&self, complete_from: i64, last_error: Option<String>) -> Option<String> {
        let began = Instant::now();
        match self.read(complete_from) {
            Ok(Some(bindings)) => {
                self.state
                    .write()
                    .expect(SOUND)
                    .complete_bindings(bindings, complete_from);
                tracing::debug!("key bindings are in memory after {:?}", began.elapsed());
                None
            }
            Ok(None) => last_error,
            Err(error) => {
                let error = error.to_string();
                if last_error.as_ref() != Some(&error) {
                    tracing::error!(
                        "key bindings cannot be read into memory, so each request looks into the journal; \
                         trying again: {error}"
                    );
                }
                Some(error)
            }
        }
    }

    /// Reads the segments in which something matters at `complete_from` or later. `None` if it was stopped.
    fn read(&self, complete_from: i64) -> Result<Option<Bindings>, JournalError> {
        let mut bindings = Bindings::default();
        let segments = self.reader.segments();
        let mattering = segments
            .iter()
            .filter(|segment| segment.latest_expiry >= complete_from);
        for segment in mattering {
            // Earlier releases did not index the expiry.
            let latest = segment.latest_expiry.cast_unsigned();
            let expiry = self.by_position(segment, field::EXPIRY, latest)?;
            let key = self.by_position(segment, field::KEY, 0)?;
            let facts = |position| Facts {
                expires: at(&expiry, segment, position).unwrap_or(latest).cast_signed(),
                key: at(&key, segment, position).unwrap_or_default(),
            };
            for field in Bindings::FIELDS {
                if !matches!(self.stopped.try_recv(), Err(TryRecvError::Empty)) {
                    return Ok(None);
                }
                let keys = self.reader.keys_of_segment(segment.first, field)?;
                let keys = keys
                    .into_iter()
                    .filter(|(_, position)| field != field::KEY || facts(*position).expires >= complete_from);
                bindings.insert_field(field, keys, facts);
            }
        }
        Ok(Some(bindings))
    }

    /// What a segment's index holds in one field, in the order of the positions.
    fn by_position(&self, segment: &SegmentFacts, field: u8, missing: u64) -> Result<Vec<u64>, JournalError> {
        let mut values = Vec::new();
        for (value, position) in self.reader.keys_of_segment(segment.first, field)? {
            let at = usize::try_from(position - segment.first).expect("a segment fits into memory");
            if values.len() <= at {
                values.resize(at + 1, missing);
            }
            values[at] = value;
        }
        Ok(values)
    }
}

/// The value of the record at a position.
fn at(values: &[u64], segment: &SegmentFacts, position: u64) -> Option<u64> {
    let at = usize::try_from(position - segment.first).ok()?;
    values.get(at).copied()
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::store::{EmbeddedStore, Store as _};

    struct PanicsOnThisThread;

    impl Clock for PanicsOnThisThread {
        fn now(&self) -> OffsetDateTime {
            assert_ne!(std::thread::current().name(), Some(THREAD), "on purpose");
            OffsetDateTime::UNIX_EPOCH
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_of_the_thread_is_reported_and_the_process_is_to_end() {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(folder.path(), Arc::new(PanicsOnThisThread), |_| {}).unwrap();
        let mut failure = store.failure();
        let reported = tokio::time::timeout(Duration::from_secs(30), failure.wait_for(Option::is_some));
        let why = reported.await.unwrap().unwrap().clone().unwrap();
        assert!(why.contains("\"bindings\""), "{why}");
    }
}
