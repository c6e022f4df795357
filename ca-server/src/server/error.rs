//! Why a server does not start, or does not stop cleanly.

use std::io;

use identity::{Reason, SpiffeIdError};
use proto::Refusal;

use crate::authority::signers::SignerError;
use crate::config::ConfigError;
use crate::store::StoreError;

/// What stopped the start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log cannot be set up.
    #[error(transparent)]
    Log(#[from] runtime::logs::LogError),
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] runtime::instance::InstanceError),
    /// The record does not open or close.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A recorded authority cannot sign.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] runtime::listen::ListenError),
    /// Signals cannot be received.
    #[error(transparent)]
    Signal(#[from] runtime::drain::SignalError),
    /// The audit log cannot be opened.
    #[error("audit log: {0}")]
    Audit(#[from] io::Error),
    /// No thread can be started.
    #[error("a thread could not be started: {0}")]
    Thread(io::Error),
    /// `ready.json` cannot be written.
    #[error(transparent)]
    Ready(#[from] runtime::ready::ReadyError),
    /// `bundle.pem` cannot be written.
    #[error(transparent)]
    Write(#[from] runtime::atomic::WriteError),
    /// The first server name makes no SPIFFE ID.
    #[error("server name: {0}")]
    ServerName(#[from] SpiffeIdError),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The descriptors of the services are broken.
    #[error("gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The authority refuses.
    #[error("{}", .0.message())]
    Refused(#[from] Refusal),
    /// A part that the server cannot do without has ended.
    #[error("{0}")]
    Failed(String),
    /// The end was not clean.
    #[error("the record was not put away cleanly: {0}; the next start reads it whole")]
    Stop(String),
}

impl ServeError {
    /// The stable word for it.
    pub fn reason(&self) -> Reason {
        match self {
            ServeError::Refused(refusal) => refusal.reason(),
            ServeError::Signer(error) => error.reason(),
            ServeError::Config(_) | ServeError::ServerName(_) => Reason::ResourceInvalid,
            ServeError::Store(_) | ServeError::Stop(_) => Reason::StoreUnavailable,
            ServeError::Listen(_) | ServeError::Folder(_) => Reason::Conflict,
            _ => Reason::Internal,
        }
    }
}
