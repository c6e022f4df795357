//! The thread that writes index files of sealed segments, off the appending path. What it cannot write stays in memory and
//! is tried again when the next segment is sealed, or made anew at the next start.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use crate::shared::Shared;

/// Stops and joins its thread when dropped, so that no file changes after the journal was closed.
pub(crate) struct Sealer {
    wake: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sealer {
    pub(crate) fn start(shared: Arc<Shared>) -> std::io::Result<Self> {
        let (wake, woken) = channel();
        let thread = thread::Builder::new()
            .name("journal-seal".to_owned())
            .spawn(move || {
                while woken.recv().is_ok() {
                    seal_all(&shared);
                }
            })?;
        Ok(Self {
            wake: Some(wake),
            thread: Some(thread),
        })
    }

    /// A segment was sealed.
    pub(crate) fn wake(&self) {
        if let Some(wake) = &self.wake {
            // The thread ends only when this end is dropped, or with a panic, after which indexes stay in memory.
            let _ = wake.send(());
        }
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn seal_all(shared: &Shared) {
    let segments = shared.segments();
    let sealed = &segments[..segments.len() - 1];
    for segment in sealed {
        let _ = segment.seal();
    }
}
