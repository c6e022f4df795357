//! The certificate folder of a source. File systems fill up, hang, and are locked by others: an operation has
//! a time limit, a write that fails is repeated, and the identity in memory goes on in all cases.

use std::sync::Arc;
use std::time::Duration;

use identity::{KeyDigest, Serial};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::Status;
use crate::error::Error;
use crate::folder::{Folder, FolderError, Stored, io_error};
use crate::renewal::{Backoff, jitter};

/// How long one operation on the folder may take; longer than it waits for its lock. Less for short lives.
const FILE_TIME: Duration = Duration::from_secs(10);
const SHORTEST_FILE_TIME: Duration = Duration::from_millis(250);
/// The part of the life that one operation may take.
const PART_OF_LIFE: u32 = 20;

/// The folder, and whether the newest certificate is in it.
pub(super) struct Files {
    folder: Option<Folder>,
    status: watch::Sender<Status>,
    /// Open while an operation that took too long still runs: another one would hang, too.
    running: Option<oneshot::Receiver<()>>,
    /// When to write again what could not be written.
    retry_at: Option<Instant>,
    backoff: Backoff,
    limit: Duration,
}

impl Files {
    pub(super) fn new(folder: Option<Folder>, status: watch::Sender<Status>) -> Self {
        Self {
            folder,
            status,
            running: None,
            retry_at: None,
            backoff: Backoff::new(),
            limit: FILE_TIME,
        }
    }

    /// Lets no operation take a large part of a certificate's life.
    pub(super) fn limit_to(&mut self, life: Duration) {
        self.limit = (life / PART_OF_LIFE).clamp(SHORTEST_FILE_TIME, FILE_TIME);
    }

    /// Works on the folder in a thread of its own; `None` without a folder. A failure is logged and in the
    /// status.
    pub(super) async fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&Folder) -> Result<T, FolderError> + Send + 'static,
    ) -> Option<Result<T, FolderError>> {
        let folder = self.folder.clone()?;
        let result = self.run_in(&folder, work).await;
        if let Err(error) = &result {
            tracing::warn!(path = %folder.path().display(), %error, "certificate folder cannot be used");
        }
        Some(result)
    }

    async fn run_in<T: Send + 'static>(
        &mut self,
        folder: &Folder,
        work: impl FnOnce(&Folder) -> Result<T, FolderError> + Send + 'static,
    ) -> Result<T, FolderError> {
        let slow = FolderError::Slow {
            path: folder.path().to_owned(),
            after: self.limit,
        };
        if let Some(running) = &mut self.running {
            if let Err(oneshot::error::TryRecvError::Empty) = running.try_recv() {
                return Err(slow);
            }
            self.running = None;
        }
        let (answer, answered) = oneshot::channel();
        let (ends, ended) = oneshot::channel::<()>();
        let place = folder.clone();
        // A thread and not the runtime's pool: the end of the program would wait for that.
        std::thread::Builder::new()
            .name("certificate folder".to_owned())
            .spawn(move || {
                let _ends = ends;
                // The receiver is gone if the time limit has passed.
                let _ = answer.send(work(&place));
            })
            .map_err(io_error("start a thread for", folder.path()))?;
        match tokio::time::timeout(self.limit, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(io_error("work in", folder.path())(std::io::Error::other(
                "the thread ended without a result",
            ))),
            Err(_) => {
                self.running = Some(ended);
                Err(slow)
            }
        }
    }

    /// Writes a certificate, but keeps the pending key with the digest `pending`. After a failure it is due
    /// again.
    pub(super) async fn store(&mut self, stored: Stored, serial: Serial, pending: Option<KeyDigest>) {
        match self
            .run(move |folder| folder.write_keeping(&stored, pending))
            .await
        {
            None => {}
            Some(Ok(())) => {
                self.retry_at = None;
                self.backoff = Backoff::new();
                self.status.send_modify(|status| {
                    status.storage_error = None;
                    status.stored = Some(serial);
                });
            }
            Some(Err(error)) => {
                let pause = self.backoff.pause(None, None, jitter());
                self.retry_at = Some(Instant::now() + pause);
                tracing::warn!(%serial, ?pause, "certificate is in use, but not stored");
                self.report(error);
            }
        }
    }

    /// Puts a failure into the status, where it stays until a certificate is stored.
    pub(super) fn report(&self, error: FolderError) {
        let error = Arc::new(Error::from(error));
        self.status
            .send_modify(|status| status.storage_error = Some(error));
    }

    /// Until a write that failed is to be repeated; `None` if none is.
    pub(super) fn left(&self) -> Option<Duration> {
        Some(self.retry_at?.saturating_duration_since(Instant::now()))
    }
}
