//! The policies of the store, kept compiled: what clashes in the set that an application would make is known before it is made. Only
//! what changed since the last time is compiled again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use policy::{Finding, Origin, Policies};
use proto::v1;
use resources::{Document, Kind};
use time::OffsetDateTime;

use crate::store::{ResourceRow, Store};

/// Most clashes of one answer; those that break connections come first.
const MAX_CLASHES: usize = 100;

/// The policies, up to some revision of the store.
pub(super) struct Mesh(Mutex<Compiled>);

struct Compiled {
    policies: Policies,
    known: BTreeMap<Key, Known>,
    /// The revision of the store that this is; none where it is another set.
    revision: Option<u64>,
}

/// Kind, namespace and name.
type Key = (Kind, String, String);

/// A document that is compiled in.
struct Known {
    /// Its revision; none for one that is not in the store.
    revision: Option<u64>,
    created: Option<OffsetDateTime>,
}

impl Mesh {
    pub(super) fn new(root_namespace: &str) -> Self {
        Self(Mutex::new(Compiled {
            policies: Policies::compile(root_namespace, []),
            known: BTreeMap::new(),
            revision: None,
        }))
    }

    /// What these documents would clash with if they were applied now. They get the age that the store gives them.
    pub(super) fn clashes(&self, store: &dyn Store, documents: &mut [Document]) -> Vec<v1::Finding> {
        let policies = documents
            .iter_mut()
            .filter(|document| document.kind != Kind::Registration);
        let mut applied: BTreeMap<Key, &mut Document> = policies
            .map(|document| (key(document.kind, &document.namespace, &document.name), document))
            .collect();
        if applied.is_empty() {
            return Vec::new();
        }
        // A set that a panic left behind is caught up with as any other.
        let mut compiled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.catch_up(store);
        compiled.revision = None;
        for (key, document) in &mut applied {
            document.created = compiled.known.get(key).and_then(|known| known.created);
            compiled.put(key.clone(), document, None);
        }
        let is_applied =
            |origin: &Origin| applied.contains_key(&key(origin.kind, &origin.namespace, &origin.name));
        let mut found: Vec<Finding<'_>> = policy::analyze(&compiled.policies)
            .into_iter()
            .filter(|found| is_applied(found.resource) || found.other.is_some_and(is_applied))
            .collect();
        found.sort_by_key(|found| found.code.severity());
        let told = found.iter().take(MAX_CLASHES).map(message);
        told.chain(more(found.len())).collect()
    }
}

impl Compiled {
    /// Compiles in what the store has and this set has not, and takes out what the store has no more.
    fn catch_up(&mut self, store: &dyn Store) {
        let (mut changed, mut there) = (Vec::new(), BTreeSet::new());
        let revision = {
            let state = store.read();
            if self.revision == Some(state.revision()) {
                return;
            }
            for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Registration) {
                for row in state.resources_of(kind.word()) {
                    let key = key(kind, &row.namespace, &row.name);
                    let known = self.known.get(&key).and_then(|known| known.revision);
                    if known != Some(row.revision) {
                        changed.push(row.clone());
                    }
                    there.insert(key);
                }
            }
            state.revision()
        };
        self.known.retain(|key, _| {
            let stays = there.contains(key);
            if !stays {
                self.policies.remove(key.0, &key.1, &key.2);
            }
            stays
        });
        for row in &changed {
            self.read(row);
        }
        self.revision = Some(revision);
    }

    fn read(&mut self, row: &ResourceRow) {
        match Document::from_json(&row.document_json) {
            Ok(mut document) => {
                document.created = OffsetDateTime::from_unix_timestamp(row.created_at).ok();
                let key = key(document.kind, &document.namespace, &document.name);
                self.put(key, &document, Some(row.revision));
            }
            Err(e) => tracing::error!(
                "{} {}/{} is stored and cannot be read: {e}",
                row.kind,
                row.namespace,
                row.name
            ),
        }
    }

    fn put(&mut self, key: Key, document: &Document, revision: Option<u64>) {
        self.policies.put(0, document);
        let created = document.created;
        self.known.insert(key, Known { revision, created });
    }
}

fn key(kind: Kind, namespace: &str, name: &str) -> Key {
    (kind, namespace.to_owned(), name.to_owned())
}

fn message(found: &Finding<'_>) -> v1::Finding {
    let full_name = |origin: &Origin| format!("{} {}", origin.kind, origin.full_name());
    v1::Finding {
        code: found.code.word().to_owned(),
        severity: found.code.severity().word().to_owned(),
        resource: full_name(found.resource),
        other: found.other.map(full_name).unwrap_or_default(),
        message: found.message.clone(),
        fix: found.fix.clone(),
    }
}

/// Says that there are more than are told.
fn more(found: usize) -> Option<v1::Finding> {
    let more = found.checked_sub(MAX_CLASHES).filter(|more| *more > 0)?;
    Some(v1::Finding {
        code: "MORE".to_owned(),
        severity: "info".to_owned(),
        message: format!("{more} more findings are not told here"),
        fix: "run `signet analyze -f` over the files".to_owned(),
        ..v1::Finding::default()
    })
}

#[cfg(test)]
mod tests;
