//! Which trust bundle a client accepts from the CA: never an older one than it has, and never one under which
//! the server that sent it does not verify, as that one would be the last.

use identity::{TrustBundle, Usage};
use rustls_pki_types::CertificateDer;

use super::channel::{CaClock, Trust};
use crate::error::AnswerError;
use crate::server::CaServer;
use crate::tls::Admits as _;

/// Accepts `bundle` after `known`: its sequence is higher, or it has the same roots. Sequence 0 is that of a
/// bundle from a file, which any bundle of the CA follows.
pub(crate) fn check_order(bundle: &TrustBundle, known: &TrustBundle) -> Result<(), AnswerError> {
    let (found, known_sequence) = (bundle.sequence(), known.sequence());
    let follows = known_sequence == 0
        || found > known_sequence
        || (found == known_sequence && bundle.roots() == known.roots());
    if follows {
        return Ok(());
    }
    Err(AnswerError::OlderBundle {
        found,
        known: known_sequence,
    })
}

/// Accepts `bundle` if the server that sent it, and showed `chain` in its handshake, verifies under it.
pub(super) fn check_server(
    bundle: &TrustBundle,
    server: &CaServer,
    chain: &[CertificateDer<'_>],
    clock: &CaClock,
) -> Result<(), AnswerError> {
    if bundle.roots().is_empty() {
        return Err(AnswerError::EmptyBundle);
    }
    Trust::server(server, bundle, clock.clone())
        .admit(chain, Usage::Server, clock.wall())
        .map_err(|why| AnswerError::SelfExcludingBundle { why })
}
