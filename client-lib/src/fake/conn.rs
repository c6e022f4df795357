//! TLS for the fake CA: asks for a client certificate, takes any, and tells the service what it saw.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use identity::Usage;
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::key::PrivateKey;
use crate::tls::{Admits, PeerRefused, judge};

/// The chain that the client presented.
#[derive(Clone, Debug)]
pub(super) struct ClientChain(pub(super) Vec<CertificateDer<'static>>);

pub(super) struct Conn(TlsStream<TcpStream>);

/// Accepts for ever; a handshake that fails costs nobody else anything.
pub(super) fn accept(
    listener: TcpListener,
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKey,
) -> ReceiverStream<io::Result<Conn>> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.pkcs8().to_vec()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(judge(Anybody))
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let _ = sender.send(Ok(Conn(stream))).await;
                }
            });
        }
    });
    ReceiverStream::new(receiver)
}

impl Connected for Conn {
    type ConnectInfo = ClientChain;
    fn connect_info(&self) -> ClientChain {
        let presented = self.0.get_ref().1.peer_certificates().unwrap_or_default();
        ClientChain(presented.iter().map(|c| c.clone().into_owned()).collect())
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Whoever comes, with whatever certificate whose key it holds, or with none.
struct Anybody;

impl Admits for Anybody {
    fn admit(&self, _: &[CertificateDer<'_>], _: Usage, _: OffsetDateTime) -> Result<(), PeerRefused> {
        Ok(())
    }
    fn may_come_bare(&self) -> bool {
        true
    }
}
