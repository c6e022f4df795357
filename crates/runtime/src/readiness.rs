//! Whether the program can do its work: named conditions, each met or unmet for a reason. Ready is when all are met.
//! The parts of the program report, probes and the notifier of systemd watch.

use std::sync::Arc;
use tokio::sync::watch;

/// The sum of all conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Every condition registered is met.
    Ready,
    /// The unmet conditions, each with its reason, in the order in which they became so; at least one.
    NotReady(Vec<Unmet>),
}

/// One condition that is not met.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Unmet {
    /// The condition, such as `signing`.
    pub name: &'static str,
    /// Why, for people.
    pub reason: String,
}

/// Stands for the conditions until the first is registered.
const START: &str = "start";

const STARTING: &str = "starting";

/// The collector of conditions. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Readiness {
    state: Arc<watch::Sender<State>>,
}

/// The right to report on one condition. Clones are the same one.
#[derive(Clone, Debug)]
#[must_use = "a condition on which nobody reports keeps the program from being ready"]
pub struct Condition {
    name: &'static str,
    state: Arc<watch::Sender<State>>,
}

impl State {
    /// Whether everything is met.
    pub fn is_ready(&self) -> bool {
        *self == Self::Ready
    }

    /// What is not met; empty when ready.
    pub fn unmet(&self) -> &[Unmet] {
        match self {
            Self::Ready => &[],
            Self::NotReady(unmet) => unmet,
        }
    }
}

impl Unmet {
    fn starting(name: &'static str) -> Self {
        Self {
            name,
            reason: STARTING.to_owned(),
        }
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Readiness {
    /// Not ready: nothing has been registered (`start: starting`). Register all conditions before the first of them is met, or the program is ready too soon.
    pub fn new() -> Self {
        Self {
            state: Arc::new(watch::Sender::new(State::NotReady(vec![Unmet::starting(START)]))),
        }
    }

    /// Registers a condition; it is unmet (`starting`) until it is reported as met.
    pub fn condition(&self, name: &'static str) -> Condition {
        self.state.send_modify(|state| {
            let mut unmet = state.unmet().to_vec();
            unmet.retain(|other| other.name != START && other.name != name);
            unmet.push(Unmet::starting(name));
            *state = State::NotReady(unmet);
        });
        Condition {
            name,
            state: Arc::clone(&self.state),
        }
    }

    /// The state now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Follows the state. Each change of a reason counts.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Returns when the program is ready, at once if it is.
    pub async fn ready(&self) {
        let mut state = self.watch();
        state
            .wait_for(State::is_ready)
            .await
            .expect("the sender lives in self");
    }
}

impl Condition {
    /// It is met. Said again it changes nothing.
    pub fn set_ready(&self) {
        let mut became_ready = false;
        let changed = self.state.send_if_modified(|state| {
            let State::NotReady(unmet) = state else {
                return false;
            };
            let before = unmet.len();
            unmet.retain(|other| other.name != self.name);
            let changed = unmet.len() < before;
            became_ready = changed && unmet.is_empty();
            if became_ready {
                *state = State::Ready;
            }
            changed
        });
        if changed {
            tracing::info!("{} is ready", self.name);
        }
        if became_ready {
            tracing::info!("everything is ready");
        }
    }

    /// It is not met, and why: what was wrong, what to do. The same reason said again changes nothing.
    pub fn set_not_ready(&self, reason: impl Into<String>) {
        let reason = reason.into();
        let logged = reason.clone();
        let changed = self.state.send_if_modified(|state| {
            let mut unmet = state.unmet().to_vec();
            match unmet.iter_mut().find(|other| other.name == self.name) {
                Some(same) if same.reason == reason => return false,
                Some(same) => same.reason = reason,
                None => unmet.push(Unmet {
                    name: self.name,
                    reason,
                }),
            }
            *state = State::NotReady(unmet);
            true
        });
        if changed {
            tracing::warn!(reason = logged, "{} is not ready", self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{Format, tests::logged};

    fn unmet(pairs: &[(&'static str, &str)]) -> State {
        State::NotReady(
            pairs
                .iter()
                .map(|&(name, reason)| Unmet {
                    name,
                    reason: reason.to_owned(),
                })
                .collect(),
        )
    }

    #[test]
    fn nothing_registered_is_not_ready() {
        assert_eq!(Readiness::new().state(), unmet(&[("start", "starting")]));
    }

    #[test]
    fn ready_only_when_every_condition_has_reported() {
        let readiness = Readiness::new();
        let signing = readiness.condition("signing");
        let record = readiness.condition("record");
        assert_eq!(
            readiness.state(),
            unmet(&[("signing", "starting"), ("record", "starting")])
        );
        signing.set_ready();
        signing.set_ready();
        assert_eq!(readiness.state(), unmet(&[("record", "starting")]));
        record.set_ready();
        assert_eq!(readiness.state(), State::Ready);
    }

    #[test]
    fn a_condition_lost_is_told_with_its_latest_reason_and_may_return() {
        let readiness = Readiness::new();
        let record = readiness.condition("record");
        record.set_ready();
        record.set_not_ready("disk full");
        record.set_not_ready("disk gone");
        assert_eq!(readiness.state(), unmet(&[("record", "disk gone")]));
        record.set_ready();
        assert!(readiness.state().is_ready());
    }

    #[test]
    fn a_condition_registered_late_takes_readiness_away_until_it_is_met() {
        let readiness = Readiness::new();
        readiness.condition("signing").set_ready();
        let late = readiness.condition("agent");
        assert_eq!(readiness.state(), unmet(&[("agent", "starting")]));
        late.set_ready();
        assert!(readiness.state().is_ready());
    }

    #[test]
    fn each_change_is_logged_once() {
        let readiness = Readiness::new();
        let (signing, record) = (readiness.condition("signing"), readiness.condition("record"));
        let log = logged(Format::Text, "info", || {
            for condition in [&signing, &record] {
                condition.set_ready();
                condition.set_ready();
            }
            for reason in ["disk full", "disk full", "disk gone"] {
                record.set_not_ready(reason);
            }
        });
        let count = |words: &str| log.lines().filter(|line| line.contains(words)).count();
        for (words, times) in [
            ("signing is ready", 1),
            ("record is ready", 1),
            ("everything is ready", 1),
            ("record is not ready", 2),
        ] {
            assert_eq!(count(words), times, "{words}: {log}");
        }
        assert_eq!((count("disk full"), count("disk gone")), (1, 1), "{log}");
    }

    #[test]
    fn watchers_wake_for_changes_only() {
        let readiness = Readiness::new();
        let record = readiness.condition("record");
        let mut watch = readiness.watch();
        record.set_not_ready("starting");
        assert!(!watch.has_changed().unwrap());
        record.set_ready();
        assert!(watch.has_changed().unwrap());
        assert!(watch.borrow_and_update().is_ready());
        record.set_ready();
        assert!(!watch.has_changed().unwrap());
    }

    #[tokio::test]
    async fn waiting_for_ready_ends_when_the_last_condition_is_met() {
        let readiness = Readiness::new();
        let record = readiness.condition("record");
        let waiter = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.ready().await }
        });
        record.set_ready();
        waiter.await.unwrap();
    }
}
