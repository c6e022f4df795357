//! Services: which workloads stand behind a host, which of their ports a Service's port means, and what it speaks.

use std::sync::Arc;

use resources::{Protocol, ServiceEntry, ServicePort, WorkloadEntry};

use crate::policies::{Origin, Policies, Workload};

/// A service of the set.
#[derive(Debug, PartialEq)]
pub struct Service {
    pub(crate) origin: Origin,
    pub(crate) entry: Arc<ServiceEntry>,
}

impl Service {
    /// The document that it comes from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What the document says.
    pub fn entry(&self) -> &ServiceEntry {
        &self.entry
    }

    /// Its port of this number.
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.entry.ports().iter().find(|port| port.number == number)
    }
}

impl Policies {
    /// The services of a host, nearest match first: of the client's namespace before all others.
    pub fn service(&self, host: &str, client_namespace: &str) -> Option<&Service> {
        self.hosts.matching(host).find_map(|found| {
            let mut services = found.iter().map(Arc::as_ref);
            let own = services
                .clone()
                .find(|service| service.origin.namespace == client_namespace);
            own.or_else(|| services.find(|service| service.entry.export_to().reaches(client_namespace)))
        })
    }

    /// The services that this workload is an endpoint of.
    pub fn services_of<'p>(&'p self, workload: &'p Workload<'p>) -> impl Iterator<Item = &'p Service> {
        let namespace = self.namespaces.get(workload.namespace);
        let services = namespace.into_iter().flat_map(|namespace| &namespace.services);
        services
            .map(Arc::as_ref)
            .filter(|service| self.is_behind(service, workload))
    }

    fn is_behind(&self, service: &Service, workload: &Workload<'_>) -> bool {
        match service.entry.selector() {
            Some(labels) => workload.has(labels),
            None => self.endpoint(service, workload).is_some(),
        }
    }

    /// The entry that describes this workload as an endpoint of the service.
    fn endpoint<'p>(&'p self, service: &'p Service, workload: &Workload<'_>) -> Option<&'p WorkloadEntry> {
        let is_it = |entry: &&WorkloadEntry| workload.has(entry.labels());
        let own = service.entry.endpoints().iter().find(is_it);
        own.or_else(|| {
            service.entry.selector()?;
            let namespace = self.namespaces.get(&service.origin.namespace)?;
            namespace.workloads.iter().map(|of| of.value.as_ref()).find(is_it)
        })
    }

    /// The workload's port that a port of the service means.
    pub fn workload_port(&self, service: &Service, port: &ServicePort, workload: &Workload<'_>) -> u16 {
        let endpoint = self.endpoint(service, workload);
        target(port, endpoint)
    }

    /// What the port of a workload is declared to speak; nothing where no service says.
    pub fn declared(&self, workload: &Workload<'_>, port: u16) -> Option<Protocol> {
        self.services_of(workload).find_map(|service| {
            let ports = service.entry.ports().iter();
            ports
                .filter(|declared| self.workload_port(service, declared, workload) == port)
                .find_map(|declared| declared.protocol)
        })
    }
}

pub(crate) fn target(port: &ServicePort, endpoint: Option<&WorkloadEntry>) -> u16 {
    let own = endpoint.and_then(|endpoint| endpoint.ports().get(&port.name).copied());
    own.or(port.target).unwrap_or(port.number)
}
