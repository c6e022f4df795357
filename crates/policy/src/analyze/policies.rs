//! PeerAuthentications that do nothing, or not what they seem to.

use std::collections::{BTreeMap, BTreeSet};

use resources::{Labels, PeerAuthentication};

use super::{Code, Notes};
use crate::inbound::selects;
use crate::policies::{Namespace, Of, Policies, Workload};
use crate::service::target;
use crate::shadowed::why_later;

pub(super) fn analyze(policies: &Policies, notes: &mut Notes) {
    for (name, namespace) in &policies.namespaces {
        same_scope(namespace, notes);
        let in_root = *name == policies.root_namespace;
        for policy in &namespace.selecting {
            if in_root {
                notes.note(
                    Code::RootSelectorIgnored,
                    &policy.origin,
                    None,
                    "a selector in the root namespace is ignored".to_owned(),
                    "move the policy to the namespace of its workloads",
                );
            } else {
                selector(policies, name, policy, notes);
            }
        }
    }
}

fn same_scope(namespace: &Namespace, notes: &mut Notes) {
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

fn selector(policies: &Policies, name: &str, policy: &Of<PeerAuthentication>, notes: &mut Notes) {
    let Some(namespace) = policies.namespaces.get(name) else {
        return;
    };
    let services = namespace.services.iter().map(|index| &policies.services[*index]);
    let (mut service_ports, mut workload_ports) = (BTreeSet::new(), BTreeSet::new());
    let mut matches = false;
    for service in services {
        for endpoint in policies.endpoints(service) {
            if selects(&policy.value, &endpoint.workload) {
                matches = true;
                for port in service.entry.ports() {
                    service_ports.insert(port.number);
                    workload_ports.insert(target(port, Some(endpoint.entry)));
                }
            }
        }
    }
    let alone = |of: &Of<resources::WorkloadEntry>| {
        let workload = Workload {
            namespace: name,
            labels: of.value.labels(),
            is_enrolled: true,
        };
        selects(&policy.value, &workload)
    };
    matches |= namespace.workloads.iter().any(alone);
    if !matches {
        notes.note(
            Code::SelectorMatchesNothing,
            &policy.origin,
            None,
            format!("its selector matches no workload of namespace {name}"),
            "compare its labels with those of the WorkloadEntries, or give the files that have them",
        );
    }
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
