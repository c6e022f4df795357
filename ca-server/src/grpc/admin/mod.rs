//! What the administrators' services share: who may call them, what they know of their server, pages, and the audit line of each
//! change.

#[cfg(test)]
pub(super) mod bench;

use std::sync::Arc;

use identity::{Clock, Fingerprint, Reason, TrustDomain};
use proto::Refusal;
use runtime::drain::Drain;
use tonic::Request;

use super::{connection, require_admin};
use crate::audit::{Audit, Decision, Line};
use crate::caller::OwnCertificate;
use crate::config::{Profiles, ServerName};
use crate::registration::Registrations;
use crate::store::{Command, Outcome, Store};

/// The method in audit lines.
const METHOD: &str = "admin";
/// Items of a page where the request does not say.
const PAGE: usize = 100;
/// Most items of a page.
const MAX_PAGE: usize = 1000;

/// The server that an administrator speaks to.
#[derive(Clone)]
pub struct Admin {
    /// What is known and recorded.
    pub store: Arc<dyn Store>,
    /// Who may have which identity.
    pub registrations: Arc<Registrations>,
    /// Where changes are written down for log collectors.
    pub audit: Arc<Audit>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Ends the streams when the server stops.
    pub drain: Drain,
    /// Its trust domain.
    pub trust_domain: TrustDomain,
    /// Its names; the first stands in join tokens. At least one.
    pub server_names: Arc<[ServerName]>,
    /// The port of its gRPC listener.
    pub grpc_port: u16,
    /// The namespace of the mesh's own policies.
    pub root_namespace: Arc<str>,
    /// The profiles in force.
    pub profiles: Profiles,
    /// The root that callers trust by its fingerprint; `None` before there is an authority.
    pub fingerprint: Arc<dyn Fn() -> Option<Fingerprint> + Send + Sync>,
}

impl Admin {
    /// The caller of a request that only reads.
    pub(super) fn reader<T>(&self, request: &Request<T>) -> Result<String, Refusal> {
        require_admin(request).inspect_err(|refusal| {
            let connection = connection(request).ok();
            let own = connection.and_then(|connection| connection.refused(refusal.reason()));
            let peer = connection.map_or_else(String::new, |connection| connection.peer().to_string());
            self.audit.refused_early(refusal, METHOD, &peer, |line| {
                line.identity = own.map(|own| own.id.to_string());
                line.serial = own.map(OwnCertificate::serial);
            });
        })
    }

    /// The caller of a request that changes something. While no audit line can be written nothing may change.
    pub(super) fn writer<T>(&self, request: &Request<T>) -> Result<String, Refusal> {
        let by = self.reader(request)?;
        if self.audit.healthy() {
            Ok(by)
        } else {
            Err(Audit::refusal())
        }
    }

    /// Has a change decided and recorded. A change that is recorded after its caller was refused, since the
    /// journal did not answer in time, has its audit line then.
    pub(super) async fn submit(&self, command: Command) -> Result<Outcome, Refusal> {
        let change = command.change();
        let mut answer = self.store.submit(command);
        let decided = answer.decided().await;
        if let (true, Some((by, what))) = (answer.is_open(), change) {
            let admin = self.clone();
            tokio::spawn(async move {
                if answer.settled().await.is_ok() {
                    let message = format!("{what}: recorded after the caller was refused");
                    admin.changed(&by, message, |_| ());
                }
            });
        }
        decided
    }

    /// Tells the audit log if an administrator's change was refused.
    pub(super) fn told<T>(&self, by: &str, result: Result<T, Refusal>) -> Result<T, Refusal> {
        result.inspect_err(|refusal| self.audit.refused(refusal, by, |line| line.method = Some(METHOD)))
    }

    /// Tells the audit log of a change that is recorded.
    pub(super) fn changed(&self, by: &str, message: String, complete: impl FnOnce(&mut Line)) {
        let mut line = Line::new(self.clock.now(), Decision::Changed, by);
        line.method = Some(METHOD);
        line.message = Some(message);
        line.head = Some(self.store.head().hash);
        complete(&mut line);
        self.audit.write(line);
    }
}

/// The number of items that a page may have, from the `page_size` of a request; 0 is the default.
pub(super) fn page_size(asked: i32) -> Result<usize, Refusal> {
    match usize::try_from(asked) {
        Ok(0) => Ok(PAGE),
        Ok(size) => Ok(size.min(MAX_PAGE)),
        Err(_) => Err(invalid("page_size", format!("{asked}, expected 0 or more"))),
    }
}

/// A request whose field breaks a rule.
pub(super) fn invalid(field: &'static str, why: impl std::fmt::Display) -> Refusal {
    Refusal::new(Reason::ResourceInvalid, format!("field {field}: {why}")).with("field", field)
}
