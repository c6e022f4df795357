//! The authority: issues certificates to callers ([`Authority::issue`]) and to the server itself, keeps signing authorities, bundle
//! and CRLs up to date with the store.

#[cfg(test)]
pub(crate) mod bench;
mod claims;
pub mod crl;
mod issue;
pub mod keys;
pub mod lifecycle;
pub mod offline;
mod record;
mod server_certificate;
pub mod signers;
mod wish;

use std::sync::Arc;

use identity::{Clock, TrustBundle, TrustDomain};
use proto::Refusal;
use tokio::sync::watch;

pub use issue::{Issuance, IssueRequest};
pub use server_certificate::ServerNames;

use crate::audit::{Audit, Decision, Line};
use crate::caller::{Callers, Connection, OwnCertificate};
use crate::metrics::Metrics;
use crate::registration::Registrations;
use crate::store::{Answer, Store};
use claims::Claims;
use record::Teller;
use signers::Signers;

/// What the authority is made of.
pub struct Parts {
    /// Whose members it certifies.
    pub trust_domain: TrustDomain,
    /// State and record.
    pub store: Arc<dyn Store>,
    /// Attests callers.
    pub callers: Arc<Callers>,
    /// Decides what callers may have.
    pub registrations: Arc<Registrations>,
    /// Signs.
    pub signers: Arc<Signers>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Writes a line of each decision.
    pub audit: Arc<Audit>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// The one that issues.
pub struct Authority {
    trust_domain: TrustDomain,
    store: Arc<dyn Store>,
    callers: Arc<Callers>,
    registrations: Arc<Registrations>,
    signers: Arc<Signers>,
    metrics: Arc<Metrics>,
    audit: Arc<Audit>,
    clock: Arc<dyn Clock>,
    claims: Claims,
    teller: Teller,
}

impl Authority {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            trust_domain,
            store,
            callers,
            registrations,
            signers,
            metrics,
            audit,
            clock,
        } = parts;
        let teller = Teller {
            store: Arc::clone(&store),
            metrics: Arc::clone(&metrics),
            audit: Arc::clone(&audit),
            clock: Arc::clone(&clock),
        };
        Self {
            trust_domain,
            store,
            callers,
            registrations,
            signers,
            metrics,
            audit,
            clock,
            teller,
            claims: Claims::default(),
        }
    }

    /// Whose members it certifies.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The trust bundle now, and each after it.
    pub fn bundles(&self) -> watch::Receiver<Arc<TrustBundle>> {
        self.signers.bundles()
    }

    /// Counts the refusal of a request whose caller proved nothing that counts, and passes it on.
    pub fn refuse_early(&self, connection: &Connection, refusal: Refusal) -> Refusal {
        self.metrics.refused(refusal.reason());
        let own = connection.refused(refusal.reason());
        let method = own.map_or("unproven", |_| "renewal");
        let peer = connection.peer().to_string();
        self.audit.refused_early(&refusal, method, &peer, |line| {
            line.identity = own.map(|own| own.id.to_string());
            line.parent = own.map(OwnCertificate::serial);
        });
        refusal
    }

    /// Writes an audit line of what an administrator, or the server itself, changed.
    pub fn note_change(&self, by: &str, message: String) {
        self.audit.write(Line {
            message: Some(message),
            head: Some(self.store.head().hash),
            ..Line::new(self.clock.now(), Decision::Changed, by)
        });
    }
}

/// Waits for the store's answer while the journal answers.
pub(crate) async fn answer<T>(mut answer: Answer<T>) -> Result<T, Refusal> {
    answer.decided().await
}
