//! What the transport knows of a caller: where it comes from, and the certificate whose key it has proved to hold.
//!
//! The handshake records facts, it judges nothing: connections live for days and certificates do not, so the verdict is made at
//! each call (see `certificate`).

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::{fmt, io};

use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

use super::certificate::OwnCertificate;

/// One accepted connection, shared by all its requests.
#[derive(Debug)]
pub struct Connection {
    peer: Peer,
    chain: Vec<CertificateDer<'static>>,
    own: Mutex<Option<Arc<OwnCertificate>>>,
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
            own: Mutex::new(None),
        }
    }

    /// A connection through a Unix socket.
    pub fn over_socket(uid: u32, pid: i32) -> Self {
        Self {
            peer: Peer::Kernel { uid, pid },
            chain: Vec::new(),
            own: Mutex::new(None),
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

    /// The record of the client's certificate, once it was found to be one of ours.
    pub(super) fn own(&self) -> Option<Arc<OwnCertificate>> {
        self.own
            .lock()
            .expect("nothing panics while it holds this lock")
            .clone()
    }

    pub(super) fn remember(&self, own: &Arc<OwnCertificate>) {
        *self.own.lock().expect("nothing panics while it holds this lock") = Some(Arc::clone(own));
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
