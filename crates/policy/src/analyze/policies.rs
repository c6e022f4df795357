//! PeerAuthentications that do nothing, or not what they seem to.

use std::collections::{BTreeMap, BTreeSet};

use resources::{Labels, PeerAuthentication};

use super::{Code, Notes};
use crate::inbound::selects;
use crate::policies::{Namespace, Of, Policies, Workload};
use crate::service::target;
use crate::shadowed::why_later;

pub(super) fn analyze<'p>(policies: &'p Policies, notes: &mut Notes<'p>) {
    for (name, namespace) in &policies.namespaces {
        same_scope(namespace, notes);
        if *name == policies.root_namespace {
            for policy in &namespace.selecting {
                notes.note(
                    Code::RootSelectorIgnored,
                    &policy.origin,
                    None,
                    "a selector in the root namespace is ignored".to_owned(),
                    "move the policy to the namespace of its workloads",
                );
            }
        } else if !namespace.selecting.is_empty() {
            let workloads = workloads(policies, name, namespace);
            for policy in &namespace.selecting {
                selector(name, &workloads, policy, notes);
            }
        }
    }
}

fn same_scope<'p>(namespace: &'p Namespace, notes: &mut Notes<'p>) {
    let mut first: BTreeMap<&Labels, &Of<PeerAuthentication>> = BTreeMap::new();
    let none = Labels::new();
    for policy in namespace.peers.iter().chain(&namespace.selecting) {
        let scope = policy.value.selector().unwrap_or(&none);
        match first.get(scope) {
            None => drop(first.insert(scope, policy)),
            Some(winner) => notes.note(
                Code::PolicyShadowed,
                &policy.origin,
                Some(&winner.origin),
                format!("never counts: {}", why_later(&winner.origin, &policy.origin)),
                format!(
                    "delete one of the two, or write its modes into {}",
                    winner.origin.full_name()
                ),
            ),
        }
    }
}

/// A workload of a namespace, and what services say of its ports.
struct Served<'p> {
    workload: Workload<'p>,
    service_ports: Vec<u16>,
    workload_ports: Vec<u16>,
}

/// The workloads of a namespace, once for each service that has them and once as they are.
fn workloads<'p>(policies: &'p Policies, name: &'p str, namespace: &'p Namespace) -> Vec<Served<'p>> {
    let mut all = Vec::new();
    for service in &namespace.services {
        for endpoint in policies.endpoints(service) {
            let ports = service.entry.ports().iter();
            all.push(Served {
                service_ports: ports.clone().map(|port| port.number).collect(),
                workload_ports: ports.map(|port| target(port, Some(endpoint.entry))).collect(),
                workload: endpoint.workload,
            });
        }
    }
    all.extend(namespace.workloads.iter().map(|of| Served {
        workload: Workload {
            namespace: name,
            labels: of.value.labels(),
            is_enrolled: of.value.is_enrolled(),
        },
        service_ports: Vec::new(),
        workload_ports: Vec::new(),
    }));
    all
}

fn selector<'p>(
    name: &str,
    workloads: &[Served<'_>],
    policy: &'p Of<PeerAuthentication>,
    notes: &mut Notes<'p>,
) {
    let selected = workloads
        .iter()
        .filter(|served| selects(&policy.value, &served.workload));
    if selected.clone().next().is_none() {
        notes.note(
            Code::SelectorMatchesNothing,
            &policy.origin,
            None,
            format!("its selector matches no workload of namespace {name}"),
            "compare its labels with those of the WorkloadEntries, or give the files that have them",
        );
    }
    if policy.value.ports().is_empty() {
        return;
    }
    let service_ports: BTreeSet<u16> = selected
        .clone()
        .flat_map(|served| served.service_ports.iter().copied())
        .collect();
    let workload_ports: BTreeSet<u16> = selected
        .flat_map(|served| served.workload_ports.iter().copied())
        .collect();
    for port in policy.value.ports().keys() {
        if service_ports.contains(port) && !workload_ports.contains(port) {
            let known: Vec<String> = workload_ports.iter().map(u16::to_string).collect();
            notes.note(
                Code::ServicePortInPolicy,
                &policy.origin,
                None,
                format!("port {port} is a port of the service, and no port of the workload"),
                format!("name the workload's port: {}", known.join(", ")),
            );
        }
    }
}
