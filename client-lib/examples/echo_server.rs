//! Echoes whatever members of its trust domain send, over mutual TLS that follows its identity, and says why it refused others. See
//! `echo_client.rs`, and `impostor.rs` for one of the others.
#![allow(
    clippy::print_stdout,
    reason = "an example talks to people and tests on stdout"
)]

mod echo;

use std::error::Error;
use std::io;
use std::sync::Arc;

use clap::Parser;
use client_lib::PeerRefused;
use echo::{Counts, Flags, report, told_to_stop};
use rustls::CertificateError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let (source, peers) = arguments.flags.source().await?;
    let acceptor = TlsAcceptor::from(Arc::new(source.server_config(peers)));
    let listener = TcpListener::bind(&arguments.listen).await?;
    println!("listening {} as {}", listener.local_addr()?, source.id());

    let counts = Arc::new(Counts::default());
    tokio::select! {
        () = accept(listener, acceptor, counts.clone()) => {}
        () = report(counts.clone(), source.clone()) => {}
        stopped = told_to_stop() => stopped?,
    }
    println!("total {counts} rotations={}", source.status().borrow().rotations);
    Ok(())
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, counts: Arc<Counts>) {
    loop {
        let Ok((stream, caller)) = listener.accept().await else {
            continue;
        };
        let (acceptor, counts) = (acceptor.clone(), counts.clone());
        tokio::spawn(async move {
            let stream = match acceptor.accept(stream).await {
                Ok(stream) => stream,
                Err(error) => {
                    Counts::add(&counts.refusals, 1);
                    println!("refused {caller}: {}", why(&error));
                    return;
                }
            };
            Counts::add(&counts.connections, 1);
            if let Err(error) = echo(stream, &counts).await {
                Counts::add(&counts.failures, 1);
                println!("failure: {error}");
            }
        });
    }
}

async fn echo(mut stream: TlsStream<TcpStream>, counts: &Counts) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return stream.shutdown().await;
        }
        Counts::add(&counts.received, read);
        stream.write_all(&buffer[..read]).await?;
        stream.flush().await?;
        Counts::add(&counts.sent, read);
    }
}

/// Why a handshake failed, for people.
fn why(error: &io::Error) -> String {
    if let Some(refused) = PeerRefused::within(error) {
        return refused.to_string();
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::NoCertificatesPresented) => "the caller presented no certificate".to_owned(),
        Some(rustls::Error::InvalidCertificate(CertificateError::BadSignature)) => {
            "the caller does not hold the key of the certificate that it presented".to_owned()
        }
        _ => error.to_string(),
    }
}
