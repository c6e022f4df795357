//! What both ends of the echo pair do alike: flags, counters, a line a second, and the end on SIGTERM.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use client_lib::{Authorize, Proof, X509Source};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

/// Flags of both ends.
#[derive(clap::Args)]
pub(crate) struct Flags {
    /// File with the join token
    #[arg(long)]
    token_file: PathBuf,
    /// Folder for the certificate; kept in memory without it
    #[arg(long)]
    out: Option<PathBuf>,
    /// Life of each certificate, such as 20s
    #[arg(long, value_parser = identity::duration::parse)]
    life: Option<Duration>,
    /// Expect exactly this peer; every member of the trust domain without it
    #[arg(long, value_parser = identity::SpiffeId::new)]
    peer: Option<identity::SpiffeId>,
}

impl Flags {
    /// The identity of this end, and whom it talks to.
    pub(crate) async fn source(&self) -> Result<(X509Source, Authorize), client_lib::Error> {
        let mut builder = X509Source::builder(Proof::token_file(&self.token_file)?);
        if let Some(out) = &self.out {
            builder = builder.folder(out);
        }
        if let Some(life) = self.life {
            builder = builder.life(life);
        }
        let source = builder.start().await?;
        let peers = match &self.peer {
            Some(peer) => Authorize::id(peer),
            None => Authorize::trust_domain(source.bundle().trust_domain()),
        };
        Ok((source, peers))
    }
}

/// What this end has seen.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) connections: AtomicU64,
    /// Peers that could not prove who they are, or are not expected; no failure of this end.
    pub(crate) refusals: AtomicU64,
    pub(crate) failures: AtomicU64,
}

impl Counts {
    /// Adds to one counter.
    pub(crate) fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(u64::try_from(n).expect("a buffer's length"), Ordering::Relaxed);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [sent, received, connections, refusals, failures] = [
            &self.sent,
            &self.received,
            &self.connections,
            &self.refusals,
            &self.failures,
        ]
        .map(|n| n.load(Ordering::Relaxed));
        write!(
            f,
            "sent={sent} received={received} connections={connections} refusals={refusals} failures={failures}"
        )
    }
}

/// Prints a line a second.
pub(crate) async fn report(counts: Arc<Counts>, source: X509Source) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    // A late line is not followed by a hasty one: between two lines there is time for traffic.
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        println!("{counts} rotations={}", source.status().borrow().rotations);
    }
}

/// Waits for SIGTERM or SIGINT.
pub(crate) async fn told_to_stop() -> std::io::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}
