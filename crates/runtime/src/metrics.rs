//! What probes and scrapers ask for: `/metrics` in the OpenMetrics text format 1.0, `/livez`, `/readyz`.

mod process;

use crate::drain::Drain;
use crate::readiness::{Readiness, Unmet};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::sync::Arc;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A registry that holds what every program shows: `signet_build_info{version}` and `process_*`. The program registers its own metrics
/// under their full names; a counter's name stands without `_total`, which the encoder adds.
pub fn registry(version: &'static str) -> Registry {
    let mut registry = Registry::default();
    registry.register(
        "signet_build",
        "The version that runs",
        Info::new([("version", version)]),
    );
    registry.register_collector(Box::new(process::Process));
    registry
}

struct Port {
    registry: Registry,
    readiness: Readiness,
    drain: Drain,
}

/// The three routes. `/readyz` answers 200 `ready`, or 503 with one line `condition: reason` for each reason; with `Accept:
/// application/json` it answers `{"ready":bool,"reasons":[{"name","reason"}]}`. A drain is a reason.
pub fn router(registry: Registry, readiness: Readiness, drain: Drain) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "live\n"))
        .route("/readyz", get(readyz))
        .with_state(Arc::new(Port {
            registry,
            readiness,
            drain,
        }))
}

async fn metrics(State(port): State<Arc<Port>>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &port.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot encode the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn readyz(State(port): State<Arc<Port>>, headers: HeaderMap) -> Response {
    let state = port.readiness.state();
    let ready = state.is_ready() && !port.drain.has_begun();
    let mut reasons = state.unmet().to_vec();
    if port.drain.has_begun() {
        let reason = "draining".to_owned();
        reasons.insert(
            0,
            Unmet {
                name: "drain",
                reason,
            },
        );
    }
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    if wants_json(&headers) {
        let body = serde_json::json!({ "ready": ready, "reasons": reasons }).to_string();
        return (status, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    }
    let body = match ready {
        true => "ready\n".to_owned(),
        false => reasons
            .iter()
            .map(|r| format!("{}: {}\n", r.name, r.reason))
            .collect(),
    };
    (status, body).into_response()
}

fn wants_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json"))
}

#[cfg(test)]
mod tests;
