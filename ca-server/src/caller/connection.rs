//! What the transport knows of a caller: where it comes from, and the certificate whose key it has proved to hold.
//!
//! The handshake records facts, it judges nothing: connections live for days and certificates do not, so the verdict is made at
//! each call (see `certificate`).

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::{fmt, io};

use identity::Reason;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

use super::certificate::OwnCertificate;

/// One accepted connection, shared by all its requests.
#[derive(Debug)]
pub struct Connection {
    peer: Peer,
    chain: Vec<CertificateDer<'static>>,
    own: OnceLock<Option<Arc<OwnCertificate>>>,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over the network.
    Address(SocketAddr),
    /// Through `admin.sock`; the kernel says who.
    Kernel {
        /// User id of the process that opened the connection.
        uid: u32,
        /// Its process id, 0 where the kernel does not tell.
        pid: i32,
    },
}

impl Connection {
    /// A connection over TLS; `chain` is what the client presented, leaf first, or nothing.
    pub fn over_tls(address: SocketAddr, chain: Vec<CertificateDer<'static>>) -> Self {
        Self {
            peer: Peer::Address(address),
            chain,
            own: OnceLock::new(),
        }
    }

    /// A connection through a Unix socket.
    pub fn over_socket(uid: u32, pid: i32) -> Self {
        Self {
            peer: Peer::Kernel { uid, pid },
            chain: Vec::new(),
            own: OnceLock::new(),
        }
    }

    /// The other end.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// The client's chain, leaf first; its key is proved, nothing else is.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// What the record says of the client's certificate, once it was asked: `Some(None)` if it is not one of ours. That stays so: a
    /// certificate is recorded before anybody holds it.
    pub(super) fn recognised(&self) -> Option<Option<&Arc<OwnCertificate>>> {
        self.own.get().map(Option::as_ref)
    }

    /// The client's certificate, if it is one of ours and it is what was refused.
    pub fn refused(&self, reason: Reason) -> Option<&OwnCertificate> {
        let is_of_it = matches!(
            reason,
            Reason::CertificateRevoked
                | Reason::CertificateExpired
                | Reason::CertificateNotYetValid
                | Reason::CertificateUntrusted
        );
        self.recognised()
            .flatten()
            .filter(|_| is_of_it)
            .map(AsRef::as_ref)
    }

    /// Remembers the answer; of two at once the first stays, they are equal.
    pub(super) fn remember(&self, own: Option<Arc<OwnCertificate>>) -> Option<&Arc<OwnCertificate>> {
        self.own.get_or_init(|| own).as_ref()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Address(address) => write!(f, "{address}"),
            Peer::Kernel { uid, pid } => write!(f, "unix:uid={uid},pid={pid}"),
        }
    }
}

/// A byte stream together with what is known of its other end; requests find the latter among their extensions.
#[derive(Debug)]
pub struct Accepted<S> {
    stream: S,
    connection: Arc<Connection>,
}

impl<S> Accepted<S> {
    /// Joins the two.
    pub fn new(stream: S, connection: Connection) -> Self {
        Self {
            stream,
            connection: Arc::new(connection),
        }
    }
}

impl<S> Connected for Accepted<S> {
    type ConnectInfo = Arc<Connection>;

    fn connect_info(&self) -> Self::ConnectInfo {
        Arc::clone(&self.connection)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Accepted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Accepted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
