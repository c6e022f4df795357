//! Keeps one connection to an echo server busy for as long as it runs, through every rotation of either certificate, and opens a
//! fresh one each second, so that new certificates are seen to work as well.
#![allow(
    clippy::print_stdout,
    reason = "an example talks to people and tests on stdout"
)]

mod echo;

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser;
use echo::{Counts, Flags, report, told_to_stop};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const CHUNK: usize = 1024;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    /// Address of the echo server
    #[arg(long)]
    connect: String,
}

/// A place that is connected to.
#[derive(Clone)]
struct Road {
    connector: TlsConnector,
    address: String,
    counts: Arc<Counts>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let (source, peers) = arguments.flags.source().await?;
    let road = Road {
        connector: TlsConnector::from(Arc::new(source.client_config(peers))),
        address: arguments.connect,
        counts: Arc::new(Counts::default()),
    };
    println!("connecting {} as {}", road.address, source.id());

    let (stop, stopping) = watch::channel(false);
    let live = tokio::spawn(road.clone().stay(stopping.clone()));
    let fresh = tokio::spawn(road.clone().knock(stopping));
    tokio::select! {
        () = report(road.counts.clone(), source.clone()) => {}
        stopped = told_to_stop() => stopped?,
    }
    stop.send_replace(true);
    live.await?;
    fresh.await?;
    println!(
        "total {} rotations={}",
        road.counts,
        source.status().borrow().rotations
    );
    match road.counts.failures.load(Ordering::Relaxed) {
        0 => Ok(()),
        failures => Err(format!("{failures} failures, expected none").into()),
    }
}

impl Road {
    /// One connection, busy until the end. If it breaks that is a failure, and the next one is opened.
    async fn stay(self, stopping: watch::Receiver<bool>) {
        while !*stopping.borrow() {
            let talked = async {
                let mut stream = self.open().await?;
                while !*stopping.borrow() {
                    self.round(&mut stream).await?;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                stream.shutdown().await
            };
            if let Err(error) = talked.await {
                self.fail("live connection", &error).await;
            }
        }
    }

    /// A fresh connection each second.
    async fn knock(self, mut stopping: watch::Receiver<bool>) {
        let mut stopping = std::pin::pin!(stopping.wait_for(|stop| *stop));
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = seconds.tick() => {}
                _ = &mut stopping => return,
            }
            let talked = async {
                let mut stream = self.open().await?;
                self.round(&mut stream).await?;
                stream.shutdown().await
            };
            if let Err(error) = talked.await {
                self.fail("fresh connection", &error).await;
            }
        }
    }

    async fn open(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(&self.address).await?;
        // The peer is known by its SPIFFE ID; the name is not looked at.
        let name = ServerName::try_from("echo.invalid").expect("a DNS name");
        let stream = self.connector.connect(name, stream).await?;
        Counts::add(&self.counts.connections, 1);
        Ok(stream)
    }

    async fn round(&self, stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
        let chunk = [7; CHUNK];
        stream.write_all(&chunk).await?;
        stream.flush().await?;
        Counts::add(&self.counts.sent, CHUNK);
        let mut echoed = [0; CHUNK];
        stream.read_exact(&mut echoed).await?;
        Counts::add(&self.counts.received, CHUNK);
        if chunk == echoed {
            Ok(())
        } else {
            Err(io::Error::other(
                "echo differs, expected the bytes that were sent",
            ))
        }
    }

    async fn fail(&self, what: &str, error: &io::Error) {
        Counts::add(&self.counts.failures, 1);
        println!("failure: {what}: {error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
