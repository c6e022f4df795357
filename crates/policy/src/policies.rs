//! A set of resources, compiled: every policy at the scope where it counts, the oldest first. A document can be put in or taken
//! out later, which costs what its namespace and hosts hold, and ends where compiling the changed set would have ended.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use resources::{DestinationRule, Document, Kind, Labels, PeerAuthentication, Resource, WorkloadEntry};
use time::OffsetDateTime;

use crate::hosts::Hosts;
use crate::service::Service;

/// The namespace of the mesh's own policies where nothing says otherwise.
pub const DEFAULT_ROOT_NAMESPACE: &str = "istio-system";

/// Resources as decisions need them. Equal sets decide alike.
#[derive(Debug, PartialEq)]
pub struct Policies {
    pub(crate) root_namespace: String,
    /// Those that have something in them.
    pub(crate) namespaces: HashMap<String, Namespace>,
    /// Services by each of their hosts.
    pub(crate) hosts: Hosts<Arc<Service>>,
}

/// Where a decision comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The number that it was put in with: its place among the documents that were compiled.
    pub index: usize,
    pub(crate) created: Option<OffsetDateTime>,
}

/// A workload at the server's end.
#[derive(Clone, Copy, Debug)]
pub struct Workload<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its labels.
    pub labels: &'a Labels,
    /// Whether a proxy of the mesh stands before it.
    pub is_enrolled: bool,
}

/// A value with where it comes from.
#[derive(Debug, PartialEq)]
pub(crate) struct Of<T> {
    pub(crate) origin: Origin,
    pub(crate) value: Arc<T>,
}

/// All lists are in the order of `by_age`.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Namespace {
    /// Without selector; the first counts.
    pub(crate) peers: Vec<Of<PeerAuthentication>>,
    /// With selector; the first that matches counts.
    pub(crate) selecting: Vec<Of<PeerAuthentication>>,
    pub(crate) rules: Hosts<Of<DestinationRule>>,
    pub(crate) workloads: Vec<Of<WorkloadEntry>>,
    pub(crate) services: Vec<Arc<Service>>,
}

impl Policies {
    /// Compiles documents of any kinds in any order; those that are no policies are left alone.
    pub fn compile<'d>(root_namespace: &str, documents: impl IntoIterator<Item = &'d Document>) -> Self {
        let mut policies = Self {
            root_namespace: root_namespace.to_owned(),
            namespaces: HashMap::new(),
            hosts: Hosts::default(),
        };
        let mut documents: Vec<(usize, &Document)> = documents.into_iter().enumerate().collect();
        // The text decides between documents of one name, so that the order of files never does.
        documents.sort_by(|(_, a), (_, b)| by_age(&key(a), &key(b)).then_with(|| a.json.cmp(&b.json)));
        for (index, document) in documents {
            policies.insert(index, document);
        }
        policies
    }

    /// The namespace of the mesh's own policies.
    pub fn root_namespace(&self) -> &str {
        &self.root_namespace
    }

    /// Puts a document in, in place of what has its kind and name. Decisions and findings name it by `index`.
    pub fn put(&mut self, index: usize, document: &Document) {
        self.remove(document.kind, &document.namespace, &document.name);
        self.insert(index, document);
    }

    /// Takes out what has this kind and name, if there is any.
    pub fn remove(&mut self, kind: Kind, namespace: &str, name: &str) {
        let Some(found) = self.namespaces.get_mut(namespace) else {
            return;
        };
        match kind {
            Kind::Registration => {}
            Kind::PeerAuthentication => {
                found.peers.retain(|policy| policy.origin.name != name);
                found.selecting.retain(|policy| policy.origin.name != name);
            }
            Kind::DestinationRule => found.rules.retain(|rule| rule.origin.name != name),
            Kind::WorkloadEntry => found.workloads.retain(|workload| workload.origin.name != name),
            Kind::ServiceEntry => {
                let gone = found
                    .services
                    .extract_if(.., |service| service.origin.name == name);
                for service in gone {
                    for host in service.entry.hosts() {
                        self.hosts.retain_of(host, |other| !Arc::ptr_eq(other, &service));
                    }
                }
            }
        }
        if *found == Namespace::default() {
            self.namespaces.remove(namespace);
        }
    }

    fn insert(&mut self, index: usize, document: &Document) {
        if matches!(document.resource, Resource::Registration(_)) {
            return;
        }
        let origin = Origin {
            kind: document.kind,
            namespace: document.namespace.clone(),
            name: document.name.clone(),
            index,
            created: document.created,
        };
        let namespace = self.namespaces.entry(document.namespace.clone()).or_default();
        match &document.resource {
            Resource::Registration(_) => {}
            Resource::PeerAuthentication(policy) => {
                let policies = match policy.selector() {
                    None => &mut namespace.peers,
                    Some(_) => &mut namespace.selecting,
                };
                insert(policies, Of::new(origin, policy));
            }
            Resource::DestinationRule(rule) => {
                insert(namespace.rules.of_mut(rule.host()), Of::new(origin, rule));
            }
            Resource::WorkloadEntry(workload) => insert(&mut namespace.workloads, Of::new(origin, workload)),
            Resource::ServiceEntry(entry) => {
                let service = Arc::new(Service {
                    origin,
                    entry: Arc::clone(entry),
                });
                for host in entry.hosts() {
                    insert(self.hosts.of_mut(host), Arc::clone(&service));
                }
                insert(&mut namespace.services, service);
            }
        }
    }
}

/// What comes from a document.
pub(crate) trait Comes {
    fn origin(&self) -> &Origin;
}

impl<T> Comes for Of<T> {
    fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl Comes for Arc<Service> {
    fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// Behind all that are as old or older.
fn insert<T: Comes>(list: &mut Vec<T>, new: T) {
    let after = |other: &T| by_age(&other.origin().key(), &new.origin().key()).is_le();
    list.insert(list.partition_point(after), new);
}

impl<T> Of<T> {
    fn new(origin: Origin, value: &Arc<T>) -> Self {
        let value = Arc::clone(value);
        Self { origin, value }
    }
}

impl Workload<'_> {
    /// Whether it has all these labels; no label at all names nobody.
    pub(crate) fn has(&self, labels: &Labels) -> bool {
        !labels.is_empty() && has_all(self.labels, labels)
    }
}

pub(crate) fn has_all(own: &Labels, wanted: &Labels) -> bool {
    wanted.iter().all(|(key, value)| own.get(key) == Some(value))
}

/// Age, name and namespace.
type Key<'a> = (Option<OffsetDateTime>, &'a str, &'a str);

fn key(document: &Document) -> Key<'_> {
    (document.created, &document.name, &document.namespace)
}

impl Origin {
    fn key(&self) -> Key<'_> {
        (self.created, &self.name, &self.namespace)
    }
}

/// The oldest first, then by name, then by namespace; what has no age yet is younger than all.
fn by_age(a: &Key<'_>, b: &Key<'_>) -> Ordering {
    let age = |key: &Key<'_>| (key.0.is_none(), key.0);
    age(a).cmp(&age(b)).then_with(|| (a.1, a.2).cmp(&(b.1, b.2)))
}
