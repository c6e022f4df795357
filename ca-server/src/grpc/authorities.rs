//! `signet.v1.Authorities`: puts signing authorities to work and lists them, for administrators.

use std::sync::Arc;

use identity::{Leaf, Reason, hex};
use issuance::AuthorityPath;
use proto::{Refusal, timestamp_to_message, v1};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use tokio::runtime::Handle;
use tonic::{Request, Response, Status};

use super::admin::{Admin, invalid};
use crate::authority::lifecycle;
use crate::authority::signers::Signers;
use crate::clock::require_undisputed;
use crate::store::AuthorityRow;

/// Longest chain that is looked at.
const MAX_CHAIN: usize = identity::verify::MAX_CHAIN;

/// `signet.v1.Authorities`.
#[derive(Clone)]
pub struct AuthoritiesService {
    admin: Admin,
    signers: Arc<Signers>,
}

impl AuthoritiesService {
    /// For the administrators of this server, whose authorities `signers` has at work.
    pub fn new(admin: Admin, signers: Arc<Signers>) -> Self {
        Self { admin, signers }
    }

    async fn activate(
        &self,
        by: &str,
        request: v1::ActivateAuthorityRequest,
    ) -> Result<v1::SigningAuthority, Refusal> {
        let v1::ActivateAuthorityRequest { chain, root } = request;
        if chain.len() > MAX_CHAIN {
            let found = chain.len();
            return Err(invalid(
                "chain",
                format!("{found} certificates, expected at most {MAX_CHAIN}"),
            ));
        }
        let chain: Vec<CertificateDer<'static>> = chain.into_iter().map(CertificateDer::from).collect();
        let root = CertificateDer::from(root);
        require_undisputed(self.admin.clock.as_ref())?;
        let now = self.admin.clock.now();
        let (signers, store) = (Arc::clone(&self.signers), Arc::clone(&self.admin.store));
        let (handle, caller) = (Handle::current(), by.to_owned());
        // It reads and writes keys: a disk that hangs must not hold up the tasks of a worker.
        let activated = tokio::task::spawn_blocking(move || {
            let activation = lifecycle::activate(&chain, &root, &signers, store.as_ref(), &caller, now);
            handle.block_on(activation)
        });
        let signer = activated
            .await
            .map_err(|e| Refusal::new(Reason::Internal, e.to_string()))??;
        let store = self.admin.store.as_ref();
        let key_id = hex::encode(signer.key_id());
        self.admin
            .changed(by, format!("activated authority {key_id}"), |_| ());
        store
            .read()
            .authority(signer.key_id())
            .map(message)
            .ok_or_else(|| Refusal::new(Reason::Internal, format!("authority {key_id} was not recorded")))
    }
}

/// A recorded authority as a message.
pub fn message(row: &AuthorityRow) -> v1::SigningAuthority {
    let at = |seconds: i64| {
        (seconds > 0)
            .then(|| OffsetDateTime::from_unix_timestamp(seconds).ok())
            .flatten()
            .map(timestamp_to_message)
    };
    let chain: Vec<CertificateDer<'_>> = row.chain.iter().map(|own| own.as_slice().into()).collect();
    // Nothing is signed while a certificate of the path is not valid.
    let validity = AuthorityPath::read(&chain, &row.root.as_slice().into())
        .map(|path| path.validity())
        .ok()
        .or_else(|| Some(Leaf::parse(chain.first()?).ok()?.validity()));
    let state = if row.replaced_at == 0 {
        v1::signing_authority::State::Active
    } else {
        v1::signing_authority::State::Retiring
    };
    v1::SigningAuthority {
        key_id: hex::encode(&row.key_id),
        state: state.into(),
        not_before: validity.map(|v| timestamp_to_message(v.not_before())),
        not_after: validity.map(|v| timestamp_to_message(v.not_after())),
        activated_at: at(row.activated_at),
        replaced_at: at(row.replaced_at),
        last_leaf_ends: at(row.last_leaf_ends),
        chain: row.chain.clone(),
        root: row.root.clone(),
    }
}

#[tonic::async_trait]
impl v1::authorities_server::Authorities for AuthoritiesService {
    async fn activate_authority(
        &self,
        request: Request<v1::ActivateAuthorityRequest>,
    ) -> Result<Response<v1::SigningAuthority>, Status> {
        let by = self.admin.writer(&request)?;
        let activated = self.activate(&by, request.into_inner()).await;
        Ok(Response::new(self.admin.told(&by, activated)?))
    }

    async fn list_authorities(
        &self,
        request: Request<v1::ListAuthoritiesRequest>,
    ) -> Result<Response<v1::ListAuthoritiesResponse>, Status> {
        self.admin.reader(&request)?;
        let v1::ListAuthoritiesRequest {} = request.into_inner();
        let authorities = self.admin.store.read().authorities().map(message).collect();
        Ok(Response::new(v1::ListAuthoritiesResponse { authorities }))
    }
}

#[cfg(test)]
mod tests;
