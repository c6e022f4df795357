//! The wire: generated messages and services, and their conversions to the words of `identity`. Field numbers are a contract;
//! see the comments in `proto/*.proto`. Everything that a program decides by is in [`Refusal`].

mod bundle;
mod refusal;
mod time;

pub use bundle::{BundleMessageError, bundle_from_message, bundle_to_message};
pub use refusal::{DOMAIN, Refusal};
pub use time::{duration_from_message, duration_to_message, timestamp_from_message, timestamp_to_message};

/// Signet's own API, `signet.v1`.
#[allow(
    missing_docs,
    clippy::allow_attributes_without_reason,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    reason = "generated from signet_v1.proto, where the comments are"
)]
pub mod v1 {
    tonic::include_proto!("signet.v1");
}

/// The CA protocol of stock mesh proxies, `istio.v1.auth`.
#[allow(
    missing_docs,
    clippy::allow_attributes_without_reason,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    reason = "generated from istio_v1_auth.proto, where the comments are"
)]
pub mod istio {
    tonic::include_proto!("istio.v1.auth");
}

/// A FileDescriptorSet of all services, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Largest gRPC message that a server of ours reads, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;
