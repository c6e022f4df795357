//! Registrations: who may have which identity. The stored documents are compiled once for each revision of the resources, and a
//! decision is made against one such set.

mod authorize;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use identity::{Reason, TrustDomain};
use proto::Refusal;
use resources::{Document, Registration, Resource};

pub(crate) use authorize::server_name_refused;
pub use authorize::{Grant, Profiles, Wish};

use crate::config::ServerName;
use crate::store::{RegistrationRef, Store};

/// The kind under which registrations are stored.
pub const KIND: &str = "Registration";

/// A registration as it is stored: its value, and the revisions that tell it from another one of the same name.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The valid document.
    pub registration: Registration,
    /// Its name, the revision that created it, and the revision of its last change.
    pub reference: RegistrationRef,
}

/// All registrations of one revision of the resources.
#[derive(Debug, Default)]
pub struct RegistrationSet {
    revision: u64,
    by_name: HashMap<(String, String), Arc<Registered>>,
}

/// The registrations in force.
pub struct Registrations {
    trust_domain: TrustDomain,
    profiles: Profiles,
    server_names: Vec<String>,
    store: Arc<dyn Store>,
    compiled: ArcSwap<RegistrationSet>,
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
            compiled: ArcSwap::default(),
        }
    }

    /// Whether the DNS name, in canonical form, is one by which clients reach this server.
    pub fn is_server_name(&self, name: &str) -> bool {
        self.server_names.iter().any(|ours| ours == name)
    }

    /// The set of the store's present revision.
    pub fn current(&self) -> Result<Arc<RegistrationSet>, Refusal> {
        let compiled = self.compiled.load();
        let state = self.store.read();
        let revision = state.revision();
        if compiled.revision == revision {
            return Ok(Arc::clone(&compiled));
        }
        let mut by_name = HashMap::new();
        for row in state.resources_of(KIND) {
            let reference = RegistrationRef {
                namespace: row.namespace.clone(),
                name: row.name.clone(),
                created_revision: row.created_revision,
                revision: row.revision,
            };
            let key = (row.namespace.clone(), row.name.clone());
            // A registration that has not changed is taken over as it was.
            let known = compiled
                .by_name
                .get(&key)
                .filter(|known| known.reference == reference)
                .map(Arc::clone);
            let registered = match known {
                Some(known) => known,
                None => Arc::new(Registered {
                    registration: parse(&row.document_json)?,
                    reference,
                }),
            };
            by_name.insert(key, registered);
        }
        drop(state);
        let fresh = Arc::new(RegistrationSet { revision, by_name });
        self.compiled.store(Arc::clone(&fresh));
        Ok(fresh)
    }
}

impl RegistrationSet {
    /// The registration of this name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Registered>> {
        self.by_name.get(&(namespace.to_owned(), name.to_owned()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Registered>> {
        self.by_name.values()
    }
}

/// What was accepted once and cannot be read now grants nothing, and stops what depends on it.
fn parse(document_json: &[u8]) -> Result<Registration, Refusal> {
    let document = Document::from_stored_json(document_json).map_err(|e| {
        Refusal::new(
            Reason::Internal,
            format!("a stored registration cannot be read: {e}"),
        )
    })?;
    match document.resource {
        Resource::Registration(registration) => Ok(*registration),
        _ => Err(Refusal::new(
            Reason::Internal,
            format!("a stored registration is a {}", document.kind),
        )),
    }
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
