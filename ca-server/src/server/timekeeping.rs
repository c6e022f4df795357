//! Keeps the clock of a running server: compares it with its witnesses, reports disputes to readiness and
//! metrics, and records that a new time was accepted.

use std::sync::Arc;
use std::time::Duration;

use identity::clock::witnessed::{Change, End};
use identity::{Clock as _, Dispute};
use runtime::readiness::Condition;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::Server;
use crate::clock::{INTERVAL, KeptTime, ServerClock, explanation};
use crate::metrics::Metrics;
use crate::store::{Command, EmbeddedStore, Store};

/// How often the marks of the clocks are written.
const KEEP_EVERY: Duration = Duration::from_secs(600);

/// Runs until the process ends.
pub(super) fn spawn(server: &Server) {
    let (clock, store) = (Arc::clone(&server.clock), Arc::clone(&server.store));
    tokio::spawn(report(
        server.clock.disputes(),
        server.timekeeping.clone(),
        Arc::clone(&server.metrics),
    ));
    tokio::spawn(keep(Arc::clone(&clock), KeptTime::of(server.folder.path())));
    tokio::spawn(compare(clock, store));
}

async fn compare(clock: Arc<ServerClock>, store: Arc<EmbeddedStore>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(Change::Ended(dispute, End::Synchronised)) = clock.compare() {
            record(&clock, store.as_ref(), &dispute);
        }
    }
}

/// Writes the marks of the clocks for the next process of this boot, at once after each dispute and then at
/// intervals.
async fn keep(clock: Arc<ServerClock>, file: KeptTime) {
    let mut disputes = clock.disputes();
    loop {
        let marks = clock.marks().filter(|_| disputes.borrow_and_update().is_none());
        if let Some(marks) = marks {
            let file = file.clone();
            // Only this task waits for a disk that hangs.
            let written = tokio::task::spawn_blocking(move || file.write(&marks)).await;
            if let Ok(Err(error)) = written {
                tracing::warn!("a restart would not know the last agreement of the clocks: {error}");
            }
        }
        tokio::select! {
            alive = disputes.changed() => if alive.is_err() { return },
            () = tokio::time::sleep(KEEP_EVERY) => {}
        }
    }
}

/// The entry makes the accepted time that of the last entry, also for the next start.
fn record(clock: &ServerClock, store: &dyn Store, dispute: &Dispute) {
    // If it cannot be recorded, the store's health shows it, and any later entry does the same.
    drop(store.submit(Command::AcceptTime {
        at: clock.now().unix_timestamp(),
        dispute: dispute.to_string(),
        by: "server".to_owned(),
    }));
}

async fn report(mut disputes: watch::Receiver<Option<Dispute>>, condition: Condition, metrics: Arc<Metrics>) {
    loop {
        let dispute = disputes.borrow_and_update().clone();
        metrics.clock_disputed(dispute.is_some());
        match dispute {
            None => condition.set_ready(),
            Some(dispute) => condition.set_not_ready(explanation(&dispute)),
        }
        if disputes.changed().await.is_err() {
            return;
        }
    }
}
