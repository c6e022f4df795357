//! The port over real connections.

use super::*;
use crate::http::serve;
use crate::listen::bind;
use prometheus_client::metrics::counter::Counter;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

struct Running {
    address: SocketAddr,
    readiness: Readiness,
    drain: Drain,
    server: JoinHandle<()>,
}

async fn running(registry: Registry) -> Running {
    let listener = bind("--listen-metrics", (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let (readiness, drain) = (Readiness::new(), Drain::new());
    let router = router(registry, readiness.clone(), drain.clone());
    let server = tokio::spawn(serve(listener, router, drain.clone()));
    Running {
        address,
        readiness,
        drain,
        server,
    }
}

impl Running {
    /// Status line, headers and body, as they came.
    async fn get(&self, path: &str, accept: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

#[tokio::test]
async fn readyz_turns_with_the_conditions_and_names_the_reasons() {
    let port = running(registry("0")).await;
    let answer = port.get("/readyz", "*/*").await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.ends_with("\r\nstart: starting\n"),
        "{answer}"
    );

    let signing = port.readiness.condition("signing");
    let record = port.readiness.condition("record");
    signing.set_ready();
    record.set_ready();
    let answer = port.get("/readyz", "*/*").await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\nready\n"),
        "{answer}"
    );

    record.set_not_ready("disk full");
    let answer = port.get("/readyz", "*/*").await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.ends_with("\r\nrecord: disk full\n"),
        "{answer}"
    );
    let answer = port.get("/livez", "*/*").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn readyz_answers_in_json_if_asked() {
    let port = running(registry("0")).await;
    port.readiness.condition("signing").set_not_ready("no chain");
    let answer = port.get("/readyz", "application/json").await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("content-type: application/json\r\n"),
        "{answer}"
    );
    let body: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let expected =
        serde_json::json!({ "ready": false, "reasons": [{ "name": "signing", "reason": "no chain" }] });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_drain_turns_readyz_and_the_port_serves_until_it_is_over() {
    let port = running(registry("0")).await;
    port.readiness.condition("signing").set_ready();
    let work = port.drain.guard();
    port.drain.begin("test");
    let answer = port.get("/readyz", "*/*").await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.ends_with("drain: draining\n"),
        "{answer}"
    );
    drop(work);
    port.drain.finish(crate::drain::DEADLINE).await;
    port.server.await.unwrap();
    TcpStream::connect(port.address).await.unwrap_err();
}

#[tokio::test]
async fn metrics_show_the_version_the_process_and_what_was_registered() {
    let mut registry = registry("1.2.3");
    let issued = Counter::<u64>::default();
    registry.register(
        "signet_certificates_issued",
        "Certificates issued",
        issued.clone(),
    );
    let port = running(registry).await;
    issued.inc();
    let answer = port.get("/metrics", "*/*").await;
    assert!(answer.contains(OPEN_METRICS), "{answer}");
    assert!(answer.ends_with("# EOF\n"), "{answer}");
    for line in [
        "signet_build_info{version=\"1.2.3\"} 1",
        "signet_certificates_issued_total 1",
        "# TYPE process_cpu_seconds counter",
    ] {
        assert!(answer.lines().any(|l| l == line), "{line} in {answer}");
    }
    for name in [
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_start_time_seconds",
    ] {
        let value = answer
            .lines()
            .find_map(|l| l.strip_prefix(&format!("{name} ")))
            .unwrap_or_else(|| panic!("{name} in {answer}"));
        assert!(value.parse::<f64>().unwrap() >= 0.0);
    }
}
