//! A set of resources, compiled: every policy at the scope where it counts, the oldest first.

use std::cmp::Ordering;
use std::collections::HashMap;

use resources::{
    DestinationRule, Document, Kind, Labels, PeerAuthentication, Resource, ServiceEntry, WorkloadEntry,
};
use time::OffsetDateTime;

use crate::hosts::Hosts;
use crate::service::Service;

/// Resources as decisions need them.
#[derive(Debug)]
pub struct Policies {
    pub(crate) root_namespace: String,
    pub(crate) namespaces: HashMap<String, Namespace>,
    /// Services by each of their hosts, as places in `services`.
    pub(crate) hosts: Hosts<usize>,
    pub(crate) services: Vec<Service>,
}

/// Where a decision comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its place among the documents that were compiled.
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
#[derive(Debug)]
pub(crate) struct Of<T> {
    pub(crate) origin: Origin,
    pub(crate) value: T,
}

#[derive(Debug, Default)]
pub(crate) struct Namespace {
    /// Without selector; the first counts.
    pub(crate) peers: Vec<Of<PeerAuthentication>>,
    /// With selector; the first that matches counts.
    pub(crate) selecting: Vec<Of<PeerAuthentication>>,
    pub(crate) rules: Hosts<Of<DestinationRule>>,
    pub(crate) workloads: Vec<Of<WorkloadEntry>>,
    /// Places in `Policies::services`.
    pub(crate) services: Vec<usize>,
}

impl Policies {
    /// Compiles documents of any kinds in any order; those that are no policies are left alone.
    pub fn compile<'d>(root_namespace: &str, documents: impl IntoIterator<Item = &'d Document>) -> Self {
        let mut policies = Self {
            root_namespace: root_namespace.to_owned(),
            namespaces: HashMap::new(),
            hosts: Hosts::default(),
            services: Vec::new(),
        };
        let mut documents: Vec<(usize, &Document)> = documents.into_iter().enumerate().collect();
        documents.sort_by(|(_, a), (_, b)| by_age(a, b));
        for (index, document) in documents {
            policies.add(index, document);
        }
        policies
    }

    /// The namespace of the mesh's own policies.
    pub fn root_namespace(&self) -> &str {
        &self.root_namespace
    }

    fn add(&mut self, index: usize, document: &Document) {
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
                policies.push(Of {
                    origin,
                    value: policy.clone(),
                });
            }
            Resource::DestinationRule(rule) => {
                let value = rule.clone();
                namespace.rules.push(rule.host(), Of { origin, value });
            }
            Resource::WorkloadEntry(workload) => namespace.workloads.push(Of {
                origin,
                value: workload.clone(),
            }),
            Resource::ServiceEntry(service) => {
                namespace.services.push(self.services.len());
                self.add_service(origin, service);
            }
        }
    }

    fn add_service(&mut self, origin: Origin, entry: &ServiceEntry) {
        for host in entry.hosts() {
            self.hosts.push(host, self.services.len());
        }
        self.services.push(Service {
            origin,
            entry: entry.clone(),
        });
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

/// The oldest first, then by name, then by namespace; what has no age yet is younger than all. The text decides between
/// documents of one name, so that the order of files never does.
fn by_age(a: &Document, b: &Document) -> Ordering {
    let age = |document: &Document| (document.created.is_none(), document.created);
    age(a)
        .cmp(&age(b))
        .then_with(|| a.name.cmp(&b.name))
        .then_with(|| a.namespace.cmp(&b.namespace))
        .then_with(|| a.kind.cmp(&b.kind))
        .then_with(|| a.json.to_string().cmp(&b.json.to_string()))
}
