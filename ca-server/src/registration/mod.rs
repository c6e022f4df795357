//! Registrations: which callers may have which identity. The stored documents are kept compiled, each change
//! is compiled once, and a decision is made against one such set.

mod authorize;
mod set;
mod shards;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use identity::TrustDomain;

pub(crate) use authorize::server_name_refused;
pub use authorize::{Grant, Profiles, Wish};
pub use set::{Registered, RegistrationSet};

use crate::config::ServerName;
use crate::metrics::Metrics;
use crate::store::{REGISTRATION_KIND, ResourceRow, Store};

/// The kind under which registrations are stored.
pub const KIND: &str = REGISTRATION_KIND;

/// The registrations in force.
pub struct Registrations {
    trust_domain: TrustDomain,
    profiles: Profiles,
    server_names: Vec<String>,
    store: Arc<dyn Store>,
    metrics: Option<Arc<Metrics>>,
    compiled: ArcSwap<RegistrationSet>,
    /// Held while a change is compiled: requests that meet it wait for the result and compile nothing
    /// themselves.
    compiling: Mutex<()>,
}

impl Registrations {
    /// Those that the store holds, now and after each change. They never grant any of `server_names`.
    pub fn new(
        trust_domain: TrustDomain,
        profiles: Profiles,
        server_names: &[ServerName],
        store: Arc<dyn Store>,
    ) -> Self {
        let server_names = server_names.iter().map(|name| name.as_str().to_owned());
        Self {
            trust_domain,
            profiles,
            server_names: server_names.collect(),
            store,
            metrics: None,
            compiled: ArcSwap::default(),
            compiling: Mutex::default(),
        }
    }

    /// The same, showing in `metrics` how many cannot be read.
    pub fn with_metrics(self, metrics: Arc<Metrics>) -> Self {
        Self {
            metrics: Some(metrics),
            ..self
        }
    }

    /// Whether the DNS name, in canonical form, is one by which clients reach this server.
    pub fn is_server_name(&self, name: &str) -> bool {
        self.server_names.iter().any(|ours| ours == name)
    }

    /// The registrations that the store holds now; the caller must not hold the store's state. Other changes
    /// of the store, such as revocations, cost nothing here.
    pub fn current(&self) -> Arc<RegistrationSet> {
        let compiled = self.compiled.load();
        if compiled.changes == self.store.read().registration_changes().count() {
            return Arc::clone(&compiled);
        }
        drop(compiled);
        self.catch_up()
    }

    /// Compiles what changed since the last time.
    fn catch_up(&self) -> Arc<RegistrationSet> {
        let _compiling = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        let compiled = self.compiled.load_full();
        let Some(Update { changes, base, rows }) = self.missed(&compiled) else {
            return compiled;
        };
        let mut fresh = base;
        for (name, row) in &rows {
            match row {
                Some(row) => self.put(&mut fresh, row),
                None => fresh.remove(&name.0, &name.1),
            }
        }
        fresh.changes = changes;
        if let Some(metrics) = &self.metrics {
            metrics.unreadable_registrations(fresh.unreadable());
        }
        let fresh = Arc::new(fresh);
        self.compiled.store(Arc::clone(&fresh));
        fresh
    }

    /// What the store has that `compiled` has not; `None` if nothing. The state is held to copy rows, and
    /// nothing else.
    fn missed(&self, compiled: &RegistrationSet) -> Option<Update> {
        let state = self.store.read();
        let known = state.registration_changes();
        let changes = known.count();
        if changes == compiled.changes {
            return None;
        }
        if let Some(names) = known.since(compiled.changes) {
            let names: BTreeSet<(&str, &str)> = names.collect();
            let row = |(namespace, name): (&str, &str)| {
                let row = state.resource(KIND, namespace, name).cloned();
                ((namespace.to_owned(), name.to_owned()), row)
            };
            return Some(Update {
                changes,
                base: compiled.clone(),
                rows: names.into_iter().map(row).collect(),
            });
        }
        let (mut kept, mut rows) = (Vec::new(), Vec::new());
        for row in state.resources_of(KIND) {
            let same = |known: &&Arc<Registered>| {
                let reference = &known.reference;
                (reference.revision, reference.created_revision) == (row.revision, row.created_revision)
            };
            match compiled.get(&row.namespace, &row.name).filter(same) {
                Some(known) => kept.push(Arc::clone(known)),
                None => rows.push(((row.namespace.clone(), row.name.clone()), Some(row.clone()))),
            }
        }
        drop(state);
        let mut base = RegistrationSet::default();
        for registered in kept {
            base.insert(registered);
        }
        Some(Update { changes, base, rows })
    }

    /// Takes in one row, and logs what of it is not in force.
    fn put(&self, set: &mut RegistrationSet, row: &ResourceRow) {
        let name = format!("{}/{}", row.namespace, row.name);
        match set.put(row) {
            Err(why) => tracing::error!(
                "registration {name} is stored and cannot be read, so that it grants nothing: {why}; apply it again"
            ),
            Ok(warnings) => {
                for warning in warnings {
                    tracing::warn!("registration {name}: {warning}");
                }
            }
        }
        let registered = set.get(&row.namespace, &row.name);
        let names = registered.map_or(&[][..], |registered| registered.registration.dns_names());
        for taken in names.iter().filter(|taken| self.is_server_name(taken)) {
            tracing::warn!(
                "registration {name} lists {taken}, a name of this server by which stock proxies know it; it is not granted"
            );
        }
    }
}

/// A change that is not compiled yet.
struct Update {
    /// The number of changes with it.
    changes: u64,
    /// What stays as it is.
    base: RegistrationSet,
    /// Namespace and name of each registration that changed, and its row where it was not deleted.
    rows: Vec<((String, String), Option<ResourceRow>)>,
}

impl From<&crate::config::Profiles> for Profiles {
    fn from(profiles: &crate::config::Profiles) -> Self {
        Self {
            workload: profiles.workload,
            device: profiles.device,
            agent: profiles.agent,
        }
    }
}

#[cfg(test)]
mod tests;
