//! What a client sends: the nearest DestinationRule that it sees, or, without one, what the endpoint takes.

use resources::{ClientTls, DestinationRule, Mode, TlsMode, TrafficPolicy};

use crate::inbound::Inbound;
use crate::policies::{Of, Origin, Policies, Workload};

/// What stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sends {
    /// No TLS.
    Plaintext,
    /// TLS in which the client proves nothing.
    Tls,
    /// Mutual TLS with files of the client's own: for the mesh it is other TLS.
    OwnMutualTls,
    /// Mutual TLS with the identities of the mesh.
    MutualTls,
}

/// The part of a rule that decided; the ports are the Service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleLevel {
    /// A port of a subset.
    SubsetPort,
    /// A subset.
    Subset,
    /// A port of the rule.
    Port,
    /// The rule.
    Rule,
    /// No rule has a say.
    Automatic,
}

/// The service that a client calls.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its host in full.
    pub host: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Its port.
    pub port: u16,
    /// A part of it.
    pub subset: Option<&'a str>,
    /// Whether it is declared to lie outside of the mesh.
    pub is_external: bool,
}

/// What a client sends, and what says so.
#[derive(Clone, Copy, Debug)]
pub struct Outbound<'p> {
    /// What stands on the wire.
    pub sends: Sends,
    /// The part of the rule.
    pub level: RuleLevel,
    /// The rule; nothing where it is automatic.
    pub rule: Option<&'p Origin>,
    /// Names and files to use.
    pub tls: Option<&'p ClientTls>,
}

impl Sends {
    /// The word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Sends::Plaintext => "plaintext",
            Sends::Tls => "tls",
            Sends::OwnMutualTls | Sends::MutualTls => "mtls",
        }
    }
}

impl From<TlsMode> for Sends {
    fn from(mode: TlsMode) -> Self {
        match mode {
            TlsMode::Disable => Sends::Plaintext,
            TlsMode::Simple => Sends::Tls,
            TlsMode::Mutual => Sends::OwnMutualTls,
            TlsMode::IstioMutual => Sends::MutualTls,
        }
    }
}

impl RuleLevel {
    /// The word for programs.
    pub fn word(self) -> &'static str {
        match self {
            RuleLevel::SubsetPort => "subsetPort",
            RuleLevel::Subset => "subset",
            RuleLevel::Port => "port",
            RuleLevel::Rule => "rule",
            RuleLevel::Automatic => "automatic",
        }
    }
}

impl Policies {
    /// What an enrolled client of a namespace sends to an endpoint that takes `inbound`; without a target no rule is looked up.
    pub fn outbound(
        &self,
        client_namespace: &str,
        target: Option<&Target<'_>>,
        server: &Workload<'_>,
        inbound: &Inbound<'_>,
    ) -> Outbound<'_> {
        if let Some(target) = target
            && let Some((rule, level, tls)) = self.ruled(client_namespace, target)
        {
            return Outbound {
                sends: tls.mode.into(),
                level,
                rule: Some(rule),
                tls: Some(tls),
            };
        }
        let external = target.is_some_and(|target| target.is_external);
        let mutual = server.is_enrolled && inbound.mode != Mode::Disable && !external;
        Outbound {
            sends: if mutual {
                Sends::MutualTls
            } else {
                Sends::Plaintext
            },
            level: RuleLevel::Automatic,
            rule: None,
            tls: None,
        }
    }

    /// Whether a rule that counts for the client has the target's subset; no subset is always there.
    pub fn knows_subset(&self, client_namespace: &str, target: &Target<'_>) -> bool {
        let Some(wanted) = target.subset else {
            return true;
        };
        let rules = self.visible(client_namespace, target.namespace, target.host);
        let seen = rules.unwrap_or_default().iter();
        let mut subsets = seen
            .filter(|rule| is_seen(rule, client_namespace))
            .flat_map(|rule| rule.value.subsets());
        subsets.any(|subset| subset.name == wanted)
    }

    /// The rules of the nearest host in the first namespace that has one which the client sees: its own, the service's, the root.
    /// Some of them may be hidden from the client.
    pub(crate) fn visible(
        &self,
        client_namespace: &str,
        of_service: &str,
        host: &str,
    ) -> Option<&[Of<DestinationRule>]> {
        let levels = [client_namespace, of_service, self.root_namespace.as_str()];
        levels.into_iter().find_map(|namespace| {
            let rules = &self.namespaces.get(namespace)?.rules;
            rules
                .matching(host)
                .find(|same| same.iter().any(|rule| is_seen(rule, client_namespace)))
        })
    }

    fn ruled<'p>(
        &'p self,
        client_namespace: &str,
        target: &Target<'_>,
    ) -> Option<(&'p Origin, RuleLevel, &'p ClientTls)> {
        let rules = self.visible(client_namespace, target.namespace, target.host)?;
        let mut rules = rules.iter().filter(|rule| is_seen(rule, client_namespace));
        let first = rules.clone().next()?;
        if let Some(wanted) = target.subset {
            let part = rules.find_map(|rule| {
                let subset = rule.value.subsets().iter().find(|subset| subset.name == wanted)?;
                Some((&rule.origin, &subset.policy))
            });
            if let Some((origin, policy)) = part {
                match of_port(policy, target.port) {
                    Some(tls) => return Some((origin, RuleLevel::SubsetPort, tls?)),
                    None => {
                        if let Some(tls) = &policy.tls {
                            return Some((origin, RuleLevel::Subset, tls));
                        }
                    }
                }
            }
        }
        let policy = first.value.policy();
        match of_port(policy, target.port) {
            Some(tls) => Some((&first.origin, RuleLevel::Port, tls?)),
            None => Some((&first.origin, RuleLevel::Rule, policy.tls.as_ref()?)),
        }
    }
}

/// A namespace sees all of its own rules.
pub(crate) fn is_seen(rule: &Of<DestinationRule>, client_namespace: &str) -> bool {
    rule.origin.namespace == client_namespace || rule.value.export_to().reaches(client_namespace)
}

/// The entry of a port; one without tls is there and inherits none.
fn of_port(policy: &TrafficPolicy, port: u16) -> Option<Option<&ClientTls>> {
    let entry = policy.ports.iter().find(|(number, _)| *number == port)?;
    Some(entry.1.as_ref())
}
