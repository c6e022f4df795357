//! The authority: proves who calls, decides by registrations which identity they may have, signs, and records before it answers.
//! Front ends decode and encode; `authority.issue` is the only door to an end-entity certificate.

pub mod audit;
pub mod authority;
pub mod caller;
pub mod clock;
pub mod config;
pub mod grpc;
pub mod http;
mod in_flight;
pub mod metrics;
pub mod registration;
pub mod server;
pub mod store;
pub mod tls;
