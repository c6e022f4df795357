//! All registrations at one time, found by name and by path. A stored registration that cannot be read is in
//! it with the reason, and grants nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use identity::{Reason, SpiffeId};
use proto::Refusal;
use resources::{Document, Registration, Resource, Warning};

use super::shards::Shards;
use crate::store::{RegistrationRef, ResourceRow};

/// A registration as it is stored: its value, and the revisions that distinguish it from another one of the
/// same name.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The valid document.
    pub registration: Registration,
    /// Its name, the revision that created it, and the revision of its last change.
    pub reference: RegistrationRef,
}

/// All registrations at one time.
#[derive(Clone, Debug, Default)]
pub struct RegistrationSet {
    /// The number of changes that it has taken in.
    pub(super) changes: u64,
    by_name: Shards<Arc<Registered>>,
    by_path: Shards<Vec<Arc<Registered>>>,
    unreadable: BTreeMap<String, Arc<str>>,
}

impl RegistrationSet {
    /// The registration of this name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<Registered>> {
        self.by_name.get(&full_name(namespace, name))
    }

    /// The registration `namespace/name`; `None` if there is none.
    ///
    /// # Errors
    /// `INTERNAL` if it cannot be read: what depends on it waits until it is applied again.
    pub(super) fn find(&self, full_name: &str) -> Result<Option<&Arc<Registered>>, Refusal> {
        match self.unreadable.get(full_name) {
            Some(why) => Err(Refusal::new(
                Reason::Internal,
                format!(
                    "registration {full_name} is stored and cannot be read, so that it grants nothing: {why}; apply it again"
                ),
            )
            .with("name", full_name)),
            None => Ok(self.by_name.get(full_name)),
        }
    }

    /// Registrations whose path is this text, for identities of this path or as a template; in the order of
    /// their names.
    pub(crate) fn with_path(&self, path: &str) -> &[Arc<Registered>] {
        self.by_path.get(path).map_or(&[], Vec::as_slice)
    }

    /// Registrations that grant this identity whatever the caller proved, in the order of their names.
    pub(crate) fn fixed(&self, id: &SpiffeId) -> &[Arc<Registered>] {
        // No SPIFFE ID has the braces of a template.
        self.with_path(id.path())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Registered>> {
        self.by_name.values()
    }

    /// How many cannot be read.
    pub(crate) fn unreadable(&self) -> usize {
        self.unreadable.len()
    }

    /// Takes in the stored row, and returns the parts of it that are not in force. An error says that it
    /// cannot be read.
    pub(super) fn put(&mut self, row: &ResourceRow) -> Result<Vec<Warning>, Arc<str>> {
        self.remove(&row.namespace, &row.name);
        match parse(&row.document_json) {
            Ok((registration, warnings)) => {
                let reference = RegistrationRef {
                    namespace: row.namespace.clone(),
                    name: row.name.clone(),
                    created_revision: row.created_revision,
                    revision: row.revision,
                };
                self.insert(Arc::new(Registered {
                    registration,
                    reference,
                }));
                Ok(warnings)
            }
            Err(why) => {
                let why: Arc<str> = why.into();
                self.unreadable
                    .insert(full_name(&row.namespace, &row.name), Arc::clone(&why));
                Err(why)
            }
        }
    }

    /// Takes in a registration that another set has.
    pub(super) fn insert(&mut self, registered: Arc<Registered>) {
        self.by_path
            .update(registered.registration.path().as_str(), |same| {
                let at = same.partition_point(|other| order(other) < order(&registered));
                same.insert(at, Arc::clone(&registered));
                true
            });
        let reference = &registered.reference;
        let name = full_name(&reference.namespace, &reference.name);
        self.by_name.insert(&name, registered);
    }

    pub(super) fn remove(&mut self, namespace: &str, name: &str) {
        let full_name = full_name(namespace, name);
        self.unreadable.remove(&full_name);
        let Some(gone) = self.by_name.remove(&full_name) else {
            return;
        };
        self.by_path.update(gone.registration.path().as_str(), |same| {
            same.retain(|other| !Arc::ptr_eq(other, &gone));
            !same.is_empty()
        });
    }
}

fn full_name(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// Of several registrations for one identity the first in this order applies.
fn order(registered: &Registered) -> (&str, &str) {
    let reference = &registered.reference;
    (&reference.namespace, &reference.name)
}

fn parse(document_json: &[u8]) -> Result<(Registration, Vec<Warning>), String> {
    let document = Document::from_stored_json(document_json).map_err(|e| e.to_string())?;
    match document.resource {
        Resource::Registration(registration) => Ok((*registration, document.warnings)),
        _ => Err(format!("found a {}, expected a Registration", document.kind)),
    }
}
