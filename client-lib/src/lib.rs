//! For Rust programs that want an identity. A source enrols with a proof, renews by itself half a life after
//! each receipt, follows the trust bundle, and provides rustls configurations that use the newest certificate
//! in every new handshake:
//!
//! ```no_run
//! # #[cfg(feature = "grpc")]
//! # async fn example() -> Result<(), client_lib::Error> {
//! use client_lib::{Authorize, Proof, X509Source};
//!
//! let source = X509Source::builder(Proof::token_file("/run/token")?).start().await?;
//! let peers = Authorize::trust_domain(source.bundle().trust_domain());
//! let server = source.server_config(peers.clone());
//! let client = source.client_config(peers);
//! # Ok(())
//! # }
//! ```
//!
//! Renewal is scheduled by the boot-time clock: a client whose wall clock is wrong by days renews as often as
//! any other, and its certificate stays in use; `Status::clock_skew` and the log say so. Peers are verified
//! by the wall clock. A folder that is full, locked or does not answer costs no renewal: the certificate is
//! used from memory and written when that is possible (`Status::storage_error`). A trust bundle that steps
//! back, is empty, or excludes the CA that sent it is not taken (`Status::bundle_error`); `Builder::bundle`
//! replaces it by hand.
//!
//! Without the feature `grpc` there are keys, requests, folders and TLS configurations, and no client of the CA.

pub mod authorize;
pub mod boot_time;
pub mod dial;
pub mod folder;
pub mod identities;
pub mod key;
pub mod renewal;
pub mod server;
pub mod svid;
pub mod tls;

#[cfg(feature = "grpc")]
pub mod ca;
#[cfg(feature = "grpc")]
mod error;
#[cfg(feature = "grpc")]
pub mod proof;
#[cfg(feature = "grpc")]
pub mod source;

pub use authorize::{Authorize, NotAuthorized};
pub use dial::Dial;
pub use folder::{Folder, Stored};
pub use identities::{Identities, Snapshot};
pub use key::{KeyType, PrivateKey};
pub use server::CaServer;
pub use svid::{Svid, SvidRefused};
pub use tls::PeerRefused;

#[cfg(feature = "grpc")]
pub use ca::{Ca, Issued, Wish};
#[cfg(feature = "grpc")]
pub use error::Error;
#[cfg(feature = "grpc")]
pub use proof::Proof;
#[cfg(feature = "grpc")]
pub use source::{Status, X509Source};

#[cfg(test)]
#[cfg(feature = "grpc")]
mod fake;
