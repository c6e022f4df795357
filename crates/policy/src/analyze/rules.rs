//! DestinationRules that meet no service, or hide each other.

use std::collections::BTreeSet;
use std::ops::Bound;

use resources::DestinationRule;

use super::{Code, Notes};
use crate::outbound::is_seen;
use crate::policies::{Of, Policies};

pub(super) fn analyze<'p>(policies: &'p Policies, notes: &mut Notes<'p>) {
    let hosts = Known::of(policies);
    for namespace in policies.namespaces.values() {
        for same in namespace.rules.groups() {
            let Some((first, later)) = same.split_first() else {
                continue;
            };
            for rule in later {
                let message = format!(
                    "its trafficPolicy never counts where {} is seen: that rule has the same host and goes first",
                    first.origin.full_name()
                );
                notes.note(
                    Code::RulesForOneHost,
                    &rule.origin,
                    Some(&first.origin),
                    message,
                    "write both into one rule",
                );
            }
            for rule in same {
                host(policies, &hosts, rule, notes);
                ports(policies, rule, notes);
            }
            hides(policies, first, notes);
        }
    }
}

/// The hosts of all services in order, so that those with one beginning or one end are found without looking at all.
struct Known<'p> {
    hosts: BTreeSet<&'p str>,
    /// Each read backwards.
    ends: BTreeSet<String>,
}

impl<'p> Known<'p> {
    fn of(policies: &'p Policies) -> Self {
        let hosts = policies.services().flat_map(|service| service.entry.hosts());
        let hosts: BTreeSet<&str> = hosts.map(String::as_str).collect();
        Self {
            ends: hosts.iter().map(|host| backwards(host)).collect(),
            hosts,
        }
    }

    /// Whether a service has the host, or one within the wildcard.
    fn has(&self, policies: &Policies, host: &str) -> bool {
        let Some(suffix) = host.strip_prefix('*') else {
            return policies.hosts.matching(host).next().is_some();
        };
        let end = backwards(suffix);
        let mut longer = self.ends.range(end.clone()..);
        longer.next().is_some_and(|known| known.starts_with(&end))
    }

    /// The first host that begins with these whole labels.
    fn beginning(&self, labels: &str) -> Option<&'p str> {
        let labels = format!("{labels}.");
        let from = Bound::Included(labels.as_str());
        let first = self.hosts.range::<str, _>((from, Bound::Unbounded)).next()?;
        first.starts_with(&labels).then_some(*first)
    }
}

fn backwards(host: &str) -> String {
    host.chars().rev().collect()
}

fn host<'p>(policies: &Policies, hosts: &Known<'_>, rule: &'p Of<DestinationRule>, notes: &mut Notes<'p>) {
    let (host, written) = (rule.value.host(), rule.value.written_host());
    if hosts.has(policies, host) {
        return;
    }
    // `details` and `details.shop` are read in full by people, and by the rule only in its own namespace or not at all.
    let is_short = written.split('.').count() < 3;
    let meant = is_short.then(|| hosts.beginning(written)).flatten();
    match meant {
        Some(meant) => notes.note(
            Code::ShortHostElsewhere,
            &rule.origin,
            None,
            format!("host {written} means {host}, which no service has, and not {meant}"),
            format!("write host: {meant}"),
        ),
        None => notes.note(
            Code::HostUnknown,
            &rule.origin,
            None,
            format!("no service has the host {host}"),
            "correct the host, or give the files with its ServiceEntry",
        ),
    }
}

fn ports<'p>(policies: &'p Policies, rule: &'p Of<DestinationRule>, notes: &mut Notes<'p>) {
    let Some(service) = policies.service(rule.value.host(), &rule.origin.namespace) else {
        return;
    };
    let subsets = rule.value.subsets().iter().map(|subset| &subset.policy);
    for (port, _) in subsets
        .chain([rule.value.policy()])
        .flat_map(|policy| &policy.ports)
    {
        if service.port(*port).is_none() {
            let known = service.entry.ports().iter();
            let known: Vec<String> = known.map(|port| port.number.to_string()).collect();
            notes.note(
                Code::PortUnknown,
                &rule.origin,
                Some(&service.origin),
                format!("port {port} is no port of the service, so its settings never count"),
                format!("name a port of the service: {}", known.join(", ")),
            );
        }
    }
}

/// The wider rules that a rule keeps clients from, if they say anything of TLS.
fn hides<'p>(policies: &'p Policies, rule: &'p Of<DestinationRule>, notes: &mut Notes<'p>) {
    let (own, host) = (rule.origin.namespace.as_str(), rule.value.host());
    let service = policies
        .service(host, own)
        .map(|service| service.origin.namespace.as_str());
    let mut namespaces = vec![own];
    namespaces.extend(service);
    namespaces.push(&policies.root_namespace);
    namespaces.dedup();
    for name in namespaces {
        let Some(namespace) = policies.namespaces.get(name) else {
            continue;
        };
        for wider in namespace.rules.matching(host).filter_map(<[_]>::first) {
            let is_itself = wider.origin == rule.origin || wider.value.host() == host && name == own;
            if !is_itself && is_seen(wider, own) && has_tls(&wider.value) {
                notes.note(
                    Code::RuleHidesWider,
                    &rule.origin,
                    Some(&wider.origin),
                    format!(
                        "hides {} with its tls settings: the nearer rule counts whole",
                        wider.origin.full_name()
                    ),
                    "repeat in this rule the tls settings of the wider one that are to hold",
                );
            }
        }
    }
}

fn has_tls(rule: &DestinationRule) -> bool {
    rule.policy().tls.is_some() || rule.policy().ports.iter().any(|(_, tls)| tls.is_some())
}
