//! `source.json` next to a certificate: server, fingerprint and trust domain, so that a renewal needs no
//! flags; when the certificate was received, so that a restart renews no earlier; the sequence of the trust
//! bundle, so that it does not step back. Unknown fields are ignored, all but the first three may be missing.

use std::time::Duration;

use identity::{Fingerprint, TrustDomain, moment};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Stored;
use crate::boot_time::{BootTime, Reading};
use crate::renewal::Receipt;
use crate::server::CaServer;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SourceJson {
    server: String,
    fingerprint: String,
    trust_domain: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    life: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    bundle_sequence: u64,
    /// SHA-256 of the proof of the last enrolment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    received: Option<Received>,
}

/// A [`Receipt`].
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Received {
    at: String,
    ca_time: String,
    boot_id: String,
    millis_since_boot: u64,
    life_millis: u64,
    renew_in_millis: u64,
}

/// The contents of a `source.json`.
pub(super) struct Source {
    pub(super) server: CaServer,
    pub(super) life: Option<Duration>,
    pub(super) bundle_sequence: u64,
    pub(super) proof: Option<Fingerprint>,
    pub(super) receipt: Option<Receipt>,
}

impl SourceJson {
    pub(super) fn of(stored: &Stored) -> Self {
        Self {
            server: stored.server.address().to_owned(),
            fingerprint: stored.server.fingerprint().to_string(),
            trust_domain: stored.server.trust_domain().as_str().to_owned(),
            life: stored.life.map(identity::duration::print),
            bundle_sequence: stored.bundle.sequence(),
            proof: stored.proof.map(|proof| proof.to_string()),
            received: stored.receipt.as_ref().map(Received::of),
        }
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("texts and numbers are JSON");
        text.push('\n');
        text
    }

    /// Reads the file, or says what is wrong with it.
    pub(super) fn parse(text: &[u8]) -> Result<Source, String> {
        let Self {
            server,
            fingerprint,
            trust_domain,
            life,
            bundle_sequence,
            proof,
            received,
        } = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        let fingerprint = fingerprint.parse().map_err(|e| format!("fingerprint: {e}"))?;
        let trust_domain = TrustDomain::new(&trust_domain).map_err(|e| format!("trustDomain: {e}"))?;
        let server = CaServer::new(server, fingerprint, trust_domain).map_err(|e| format!("server: {e}"))?;
        let life = life
            .map(|life| identity::duration::parse(&life).map_err(|e| format!("life: {e}")))
            .transpose()?;
        let proof = proof
            .map(|proof| proof.parse().map_err(|e| format!("proof: {e}")))
            .transpose()?;
        let receipt = received.map(Received::receipt).transpose()?;
        Ok(Source {
            server,
            life,
            bundle_sequence,
            proof,
            receipt,
        })
    }
}

impl Received {
    fn of(receipt: &Receipt) -> Self {
        Self {
            at: moment(receipt.at.wall),
            ca_time: moment(receipt.ca_time),
            boot_id: receipt.at.boot.boot().to_owned(),
            millis_since_boot: millis(receipt.at.boot.since_boot()),
            life_millis: millis(receipt.life),
            renew_in_millis: millis(receipt.renew_in),
        }
    }

    fn receipt(self) -> Result<Receipt, String> {
        let time = |field, text: &str| {
            OffsetDateTime::parse(text, &Rfc3339).map_err(|e| format!("received.{field}: {e}"))
        };
        let at = Reading {
            wall: time("at", &self.at)?,
            boot: BootTime::of(&self.boot_id, Duration::from_millis(self.millis_since_boot)),
        };
        Ok(Receipt::recorded(
            at,
            time("caTime", &self.ca_time)?,
            Duration::from_millis(self.life_millis),
            Duration::from_millis(self.renew_in_millis),
        ))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
