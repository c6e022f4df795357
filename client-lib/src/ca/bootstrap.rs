//! From a fingerprint to a trust bundle. The bundle is public, so it is fetched from whoever answers; of it only the root with
//! the known fingerprint is kept. Then the server must prove itself under that root alone, by its name and its role; only then
//! is the rest of the bundle read. Nothing secret is sent before.

use identity::{Fingerprint, TrustBundle};
use rustls_pki_types::CertificateDer;

use super::acceptance;
use super::channel::{self, CaClock, Connection, Trust};
use crate::dial::Dial;
use crate::error::{AnswerError, Error};
use crate::server::CaServer;

/// The bundle of the CA whose root has the fingerprint.
pub(super) async fn bootstrap(
    server: &CaServer,
    dial: &dyn Dial,
    clock: &CaClock,
) -> Result<TrustBundle, Error> {
    let shown = shown_roots(server, dial).await?;
    let expected = server.fingerprint();
    let Some(root) = shown.iter().find(|root| Fingerprint::of(root) == expected) else {
        return Err(Error::Fingerprint {
            address: server.address().to_owned(),
            expected,
            found: shown.iter().map(|root| Fingerprint::of(root)).collect(),
        });
    };
    let known = TrustBundle::new(server.trust_domain().clone(), vec![root.clone()])
        .map_err(|e| AnswerError::Bundle(e.into()))?;
    let trust = Trust::server(server, &known, clock.clone());
    let connected = channel::connect(server, dial, trust, None).await;
    let Connection { mut client, chain } = connected.map_err(relay)?;
    let bundle = channel::fetch_bundle(&mut client, server).await?;
    acceptance::check_server(&bundle, server, &chain, clock)?;
    for stranger in strangers(&shown, &bundle) {
        tracing::warn!(
            address = server.address(),
            root = %stranger,
            "an unverified answer held a root that the CA does not have; a relay stands between and was not trusted"
        );
    }
    Ok(bundle)
}

/// The roots that whoever answers at the address shows. The connection is closed on return.
async fn shown_roots(server: &CaServer, dial: &dyn Dial) -> Result<Vec<CertificateDer<'static>>, Error> {
    let Connection { mut client, .. } = channel::connect(server, dial, Trust::Nothing, None).await?;
    let roots = channel::ask_bundle(&mut client, server).await?.x509_authorities;
    Ok(roots
        .into_iter()
        .take(identity::bundle::MAX_ROOTS)
        .map(CertificateDer::from)
        .collect())
}

/// Roots that were shown first and that the verified CA does not know.
pub(super) fn strangers(shown: &[CertificateDer<'_>], bundle: &TrustBundle) -> Vec<Fingerprint> {
    let all = shown.iter().map(|root| Fingerprint::of(root));
    all.filter(|root| bundle.root(root).is_none()).collect()
}

/// Whoever showed the true root and is not under it is no server of this CA.
fn relay(error: Error) -> Error {
    match error {
        Error::Impostor { address, why } => Error::Relay { address, why },
        other => other,
    }
}
