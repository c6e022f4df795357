//! What one policy of a set means: who is covered by it, and whether it counts.

use resources::{ExportTo, Kind, Labels, PeerAuthentication};

use crate::inbound::selects;
use crate::policies::{Namespace, Of, Policies, Workload};
use crate::shadowed::why_later;

/// The meaning of a policy among the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Who is covered.
    pub covers: String,
    /// Whether it counts; if not, why not.
    pub counts: String,
}

impl Policies {
    /// The effect of a PeerAuthentication or DestinationRule of the set; other kinds have none.
    pub fn effect(&self, kind: Kind, namespace: &str, name: &str) -> Option<Effect> {
        let found = self.namespaces.get(namespace)?;
        match kind {
            Kind::PeerAuthentication => {
                let policies = found.peers.iter().chain(&found.selecting);
                let policy = policies.into_iter().find(|policy| policy.origin.name == name)?;
                Some(self.peer(found, policy))
            }
            Kind::DestinationRule => rule(found, name),
            Kind::Registration | Kind::ServiceEntry | Kind::WorkloadEntry => None,
        }
    }

    fn peer(&self, namespace: &Namespace, policy: &Of<PeerAuthentication>) -> Effect {
        let own = policy.origin.namespace.as_str();
        let Some(labels) = policy.value.selector() else {
            let covers = if own == self.root_namespace {
                "every workload of the mesh that no nearer policy covers".to_owned()
            } else {
                format!("workloads of namespace {own} that no policy with a selector covers")
            };
            return Effect {
                covers,
                counts: counts(namespace.peers.first(), policy),
            };
        };
        if own == self.root_namespace {
            return Effect {
                covers: "nobody".to_owned(),
                counts: "no: a selector in the root namespace is ignored".to_owned(),
            };
        }
        let (mut covered, mut lost) = (Vec::new(), None);
        for of in &namespace.workloads {
            let workload = Workload {
                namespace: own,
                labels: of.value.labels(),
                is_enrolled: true,
            };
            if selects(&policy.value, &workload) {
                covered.push(of.origin.name.as_str());
                let winner = self.workload_policy(&workload);
                lost = lost.or(winner.filter(|winner| winner.origin != policy.origin));
            }
        }
        let same = namespace.selecting.iter();
        let first = same
            .into_iter()
            .find(|other| other.value.selector() == Some(labels));
        let workloads = if covered.is_empty() {
            "no WorkloadEntry has them".to_owned()
        } else {
            covered.join(", ")
        };
        Effect {
            covers: format!("workloads of namespace {own} with {}: {workloads}", pairs(labels)),
            counts: counts(lost.or(first), policy),
        }
    }
}

fn rule(namespace: &Namespace, name: &str) -> Option<Effect> {
    let mut groups = namespace.rules.groups();
    let (first, rule) = groups.find_map(|same| {
        let rule = same.iter().find(|rule| rule.origin.name == name)?;
        Some((same.first()?, rule))
    })?;
    let clients = match rule.value.export_to() {
        ExportTo::Everywhere => "all namespaces".to_owned(),
        ExportTo::Namespaces(named) => named.join(", "),
    };
    Some(Effect {
        covers: format!("clients of {clients} that call {}", rule.value.host()),
        counts: if first.origin == rule.origin {
            "yes, for clients whose own namespace has no rule for the host".to_owned()
        } else {
            format!("its subsets alone: {}", why_later(&first.origin, &rule.origin))
        },
    })
}

fn counts(winner: Option<&Of<PeerAuthentication>>, policy: &Of<PeerAuthentication>) -> String {
    let is_it = |winner: &&Of<PeerAuthentication>| winner.origin == policy.origin;
    match winner.filter(|winner| !is_it(winner)) {
        Some(winner) => format!("no: {}", why_later(&winner.origin, &policy.origin)),
        None if policy.value.mode().is_none() => "yes; its mode is that of the wider scope".to_owned(),
        None => "yes".to_owned(),
    }
}

fn pairs(labels: &Labels) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}
