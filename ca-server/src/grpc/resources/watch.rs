//! Following resources: the state first, `SYNCED`, then what changes. A follower that comes back says the revision that it knows; if that
//! is still the state's it gets `SYNCED` alone, with that revision. Otherwise it gets the whole state again and drops what was not
//! named before `SYNCED`: deletions leave no trace that could be told later.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::v1;
use proto::v1::resource_event::Verb;
use runtime::drain::Drain;
use tokio::sync::mpsc::Sender;
use tonic::Status;

use super::request::{Filter, key};
use super::to_message;
use crate::store::{State, Store};

/// One follower.
pub(super) struct Watcher {
    filter: Filter,
    /// The revision that the follower knows; 0 for none.
    since: u64,
    events: Sender<Result<v1::ResourceEvent, Status>>,
    /// What it has been told: kind, namespace and name, and the revision of each.
    told: BTreeMap<(String, String, String), u64>,
}

impl Watcher {
    pub(super) fn new(filter: Filter, since: u64, events: Sender<Result<v1::ResourceEvent, Status>>) -> Self {
        Self {
            filter,
            since,
            events,
            told: BTreeMap::new(),
        }
    }

    /// Tells what there is and what changes, until the follower goes, the store stops or the server drains.
    pub(super) async fn follow(mut self, store: Arc<dyn Store>, drain: Drain) {
        let mut changed = store.changed();
        let mut synced = false;
        loop {
            changed.borrow_and_update();
            let mut events = {
                let state = store.read();
                let (events, revision) = (self.news(&state), state.revision());
                let known = !synced && self.since > 0 && self.since == revision;
                let mut events = if known { Vec::new() } else { events };
                if !synced {
                    events.push(event(Verb::Synced, None, revision));
                }
                events
            };
            synced = true;
            for event in events.drain(..) {
                if self.events.send(Ok(event)).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                more = changed.changed() => if more.is_err() { return },
                () = self.events.closed() => return,
                () = drain.begun() => return,
            }
        }
    }

    /// What the follower has not been told yet.
    fn news(&mut self, state: &State) -> Vec<v1::ResourceEvent> {
        let (mut events, mut now) = (Vec::new(), BTreeMap::new());
        for row in self.filter.rows(state) {
            let (kind, namespace, name) = key(row);
            let owned = (kind.to_owned(), namespace.to_owned(), name.to_owned());
            if self.told.get(&owned) != Some(&row.revision) {
                events.push(event(Verb::Put, Some(to_message(row)), row.revision));
            }
            now.insert(owned, row.revision);
        }
        for (kind, namespace, name) in self.told.keys().filter(|key| !now.contains_key(*key)) {
            let gone = v1::Resource {
                kind: kind.clone(),
                namespace: namespace.clone(),
                name: name.clone(),
                ..v1::Resource::default()
            };
            events.push(event(Verb::Deleted, Some(gone), state.revision()));
        }
        self.told = now;
        events
    }
}

fn event(verb: Verb, resource: Option<v1::Resource>, revision: u64) -> v1::ResourceEvent {
    v1::ResourceEvent {
        verb: verb.into(),
        resource,
        revision,
    }
}
