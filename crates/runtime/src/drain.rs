//! The end of a process: a signal or a call begins the drain, work in flight holds guards, and the end comes when the last guard is
//! dropped or the deadline passes. A second signal ends the process at once.

use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

/// The longest that a drain takes, counted from its beginning.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The longest that a process takes to end, counted from the beginning of its drain: the drain itself, and
/// what is closed after it.
pub const END_LIMIT: Duration = Duration::from_secs(25);

/// How long the last lines of the log may hold up an end.
const LAST_LINES: Duration = Duration::from_millis(500);

/// The kernel did not let us listen to a signal.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen to {signal}: {source}")]
pub struct SignalError {
    signal: &'static str,
    source: io::Error,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Running,
    Draining { since: Instant },
    Over,
}

/// The drain of this process. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Drain {
    phase: Arc<watch::Sender<Phase>>,
    /// Each guard is a receiver: the channel counts them and tells when the last is gone.
    guards: Arc<watch::Sender<()>>,
}

/// Work in flight: the drain waits for its drop.
#[derive(Debug)]
#[must_use = "the drain waits only while the guard lives"]
pub struct Guard {
    _alive: watch::Receiver<()>,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All work in flight came to its end.
    AllEnded,
    /// The deadline passed before.
    Cut {
        /// Guards that were still held.
        left: usize,
    },
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl Drain {
    /// A process that runs.
    pub fn new() -> Self {
        Self {
            phase: Arc::new(watch::Sender::new(Phase::Running)),
            guards: Arc::new(watch::Sender::new(())),
        }
    }

    /// From here on SIGTERM and SIGINT begin the drain, and the next one of them ends the process at once
    /// with the exit code that shells give it (128 and the signal's number). A process that has not ended
    /// [`END_LIMIT`] after its drain began is ended with exit code 1. A thread of its own does both, so that
    /// nothing that hangs elsewhere keeps the process from ending; nor does a log that is not read, which no
    /// call here waits for.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn on_signals(&self) -> Result<(), SignalError> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let drain = self.clone();
        let thread = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(drain.follow_signals(tell)),
                Err(source) => drop(tell.send(Err(failed("signals", source)))),
            }
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(thread)
            .map_err(|source| failed("signals", source))?;
        told.recv()
            .unwrap_or_else(|_| Err(failed("signals", io::ErrorKind::Other.into())))
    }

    async fn follow_signals(self, listening: std::sync::mpsc::SyncSender<Result<(), SignalError>>) {
        let signals = listen("SIGTERM", SignalKind::terminate())
            .and_then(|terminate| Ok((terminate, listen("SIGINT", SignalKind::interrupt())?)));
        let (mut terminate, mut interrupt) = match signals {
            Ok(signals) => signals,
            Err(error) => return drop(listening.send(Err(error))),
        };
        drop(listening.send(Ok(())));
        let mut limit = std::pin::pin!(self.over_limit());
        loop {
            let (name, kind) = tokio::select! {
                _ = terminate.recv() => ("SIGTERM", SignalKind::terminate()),
                _ = interrupt.recv() => ("SIGINT", SignalKind::interrupt()),
                () = &mut limit => {
                    tracing::error!("not at its end {END_LIMIT:?} after the drain began, as something does not answer; ending at once");
                    end(1);
                }
            };
            if self.has_begun() {
                tracing::warn!(signal = name, "second signal, ending at once");
                end(128 + kind.as_raw_value());
            }
            self.begin(name);
        }
    }

    async fn over_limit(&self) {
        self.begun().await;
        tokio::time::sleep(END_LIMIT).await;
    }

    /// Begins the drain; `cause` is for the log. Once begun it stays so, and later calls change nothing.
    pub fn begin(&self, cause: &str) {
        let begun = self.phase.send_if_modified(|phase| {
            let running = matches!(phase, Phase::Running);
            if running {
                *phase = Phase::Draining {
                    since: Instant::now(),
                };
            }
            running
        });
        if begun {
            tracing::info!(cause, "draining");
        }
    }

    /// Whether it has begun.
    pub fn has_begun(&self) -> bool {
        !matches!(*self.phase.borrow(), Phase::Running)
    }

    /// Returns when the drain begins, at once if it has.
    pub async fn begun(&self) {
        self.reach(|phase| !matches!(phase, Phase::Running)).await;
    }

    /// Returns when the drain is over: for what must serve until then, such as probes.
    pub async fn over(&self) {
        self.reach(|phase| matches!(phase, Phase::Over)).await;
    }

    /// Counts a piece of work as in flight. Costs about as much as cloning an `Arc`.
    pub fn guard(&self) -> Guard {
        Guard {
            _alive: self.guards.subscribe(),
        }
    }

    /// Guards that are held.
    pub fn in_flight(&self) -> usize {
        self.guards.receiver_count()
    }

    /// Begins the drain if nobody has, waits until no guard is held or `deadline` has passed since the beginning, and declares it over.
    pub async fn finish(&self, deadline: Duration) -> Outcome {
        self.begin("end of work");
        let since = match *self.phase.borrow() {
            Phase::Draining { since } => since,
            Phase::Running | Phase::Over => Instant::now(),
        };
        let ended = tokio::time::timeout_at(since + deadline, self.guards.closed()).await;
        let outcome = match ended {
            Ok(()) => Outcome::AllEnded,
            Err(_) => Outcome::Cut {
                left: self.in_flight(),
            },
        };
        match outcome {
            Outcome::AllEnded => tracing::info!("drained"),
            Outcome::Cut { left } => tracing::warn!(left, ?deadline, "drain cut at its deadline"),
        }
        self.phase.send_replace(Phase::Over);
        outcome
    }

    async fn reach(&self, reached: impl FnMut(&Phase) -> bool) {
        let mut phase = self.phase.subscribe();
        phase.wait_for(reached).await.expect("the sender lives in self");
    }
}

/// SIGHUP: the wish that the configuration be read again.
#[derive(Debug)]
pub struct Hangups {
    signal: Signal,
}

impl Hangups {
    /// From here on SIGHUP no longer ends the process. Needs a tokio runtime.
    pub fn listen() -> Result<Self, SignalError> {
        Ok(Self {
            signal: listen("SIGHUP", SignalKind::hangup())?,
        })
    }

    /// Returns at the next one. Several that came meanwhile count as one.
    pub async fn next(&mut self) {
        if self.signal.recv().await.is_none() {
            // No more can come; whoever waits, waits for something else too.
            std::future::pending().await
        }
    }
}

/// Ends the process, after its last lines if they are read.
fn end(code: i32) -> ! {
    crate::logs::flush(LAST_LINES);
    std::process::exit(code)
}

fn listen(name: &'static str, kind: SignalKind) -> Result<Signal, SignalError> {
    signal(kind).map_err(|source| failed(name, source))
}

fn failed(signal: &'static str, source: io::Error) -> SignalError {
    SignalError { signal, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_drain_waits_for_the_last_guard() {
        let drain = Drain::new();
        let (one, two) = (drain.guard(), drain.guard());
        assert_eq!(drain.in_flight(), 2);
        drain.begin("test");
        let finish = tokio::spawn({
            let drain = drain.clone();
            async move { drain.finish(DEADLINE).await }
        });
        drop(one);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!finish.is_finished());
        drop(two);
        assert_eq!(finish.await.unwrap(), Outcome::AllEnded);
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_counts_from_the_beginning_and_tells_what_is_left() {
        let drain = Drain::new();
        let _stuck = drain.guard();
        let begun = Instant::now();
        drain.begin("test");
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(drain.finish(DEADLINE).await, Outcome::Cut { left: 1 });
        assert_eq!(begun.elapsed().as_secs(), 10);
    }

    #[tokio::test]
    async fn begun_and_over_are_seen_by_early_and_late_watchers() {
        let drain = Drain::new();
        assert!(!drain.has_begun());
        let early = tokio::spawn({
            let drain = drain.clone();
            async move {
                drain.begun().await;
                drain.over().await;
            }
        });
        drain.begin("test");
        drain.begun().await;
        assert!(drain.has_begun() && !early.is_finished());
        assert_eq!(drain.finish(DEADLINE).await, Outcome::AllEnded);
        early.await.unwrap();
        drain.over().await;
    }
}
