//! Threads that a program cannot do without: the end of one by a panic is reported, one that does not return
//! is noticed, and none is waited for without a deadline. A system call on a disk that hangs cannot be
//! interrupted, only observed.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A thread that reports its own panic.
#[derive(Debug)]
pub struct Worker {
    thread: Option<JoinHandle<()>>,
    /// Disconnected when the thread has ended.
    ended: std::sync::Mutex<Receiver<Infallible>>,
}

/// Calls its closure if the thread panics.
struct PanicNotice<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for PanicNotice<F> {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(notify) = self.0.take()
        {
            notify();
        }
    }
}

impl Worker {
    /// Starts a thread. `panicked` is called in it if `run` panics, before anything else learns of its end.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn start(
        name: &str,
        panicked: impl FnOnce() + Send + 'static,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let (alive, ended) = sync_channel(0);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _alive = alive;
            let _notice = PanicNotice(Some(panicked));
            run();
        })?;
        Ok(Self {
            thread: Some(thread),
            ended: std::sync::Mutex::new(ended),
        })
    }

    /// Waits until the thread has ended, for at most `deadline`. Returns whether it has; one that has not
    /// goes on by itself.
    pub fn join(&mut self, deadline: Duration) -> bool {
        let Some(thread) = self.thread.take() else {
            return true;
        };
        let ended = self
            .ended
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if matches!(ended.recv_timeout(deadline), Err(RecvTimeoutError::Timeout)) {
            self.thread = Some(thread);
            return false;
        }
        // A panic has been printed and reported.
        drop(thread.join());
        true
    }
}

/// Runs a task on a thread and a scheduler of its own: for tasks that read and write files, as a system call
/// on a disk that hangs holds up every other task of its thread.
///
/// # Errors
/// The system has no room for a thread.
pub fn run_task(name: &str, task: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let run = move || runtime.block_on(task);
    thread::Builder::new().name(name.to_owned()).spawn(run).map(drop)
}

/// What a thread is doing and since when, for others to look at. Costs its owner two atomic stores for each
/// piece of work.
#[derive(Debug)]
pub struct Pulse {
    base: Instant,
    /// Milliseconds since `base`, shifted by the stage; 0 while idle.
    busy: AtomicU64,
}

const STAGE_BITS: u32 = 8;

impl Default for Pulse {
    fn default() -> Self {
        Self {
            base: Instant::now(),
            busy: AtomicU64::new(0),
        }
    }
}

impl Pulse {
    /// The owner begins a piece of work, named by a number of its own.
    pub fn begin(&self, stage: u8) {
        // Never 0, which is idle.
        let since = u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX >> STAGE_BITS) + 1;
        self.busy
            .store((since << STAGE_BITS) | u64::from(stage), Ordering::Release);
    }

    /// The owner waits for work.
    pub fn end(&self) {
        self.busy.store(0, Ordering::Release);
    }

    /// The stage of the work and how long it has been going on; `None` while idle.
    pub fn busy(&self) -> Option<(u8, Duration)> {
        let busy = self.busy.load(Ordering::Acquire);
        let since = Duration::from_millis((busy >> STAGE_BITS).checked_sub(1)?);
        let stage = u8::try_from(busy & u64::from(u8::MAX)).expect("eight bits");
        Some((stage, self.base.elapsed().saturating_sub(since)))
    }
}

/// A thread that calls a check at intervals until it is dropped.
#[derive(Debug)]
pub struct Watchdog {
    stop: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Calls `check` every `interval`. It must not block.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn start(
        name: &str,
        interval: Duration,
        mut check: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            while matches!(stopped.recv_timeout(interval), Err(RecvTimeoutError::Timeout)) {
                check();
            }
        })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop = None;
        drop(self.thread.take().map(JoinHandle::join));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    const SOON: Duration = Duration::from_secs(30);

    #[test]
    fn a_panic_is_reported_before_the_end_of_the_thread_is_seen() {
        let reported = Arc::new(AtomicBool::new(false));
        let report = Arc::clone(&reported);
        let mut worker = Worker::start(
            "test",
            move || report.store(true, Ordering::SeqCst),
            || panic!("on purpose"),
        )
        .unwrap();
        assert!(worker.join(SOON));
        assert!(reported.load(Ordering::SeqCst));
    }

    #[test]
    fn an_ordinary_end_is_not_reported() {
        let reported = Arc::new(AtomicBool::new(false));
        let report = Arc::clone(&reported);
        let mut worker = Worker::start("test", move || report.store(true, Ordering::SeqCst), || ()).unwrap();
        assert!(worker.join(SOON));
        assert!(!reported.load(Ordering::SeqCst));
    }

    #[test]
    fn a_thread_that_does_not_return_is_not_waited_for() {
        let (release, held) = channel::<()>();
        let mut worker = Worker::start("test", || (), move || assert!(held.recv().is_err())).unwrap();
        assert!(!worker.join(Duration::from_millis(20)));
        drop(release);
        assert!(worker.join(SOON));
    }

    #[test]
    fn a_pulse_names_the_stage_and_is_silent_while_idle() {
        let pulse = Pulse::default();
        assert_eq!(pulse.busy(), None);
        pulse.begin(7);
        assert_eq!(pulse.busy().map(|(stage, _)| stage), Some(7));
        pulse.end();
        assert_eq!(pulse.busy(), None);
    }
}
