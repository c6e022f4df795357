//! `source.json` beside a certificate: server, fingerprint and trust domain, so that a renewal needs no flags. Unknown fields are
//! ignored.

use std::time::Duration;

use identity::TrustDomain;
use serde::{Deserialize, Serialize};

use super::Stored;
use crate::server::CaServer;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SourceJson {
    server: String,
    fingerprint: String,
    trust_domain: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    life: Option<String>,
}

impl SourceJson {
    pub(super) fn of(stored: &Stored) -> Self {
        Self {
            server: stored.server.address().to_owned(),
            fingerprint: stored.server.fingerprint().to_string(),
            trust_domain: stored.server.trust_domain().as_str().to_owned(),
            life: stored.life.map(identity::duration::print),
        }
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("texts are JSON");
        text.push('\n');
        text
    }

    /// Where to renew and which life to ask for, or what is wrong.
    pub(super) fn parse(text: &[u8]) -> Result<(CaServer, Option<Duration>), String> {
        let Self {
            server,
            fingerprint,
            trust_domain,
            life,
        } = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        let fingerprint = fingerprint.parse().map_err(|e| format!("fingerprint: {e}"))?;
        let trust_domain = TrustDomain::new(&trust_domain).map_err(|e| format!("trustDomain: {e}"))?;
        let server = CaServer::new(server, fingerprint, trust_domain).map_err(|e| format!("server: {e}"))?;
        let life = life
            .map(|life| identity::duration::parse(&life).map_err(|e| format!("life: {e}")))
            .transpose()?;
        Ok((server, life))
    }
}
