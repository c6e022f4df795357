//! A second resolver, slow and obvious: it looks at every document for every question.

use std::cmp::Ordering;

use resources::{DestinationRule, Document, Mode, PeerAuthentication, Resource, TlsMode, TrafficPolicy};

use super::ROOT;
use crate::{Sends, Target, Workload};

fn older(a: &Document, b: &Document) -> Ordering {
    match (a.created, b.created) {
        (Some(a), Some(b)) if a != b => return a.cmp(&b),
        (Some(_), None) => return Ordering::Less,
        (None, Some(_)) => return Ordering::Greater,
        _ => {}
    }
    (&a.name, &a.namespace).cmp(&(&b.name, &b.namespace))
}

fn policies(documents: &[Document]) -> impl Iterator<Item = (&Document, &PeerAuthentication)> {
    documents.iter().filter_map(|document| match &document.resource {
        Resource::PeerAuthentication(policy) => Some((document, policy.as_ref())),
        _ => None,
    })
}

/// The mode of a workload's port.
pub(super) fn mode(documents: &[Document], server: &Workload<'_>, port: u16) -> Mode {
    if !server.is_enrolled {
        return Mode::Disable;
    }
    let oldest = |wanted: &dyn Fn(&Document, &PeerAuthentication) -> bool| {
        let all = policies(documents).filter(|(document, policy)| wanted(document, policy));
        all.min_by(|(a, _), (b, _)| older(a, b)).map(|(_, policy)| policy)
    };
    let mut mode = Mode::Permissive;
    if let Some(mesh) = oldest(&|document, policy| document.namespace == ROOT && policy.selector().is_none())
        && let Some(own) = mesh.mode()
    {
        mode = own;
    }
    if server.namespace == ROOT {
        return mode;
    }
    let here = |document: &Document| document.namespace == server.namespace;
    if let Some(namespace) = oldest(&|document, policy| here(document) && policy.selector().is_none())
        && let Some(own) = namespace.mode()
    {
        mode = own;
    }
    let workload = oldest(&|document, policy| {
        let equal = |(key, value)| server.labels.get(key) == Some(value);
        here(document) && policy.selector().is_some_and(|labels| labels.iter().all(equal))
    });
    if let Some(workload) = workload {
        if let Some(own) = workload.mode() {
            mode = own;
        }
        if let Some(Some(own)) = workload.ports().get(&port) {
            mode = *own;
        }
    }
    mode
}

fn matches(rule: &str, host: &str) -> bool {
    match rule.strip_prefix('*') {
        Some(suffix) => host.ends_with(suffix) && host != suffix,
        None => rule == host,
    }
}

/// What an enrolled client sends.
pub(super) fn sends(
    documents: &[Document],
    client: &str,
    target: &Target<'_>,
    server: &Workload<'_>,
    mode: Mode,
) -> Sends {
    let tls = match rules(documents, client, target) {
        Some(rules) => tls(&rules, target),
        None => None,
    };
    match tls {
        Some(TlsMode::Disable) => Sends::Plaintext,
        Some(TlsMode::Simple) => Sends::Tls,
        Some(TlsMode::Mutual) => Sends::OwnMutualTls,
        Some(TlsMode::IstioMutual) => Sends::MutualTls,
        None if server.is_enrolled && mode != Mode::Disable && !target.is_external => Sends::MutualTls,
        None => Sends::Plaintext,
    }
}

fn rules<'d>(
    documents: &'d [Document],
    client: &str,
    target: &Target<'_>,
) -> Option<Vec<&'d DestinationRule>> {
    for namespace in [client, target.namespace, ROOT] {
        let mut found: Vec<(&Document, &DestinationRule)> = Vec::new();
        for document in documents
            .iter()
            .filter(|document| document.namespace == namespace)
        {
            if let Resource::DestinationRule(rule) = &document.resource
                && matches(rule.host(), target.host)
                && (namespace == client || rule.export_to().reaches(client))
            {
                found.push((document, rule));
            }
        }
        let nearest = found
            .iter()
            .map(|(_, rule)| rule.host())
            .max_by_key(|host| (!host.starts_with('*'), host.len()))
            .map(str::to_owned);
        if let Some(nearest) = nearest {
            found.retain(|(_, rule)| rule.host() == nearest);
            found.sort_by(|(a, _), (b, _)| older(a, b));
            return Some(found.into_iter().map(|(_, rule)| rule).collect());
        }
    }
    None
}

fn tls(rules: &[&DestinationRule], target: &Target<'_>) -> Option<TlsMode> {
    let port = |policy: &TrafficPolicy| {
        let mut ports = policy.ports.iter();
        ports
            .find(|(port, _)| *port == target.port)
            .map(|(_, tls)| tls.as_ref().map(|tls| tls.mode))
    };
    let subset = target.subset.and_then(|name| {
        let mut subsets = rules.iter().flat_map(|rule| rule.subsets());
        subsets.find(|subset| subset.name == name)
    });
    if let Some(subset) = subset {
        if let Some(tls) = port(&subset.policy) {
            return tls;
        }
        if let Some(tls) = &subset.policy.tls {
            return Some(tls.mode);
        }
    }
    let policy = rules[0].policy();
    match port(policy) {
        Some(tls) => tls,
        None => policy.tls.as_ref().map(|tls| tls.mode),
    }
}
