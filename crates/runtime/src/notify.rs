//! What systemd hears of us (sd_notify(3)): READY=1 once, STATUS= at each change, STOPPING=1 at the drain, WATCHDOG=1 where asked.
//! Without `NOTIFY_SOCKET` in the environment nothing is sent.

use crate::drain::Drain;
use crate::readiness::{Readiness, State};
use sd_notify::NotifyState;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Tells systemd of readiness and drain, until the drain begins. To be spawned when the program starts; it holds a guard of the drain.
pub async fn follow(readiness: Readiness, drain: Drain) {
    // The process must not end before systemd has heard that it will.
    let _until_told = drain.guard();
    let mut state = readiness.watch();
    let mut told_ready = false;
    let mut watchdog = sd_notify::watchdog_enabled().and_then(pulse);
    loop {
        let now = state.borrow_and_update().clone();
        let status = status(&now);
        if now.is_ready() && !told_ready {
            told_ready = true;
            send(&[NotifyState::Ready, NotifyState::Status(&status)]);
        } else {
            send(&[NotifyState::Status(&status)]);
        }
        loop {
            tokio::select! {
                () = drain.begun() => {
                    send(&[NotifyState::Stopping, NotifyState::Status("draining")]);
                    return;
                }
                // `readiness` keeps the sender alive: the only answer is a change.
                _ = state.changed() => break,
                () = next(&mut watchdog) => send(&[NotifyState::Watchdog]),
            }
        }
    }
}

/// Half of the time after which systemd takes us for dead, as sd_watchdog_enabled(3) advises; none for a time that is too short.
fn pulse(limit: Duration) -> Option<Interval> {
    let half = limit / 2;
    (!half.is_zero()).then(|| {
        let mut pulse = interval(half);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pulse
    })
}

async fn next(watchdog: &mut Option<Interval>) {
    match watchdog {
        Some(pulse) => drop(pulse.tick().await),
        None => std::future::pending().await,
    }
}

/// One line: a line break would let a reason pass for a message of its own.
fn status(state: &State) -> String {
    if state.is_ready() {
        return "ready".to_owned();
    }
    let unmet: Vec<_> = state
        .unmet()
        .iter()
        .map(|unmet| format!("{}: {}", unmet.name, unmet.reason))
        .collect();
    format!("not ready: {}", unmet.join("; ")).replace(|c: char| c.is_control(), " ")
}

fn send(messages: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(messages) {
        tracing::warn!(%error, ?messages, "cannot tell systemd");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_names_each_reason_on_one_line() {
        let readiness = Readiness::new();
        readiness
            .condition("signing")
            .set_not_ready("no chain\nMAINPID=1");
        let record = readiness.condition("record");
        assert_eq!(
            status(&readiness.state()),
            "not ready: signing: no chain MAINPID=1; record: starting"
        );
        record.set_ready();
        readiness.condition("signing").set_ready();
        assert_eq!(status(&readiness.state()), "ready");
    }

    #[tokio::test]
    async fn the_drain_is_not_over_before_systemd_has_heard_of_it() {
        let drain = Drain::new();
        let follower = tokio::spawn(follow(Readiness::new(), drain.clone()));
        while drain.in_flight() == 0 {
            tokio::task::yield_now().await;
        }
        drain.finish(crate::drain::DEADLINE).await;
        assert!(follower.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_beats_at_half_of_its_limit() {
        let mut watchdog = pulse(Duration::from_secs(10));
        let begun = tokio::time::Instant::now();
        for _ in 0..3 {
            next(&mut watchdog).await;
        }
        // The first beat is at once.
        assert_eq!(begun.elapsed().as_secs(), 10);
        assert!(pulse(Duration::ZERO).is_none());
    }
}
