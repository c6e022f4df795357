//! Clients and servers that the resources set against each other: each service's ports and endpoints are decided as they would be,
//! for every namespace that has rules of its own and for one that has none.

use std::collections::BTreeSet;

use resources::{ExportTo, Location, Mode, Protocol, ServicePort};

use super::{Code, Endpoint, Notes};
use crate::decision::{Why, admit};
use crate::hosts::Hosts;
use crate::outbound::{Outbound, Sends, Target, is_seen};
use crate::policies::{Origin, Policies, has_all};
use crate::service::{Service, target};

/// Stands for namespaces that no rule names; it is no valid name of one.
const ANY_OTHER: &str = "";

pub(super) fn analyze<'p>(policies: &'p Policies, notes: &mut Notes<'p>) {
    let callers = callers(policies);
    for service in policies.services() {
        let endpoints: Vec<Endpoint<'_>> = policies.endpoints(service).collect();
        for host in service.entry.hosts() {
            for client in callers_of(&callers, policies, service, host) {
                of_host(policies, service, &endpoints, host, client, notes);
            }
        }
    }
}

/// The namespaces that have rules, by host, so that not every namespace is asked about every service.
fn callers(policies: &Policies) -> Hosts<&str> {
    let mut callers = Hosts::default();
    for (name, namespace) in &policies.namespaces {
        for rule in namespace.rules.groups().filter_map(<[_]>::first) {
            callers.of_mut(rule.value.host()).push(name.as_str());
        }
    }
    callers
}

/// The namespaces whose clients may send something of their own to a service.
fn callers_of<'p>(
    callers: &Hosts<&'p str>,
    policies: &'p Policies,
    service: &'p Service,
    host: &str,
) -> BTreeSet<&'p str> {
    let own = service.origin.namespace.as_str();
    let mut clients = BTreeSet::from([own, ANY_OTHER]);
    clients.extend(callers.matching(host).flatten());
    for namespace in [own, policies.root_namespace.as_str()] {
        let rules = policies.namespaces.get(namespace).map(|found| &found.rules);
        for rule in rules.into_iter().flat_map(|rules| rules.matching(host)).flatten() {
            if let ExportTo::Namespaces(named) = rule.value.export_to() {
                clients.extend(named.iter().map(String::as_str));
            }
        }
    }
    clients.retain(|client| *client == own || service.entry.export_to().reaches(client));
    clients
}

fn of_host<'p>(
    policies: &'p Policies,
    service: &'p Service,
    endpoints: &[Endpoint<'p>],
    host: &str,
    client: &str,
    notes: &mut Notes<'p>,
) {
    let namespace = service.origin.namespace.as_str();
    let rules = policies.visible(client, namespace, host).unwrap_or_default();
    let seen = rules.iter().filter(|rule| is_seen(rule, client));
    let subsets: Vec<_> = seen.flat_map(|rule| rule.value.subsets()).collect();
    for port in service.entry.ports() {
        let target = |subset| Target {
            host,
            namespace,
            port: port.number,
            subset,
            is_external: service.entry.location() == Some(Location::External),
        };
        for endpoint in endpoints {
            judge(policies, service, port, endpoint, client, &target(None), notes);
            for subset in &subsets {
                if has_all(endpoint.workload.labels, &subset.labels) {
                    let target = target(Some(subset.name.as_str()));
                    judge(policies, service, port, endpoint, client, &target, notes);
                }
            }
        }
    }
}

fn judge<'p>(
    policies: &'p Policies,
    service: &'p Service,
    port: &ServicePort,
    endpoint: &Endpoint<'p>,
    client: &str,
    called: &Target<'_>,
    notes: &mut Notes<'p>,
) {
    let server = &endpoint.workload;
    let workload_port = target(port, Some(endpoint.entry));
    let inbound = policies.inbound(server, Some(workload_port));
    let outbound = policies.outbound(client, Some(called), server, &inbound);
    let declared = port.protocol.unwrap_or(Protocol::Tcp);
    let refused = admit(server, inbound, declared, outbound.sends).err();
    let in_vain = server.is_enrolled && inbound.mode == Mode::Disable && outbound.sends == Sends::MutualTls;
    let code = match refused.map(|refused| refused.why) {
        Some(Why::PlaintextToStrict) if outbound.rule.is_none() => Code::ExternalAgainstStrict,
        Some(Why::PlaintextToStrict) => Code::DisableAgainstStrict,
        Some(Why::TlsToStrict) => Code::SimpleAgainstStrict,
        Some(Why::MutualTlsToUnenrolled) => Code::IstioMutualToUnenrolled,
        _ if in_vain => Code::IstioMutualAgainstDisable,
        Some(Why::TlsToHttp) => Code::TlsToHttp,
        // Peers are judged where they connect, not in files.
        Some(Why::Reserved(_)) | None => return,
    };
    let other = match (code, inbound.policy) {
        (Code::IstioMutualToUnenrolled, _) | (_, None) => endpoint.origin,
        (_, Some(policy)) => policy,
    };
    let about = outbound.rule.unwrap_or(&service.origin);
    let message = || {
        format!(
            "clients of {} send {} to {}:{}, whose workload takes {} on port {workload_port}",
            if client == ANY_OTHER {
                "other namespaces"
            } else {
                client
            },
            sent(&outbound),
            called.host,
            called.port,
            taken(endpoint, inbound.mode),
        )
    };
    notes.clash(code, about, other, message);
}

impl<'p> Notes<'p> {
    /// One clash of two documents is told once, with the first of its cases.
    fn clash(&mut self, code: Code, about: &'p Origin, other: &'p Origin, message: impl Fn() -> String) {
        if self.clashes.insert((code, about, other)) {
            self.note(code, about, Some(other), message(), fix(code));
        }
    }
}

fn sent(outbound: &Outbound<'_>) -> &'static str {
    match outbound.tls {
        Some(tls) => match Sends::from(tls.mode) {
            Sends::Plaintext => "plaintext (DISABLE)",
            Sends::Tls => "TLS without an identity (SIMPLE)",
            Sends::OwnMutualTls => "TLS with files of their own (MUTUAL)",
            Sends::MutualTls => "mutual TLS (ISTIO_MUTUAL)",
        },
        None => "plaintext",
    }
}

fn taken(endpoint: &Endpoint<'_>, mode: Mode) -> &'static str {
    if endpoint.workload.is_enrolled {
        mode.word()
    } else {
        "no mutual TLS, being not enrolled,"
    }
}

fn fix(code: Code) -> &'static str {
    match code {
        Code::IstioMutualToUnenrolled => {
            "enrol the workload (label security.istio.io/tlsMode: istio, or a serviceAccount), or remove tls from the rule"
        }
        Code::IstioMutualAgainstDisable => "remove tls from the rule, or make the policy PERMISSIVE",
        Code::ExternalAgainstStrict => "write location: MESH_INTERNAL, or make the policy PERMISSIVE",
        Code::TlsToHttp => "make the rule ISTIO_MUTUAL, or declare the port HTTPS",
        _ => "make the rule ISTIO_MUTUAL or remove its tls, or make the policy PERMISSIVE",
    }
}
