//! `health`: live is what gRPC health says over `admin.sock`, ready what `/readyz` says on the metrics address of `ready.json`.

use std::time::Duration;

use clap::Args;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use identity::{Clock as _, Reason, SystemClock};
use proto::v1;
use proto::v1::authorities_client::AuthoritiesClient;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::authority::first_to_expire;
use crate::cli::Global;
use crate::failure::Failure;
use crate::instance::Instance;
use crate::message;
use crate::output;

pub(crate) const EXAMPLE: &str = "Example:\n  signet health --data ./signet --wait 30s";
/// How long one look may take.
const LOOK_TIME: Duration = Duration::from_secs(5);
/// How often `--wait` looks again.
const INTERVAL: Duration = Duration::from_millis(100);
/// Largest answer of `/readyz` that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Wait so long for the server to become ready
    #[arg(long, value_name = "DURATION", value_parser = identity::duration::parse)]
    wait: Option<Duration>,
}

/// What `/readyz` answers.
#[derive(Debug, Deserialize)]
struct Readiness {
    ready: bool,
    reasons: Vec<Unmet>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Unmet {
    name: String,
    reason: String,
}

pub(crate) async fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let instance = Instance::locate(global)?;
    let deadline = Instant::now() + arguments.wait.unwrap_or_default();
    let mut looked = look(&instance).await;
    while looked.is_err() && Instant::now() < deadline {
        tokio::time::sleep(INTERVAL).await;
        looked = look(&instance).await;
    }
    if let Some(warning) = looked? {
        output::remark(&warning);
    }
    let value = json!({ "live": true, "ready": true });
    output::show(global.output, &value, || "live and ready".to_owned())
}

/// Live and ready, perhaps with a warning of what is to come.
async fn look(instance: &Instance) -> Result<Option<String>, Failure> {
    let looked = async {
        let channel = instance.connect().await?;
        let request = HealthCheckRequest {
            service: String::new(),
        };
        let answer = HealthClient::new(channel.clone())
            .check(request)
            .await?
            .into_inner();
        let readiness = readyz(&instance.ready()?.metrics).await?;
        if !readiness.ready {
            return Err(not_ready(&readiness.reasons));
        }
        match answer.status() {
            ServingStatus::Serving => warning(channel).await,
            other => Err(Failure::new(
                Reason::NotReady,
                format!("gRPC health says {}", other.as_str_name()),
            )),
        }
    };
    let silent = |_| {
        Failure::new(
            Reason::NotReady,
            format!("server did not answer within {LOOK_TIME:?}"),
        )
    };
    tokio::time::timeout(LOOK_TIME, looked).await.map_err(silent)?
}

/// An authority past the middle of its life is one that the server does not renew by itself.
async fn warning(channel: Channel) -> Result<Option<String>, Failure> {
    let listed = AuthoritiesClient::new(channel)
        .list_authorities(v1::ListAuthoritiesRequest {})
        .await?
        .into_inner();
    let is_active =
        |authority: &&v1::SigningAuthority| authority.state() == v1::signing_authority::State::Active;
    let seconds = |at: &Option<prost_types::Timestamp>| at.as_ref().map_or(0, |at| at.seconds);
    Ok(listed
        .authorities
        .iter()
        .find(is_active)
        .filter(|authority| {
            let (begin, end) = (seconds(&authority.not_before), seconds(&authority.not_after));
            SystemClock.now().unix_timestamp() > begin + (end - begin) / 2
        })
        .map(|authority| {
            let mut end = message::moment(authority.not_after.as_ref());
            if let Some(certificate) = first_to_expire(authority) {
                end.push_str(", limited by ");
                end.push_str(&certificate);
            }
            format!("warning: the signing authority ends at {end}, past the middle of its life; prepare and activate a new one")
        }))
}

fn not_ready(reasons: &[Unmet]) -> Failure {
    let reasons: Vec<String> = reasons
        .iter()
        .map(|unmet| format!("{}: {}", unmet.name, unmet.reason))
        .collect();
    Failure::new(
        Reason::NotReady,
        format!("live but not ready: {}", reasons.join("; ")),
    )
}

async fn readyz(address: &str) -> Result<Readiness, Failure> {
    let wrong = |e: &dyn std::fmt::Display| {
        Failure::new(
            Reason::NotReady,
            format!("no readiness at http://{address}/readyz: {e}"),
        )
    };
    let stream = TcpStream::connect(address).await.map_err(|e| wrong(&e))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| wrong(&e))?;
    // It ends with the sender; what goes wrong on it is told by the answer.
    tokio::spawn(connection);
    let request = http::Request::get("/readyz")
        .header(http::header::HOST, address)
        .header(http::header::ACCEPT, "application/json")
        .body(Empty::<Bytes>::new())
        .map_err(|e| wrong(&e))?;
    let answer = sender.send_request(request).await.map_err(|e| wrong(&e))?;
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES)
        .collect()
        .await
        .map_err(|e| wrong(&e))?;
    serde_json::from_slice(&body.to_bytes()).map_err(|e| wrong(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let answer = r#"{"ready":false,"reasons":[{"name":"signing","reason":"no authority"},{"name":"record","reason":"disk full"}]}"#;
        let readiness: Readiness = serde_json::from_str(answer).unwrap();
        let text = not_ready(&readiness.reasons).text();
        assert!(
            text.contains("signing: no authority; record: disk full"),
            "{text}"
        );
    }
}
