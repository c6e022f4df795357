//! What a server takes: mesh, then namespace, then workload, then port, each overrides unless it is UNSET. Workload policies are
//! never merged: one wins whole.

use resources::{Mode, PeerAuthentication};

use crate::policies::{Of, Origin, Policies, Workload};

/// The scope whose policy decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// No policy: PERMISSIVE.
    Default,
    /// The root namespace.
    Mesh,
    /// The workload's namespace.
    Namespace,
    /// The workload itself.
    Workload,
    /// One of its ports.
    Port,
}

/// What a server takes, and which policy says so.
#[derive(Clone, Copy, Debug)]
pub struct Inbound<'p> {
    /// The mode.
    pub mode: Mode,
    /// The scope of the policy.
    pub level: Level,
    /// The policy; nothing for the default.
    pub policy: Option<&'p Origin>,
}

impl Level {
    /// The word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Level::Default => "default",
            Level::Mesh => "mesh",
            Level::Namespace => "namespace",
            Level::Workload => "workload",
            Level::Port => "port",
        }
    }
}

impl Policies {
    /// What the workload takes on a port of its own, or on ports that no policy names. Nothing is enforced before a workload that
    /// is not enrolled, which is DISABLE.
    pub fn inbound(&self, workload: &Workload<'_>, port: Option<u16>) -> Inbound<'_> {
        if workload.is_enrolled {
            self.effective(workload, port)
        } else {
            Inbound {
                mode: Mode::Disable,
                level: Level::Default,
                policy: None,
            }
        }
    }

    fn effective(&self, workload: &Workload<'_>, port: Option<u16>) -> Inbound<'_> {
        let mut found = Inbound {
            mode: Mode::Permissive,
            level: Level::Default,
            policy: None,
        };
        let own = self.workload_policy(workload);
        let scopes = [
            (self.mesh_policy(), Level::Mesh),
            (self.namespace_policy(workload.namespace), Level::Namespace),
            (own, Level::Workload),
        ];
        for (policy, level) in scopes {
            if let Some(policy) = policy
                && let Some(mode) = policy.value.mode()
            {
                found = Inbound {
                    mode,
                    level,
                    policy: Some(&policy.origin),
                };
            }
        }
        match own.and_then(|own| Some((own, (*own.value.ports().get(&port?)?)?))) {
            Some((own, mode)) => Inbound {
                mode,
                level: Level::Port,
                policy: Some(&own.origin),
            },
            None => found,
        }
    }

    pub(crate) fn mesh_policy(&self) -> Option<&Of<PeerAuthentication>> {
        self.namespaces.get(&self.root_namespace)?.peers.first()
    }

    /// The root namespace's own workloads have the mesh's policy and no other.
    pub(crate) fn namespace_policy(&self, namespace: &str) -> Option<&Of<PeerAuthentication>> {
        if namespace == self.root_namespace {
            return None;
        }
        self.namespaces.get(namespace)?.peers.first()
    }

    /// The policy that wins for this workload; in the root namespace selectors are ignored.
    pub(crate) fn workload_policy(&self, workload: &Workload<'_>) -> Option<&Of<PeerAuthentication>> {
        if workload.namespace == self.root_namespace {
            return None;
        }
        let policies = &self.namespaces.get(workload.namespace)?.selecting;
        policies.iter().find(|policy| selects(&policy.value, workload))
    }
}

pub(crate) fn selects(policy: &PeerAuthentication, workload: &Workload<'_>) -> bool {
    policy.selector().is_some_and(|labels| workload.has(labels))
}
