//! Strangers who are slow, silent or many, over real connections.

use super::*;
use crate::listen::bind;
use axum::body::Body;
use axum::routing::get;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(100);
const PATIENT: Limits = Limits {
    connections: 64,
    header: LONG,
    connection: LONG,
};

fn serving(limits: Limits) -> SocketAddr {
    let listener = bind("--listen-crl", (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/", get(async || "here\n"))
        .route("/large", get(async || Body::from(vec![0; 64 << 20])));
    tokio::spawn(serve_within(limits, listener, router, Drain::new()));
    address
}

async fn send(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

async fn ask(address: SocketAddr) -> String {
    let mut stream = send(address, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Bytes until the other side closes the connection; a reset is its end too.
async fn rest(mut stream: TcpStream) -> usize {
    let (mut buffer, mut read) = (vec![0; 64 << 10], 0);
    while let Ok(more @ 1..) = stream.read(&mut buffer).await {
        read += more;
    }
    read
}

#[tokio::test]
async fn who_does_not_end_the_headers_in_time_is_cut_off() {
    let address = serving(Limits {
        header: SHORT,
        ..PATIENT
    });
    let silent = send(address, "").await;
    let unfinished = send(address, "GET / HTTP/1.1\r\nhost: x\r\n").await;
    let kept_alive = send(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(ask(address).await.ends_with("\r\n\r\nhere\n"));
    assert_eq!(rest(silent).await, 0);
    assert_eq!(rest(unfinished).await, 0);
    assert!(rest(kept_alive).await > 0);
}

#[tokio::test]
async fn who_reads_too_slowly_is_cut_off() {
    let address = serving(Limits {
        connection: SHORT,
        ..PATIENT
    });
    let mut asking = send(address, "GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    asking.read_u8().await.unwrap();
    // This is its slowness; nothing is waited for.
    tokio::time::sleep(2 * SHORT).await;
    assert!(rest(asking).await < 64 << 20);
}

#[tokio::test]
async fn the_silent_give_way_to_who_asks() {
    let address = serving(Limits {
        connections: 4,
        ..PATIENT
    });
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(send(address, "").await);
    }
    for _ in 0..4 {
        assert!(ask(address).await.ends_with("\r\n\r\nhere\n"));
    }
    assert_eq!(rest(silent.remove(0)).await, 0);
}

#[tokio::test]
async fn a_request_of_many_bytes_is_refused() {
    let address = serving(PATIENT);
    let long = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "a".repeat(2 * BUFFER)
    );
    let mut answer = [0; 12];
    send(address, &long).await.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
}
