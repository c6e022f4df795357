//! Policies that concern a workload and do not decide, each with the reason.

use resources::PeerAuthentication;

use crate::inbound::{Inbound, selects};
use crate::policies::{Of, Origin, Policies, Workload};

/// A policy that lost.
#[derive(Clone, Debug)]
pub struct Shadowed<'p> {
    /// The policy.
    pub policy: &'p Origin,
    /// Why it does not decide.
    pub why: String,
}

impl Policies {
    /// The policies whose scope has this workload in it and that do not decide.
    pub fn shadowed(&self, workload: &Workload<'_>, decided: &Inbound<'_>) -> Vec<Shadowed<'_>> {
        let mut lost = Vec::new();
        if !workload.is_enrolled {
            return lost;
        }
        let root = self.namespaces.get(&self.root_namespace);
        if let Some(root) = root {
            self.scope(&mut lost, root.peers.iter(), decided);
            for policy in root
                .selecting
                .iter()
                .filter(|policy| selects(&policy.value, workload))
            {
                lost.push(Shadowed {
                    policy: &policy.origin,
                    why: "a selector in the root namespace is ignored".to_owned(),
                });
            }
        }
        if workload.namespace != self.root_namespace
            && let Some(own) = self.namespaces.get(workload.namespace)
        {
            self.scope(&mut lost, own.peers.iter(), decided);
            let selecting = own.selecting.iter();
            let selecting = selecting.filter(|policy| selects(&policy.value, workload));
            self.scope(&mut lost, selecting, decided);
        }
        lost
    }

    /// The policies of one scope, the winner first.
    fn scope<'p>(
        &self,
        lost: &mut Vec<Shadowed<'p>>,
        mut policies: impl Iterator<Item = &'p Of<PeerAuthentication>>,
        decided: &Inbound<'_>,
    ) {
        let Some(first) = policies.next() else { return };
        if decided.policy != Some(&first.origin) {
            let why = match decided.policy {
                _ if first.value.mode().is_none() => {
                    "its mode is UNSET, which leaves it to the wider scope".to_owned()
                }
                Some(nearer) => format!("{} is nearer to the workload", nearer.full_name()),
                None => "another policy decides".to_owned(),
            };
            lost.push(Shadowed {
                policy: &first.origin,
                why,
            });
        }
        for policy in policies {
            lost.push(Shadowed {
                policy: &policy.origin,
                why: why_later(&first.origin, &policy.origin),
            });
        }
    }
}

impl Origin {
    /// `NAMESPACE/NAME`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// Why one of two policies of a scope comes first.
pub(crate) fn why_later(first: &Origin, second: &Origin) -> String {
    let name = first.full_name();
    if first.created == second.created {
        format!("{name} has the same scope and comes first by name")
    } else {
        format!("{name} has the same scope and is older")
    }
}
