//! The off-line ceremony: makes the root of a trust domain and signs authorities with it, on a machine without network.
//!
//! It writes files and talks to a terminal, nothing else: no network code is in its dependency tree, and nothing that exists is ever
//! overwritten.

mod cli;
mod console;
mod error;
mod files;
mod init;
mod inspect;
mod sign;

pub use cli::run;
pub use console::Console;
pub use error::CeremonyError;
