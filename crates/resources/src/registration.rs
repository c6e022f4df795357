//! `Registration`: who may have which identity, and with which names and lives. The usable form; `check` makes it from a
//! document and holds the rules.

mod caller;
mod check;
mod rivals;
mod selector;

use std::collections::BTreeMap;
use std::time::Duration;

use identity::spiffe_id::Role;
use identity::{SpiffeId, SpiffeIdError, TrustDomain};

use crate::document::Document;
use crate::error::ResourceError;
use crate::kind::Kind;
use crate::network::Network;
use crate::pattern::Pattern;
use crate::template::{Facts, Template, TemplateError, Variable};

pub use caller::{Caller, Proof};
pub use check::MAX_HINT_BYTES;
pub use rivals::Rival;
pub use selector::{Selector, SelectorKind};

/// Who may have which identity.
#[derive(Clone, Debug)]
pub struct Registration {
    namespace: String,
    name: String,
    role: Role,
    trust_domain: Option<TrustDomain>,
    path: Template,
    dns_names: Vec<String>,
    life: Option<Duration>,
    max_life: Option<Duration>,
    hint: Option<String>,
    default: bool,
    jwt_life: Option<Duration>,
    renew_for: Option<Duration>,
    labels: BTreeMap<String, String>,
    addresses: Vec<Network>,
    forks: Forks,
    callers: Vec<Caller>,
    nodes: Vec<Pattern>,
    selectors: Vec<Selector>,
    impersonators: Vec<SpiffeId>,
}

/// What a second key renewed from one parent is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forks {
    /// Counted and audited.
    #[default]
    Allow,
    /// Refused as well.
    Refuse,
}

/// Why a registration has no SPIFFE ID for a caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The template has no value.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The text with its values filled in is none.
    #[error(transparent)]
    SpiffeId(#[from] SpiffeIdError),
    /// The registration names another trust domain than the server's.
    #[error("registration names trust domain {found}, expected {expected}")]
    TrustDomain {
        /// That of the registration.
        found: TrustDomain,
        /// That of the server.
        expected: TrustDomain,
    },
}

impl IdentityError {
    /// The word that a caller is answered with.
    pub fn reason(&self) -> identity::Reason {
        match self {
            IdentityError::Template(error) => error.reason(),
            IdentityError::SpiffeId(_) | IdentityError::TrustDomain { .. } => {
                identity::Reason::IdentityNotGranted
            }
        }
    }
}

/// What a join token was made for where no registration grants it yet.
#[derive(Clone, Copy, Debug)]
pub struct TokenGrant<'a> {
    /// Id of the token; the registration is `token-<id>`.
    pub token_id: &'a str,
    /// The role that the identity's path needs.
    pub role: Role,
    /// The identity.
    pub spiffe_id: &'a SpiffeId,
    /// DNS names that its certificates may have.
    pub dns_names: &'a [String],
    /// Life of its certificates; absent: that of the profile.
    pub life: Option<Duration>,
}

impl Registration {
    /// The document of the registration that a token brings with it (callers: token; forks: allow; namespace default).
    pub fn for_token(grant: &TokenGrant<'_>) -> Result<Document, ResourceError> {
        let mut spec = serde_json::json!({
            "role": grant.role.word(),
            "spiffeId": grant.spiffe_id.as_str(),
            "callers": ["token"],
            "forks": "allow",
        });
        if !grant.dns_names.is_empty() {
            spec["dnsNames"] = grant.dns_names.into();
        }
        if let Some(life) = grant.life {
            spec["life"] = identity::duration::print(life).into();
        }
        let kind = Kind::Registration;
        Document::from_value(&serde_json::json!({
            "apiVersion": kind.api_version(),
            "kind": kind.word(),
            "metadata": { "name": format!("token-{}", grant.token_id), "namespace": "default" },
            "spec": spec,
        }))
    }

    /// The SPIFFE ID that it grants to a caller who proved `facts`, in the server's trust domain.
    pub fn spiffe_id_for(
        &self,
        trust_domain: &TrustDomain,
        facts: &Facts<'_>,
    ) -> Result<SpiffeId, IdentityError> {
        if let Some(own) = self.trust_domain.as_ref().filter(|own| *own != trust_domain) {
            return Err(IdentityError::TrustDomain {
                found: own.clone(),
                expected: trust_domain.clone(),
            });
        }
        Ok(trust_domain.id_with_path(&self.path.render(facts)?)?)
    }

    /// The line of `callers` that admits this proof, the first if there are several. A foreign certificate proves a device
    /// only, so that under any other role it is admitted by none.
    pub fn grants_caller(&self, proof: &Proof<'_>) -> Option<&Caller> {
        if matches!(proof, Proof::Certificate { .. }) && self.role != Role::Device {
            return None;
        }
        self.callers.iter().find(|caller| caller.admits(proof))
    }

    /// Names of the claims that its template reads.
    pub fn claims_read(&self) -> impl Iterator<Item = &str> {
        self.path.variables().filter_map(|variable| match variable {
            Variable::JwtClaim(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// namespace/name.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether some caller may be admitted by both registrations, with a token, a JWT or a certificate of its
    /// own.
    pub fn shares_callers_with(&self, other: &Self) -> bool {
        let meets = |mine: &Caller| other.callers.iter().any(|caller| mine.overlaps(caller));
        self.callers.iter().any(meets)
    }

    /// Workload, agent, admin or device; the path agrees.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The trust domain that it names; absent: the server's.
    pub fn trust_domain(&self) -> Option<&TrustDomain> {
        self.trust_domain.as_ref()
    }

    /// The path of its SPIFFE ID, perhaps with variables behind the first segment.
    pub fn path(&self) -> &Template {
        &self.path
    }

    /// DNS names that its certificates may have, in canonical form, each once.
    pub fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// Life of a certificate whose request names none; absent: that of the profile.
    pub fn life(&self) -> Option<Duration> {
        self.life
    }

    /// Longest life of a certificate; absent: that of the profile.
    pub fn max_life(&self) -> Option<Duration> {
        self.max_life
    }

    /// Hint for the Workload API.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Whether it goes first among several.
    pub fn is_default(&self) -> bool {
        self.default
    }

    /// Life of a JWT-SVID; absent: that of the profile.
    pub fn jwt_life(&self) -> Option<Duration> {
        self.jwt_life
    }

    /// Longest lineage before a new proof is needed; absent: no end.
    pub fn renew_for(&self) -> Option<Duration> {
        self.renew_for
    }

    /// Labels that the workload's proxy may claim.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// Addresses that the workload's proxy may claim.
    pub fn addresses(&self) -> &[Network] {
        &self.addresses
    }

    /// What a fork of a lineage is.
    pub fn forks(&self) -> Forks {
        self.forks
    }

    /// Programs that may ask for it themselves.
    pub fn callers(&self) -> &[Caller] {
        &self.callers
    }

    /// Node agents that may ask for it, by node name.
    pub fn nodes(&self) -> &[Pattern] {
        &self.nodes
    }

    /// What an agent must see of the workload; all must hold.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// Node proxies that may ask for it.
    pub fn impersonators(&self) -> &[SpiffeId] {
        &self.impersonators
    }
}
