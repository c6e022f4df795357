//! Takes in, after a start, where the certificates are recorded that still count. There may be millions, and nobody has to wait: until
//! it is done, what is not found in memory is looked up in the record.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;
use std::time::Instant;

use journal::{JournalError, Reader};

use crate::store::bindings::Bindings;
use crate::store::state::State;
use crate::store::writer::SOUND;

/// A thread that fills the bindings; dropping it stops the thread and waits until it has ended.
pub(super) struct Filling {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Filling {
    /// Reads segments in which some record ends at `ended_before` or later, seconds since 1970.
    pub(super) fn start(
        reader: Reader,
        state: Arc<RwLock<State>>,
        ended_before: i64,
    ) -> std::io::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        let fill = move || {
            let began = Instant::now();
            match read(&reader, ended_before, &stop) {
                Ok(Some(bindings)) => {
                    state.write().expect(SOUND).bindings_mut().complete(bindings);
                    tracing::debug!(
                        "keys of certificates that still count are in memory after {:?}",
                        began.elapsed()
                    );
                }
                Ok(None) => {}
                Err(error) => tracing::error!(
                    "keys of certificates that still count cannot be taken into memory, each request asks the record: {error}"
                ),
            }
        };
        let thread = std::thread::Builder::new()
            .name(String::from("bindings"))
            .spawn(fill)?;
        Ok(Self {
            stopped,
            thread: Some(thread),
        })
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // A panic of the thread has been printed.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// `None` if it was stopped.
fn read(reader: &Reader, ended_before: i64, stopped: &AtomicBool) -> Result<Option<Bindings>, JournalError> {
    let mut bindings = Bindings::default();
    let segments = reader.segments();
    for segment in segments
        .iter()
        .filter(|segment| segment.latest_expiry >= ended_before)
    {
        for field in Bindings::FIELDS {
            if stopped.load(Ordering::Relaxed) {
                return Ok(None);
            }
            bindings.insert_field(field, reader.keys_of_segment(segment.first, field)?);
        }
    }
    Ok(Some(bindings))
}
