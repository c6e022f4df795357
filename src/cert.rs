//! `cert`: certificates of one's own (`issue`, `renew`, `needs-renewal`), and everybody's for administrators.

mod due;
mod inventory;
mod issue;
mod renew;

use std::process::ExitCode;

use clap::Subcommand;

use crate::cli::Global;
use crate::failure::Failure;

/// Exit code of `needs-renewal` for all that is neither yes, no, nor no such file.
pub(crate) const OTHER_ERROR: u8 = 255;

/// Certificates
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Get a certificate and write its folder
    #[command(after_help = issue::EXAMPLE)]
    Issue(Box<issue::Arguments>),
    /// Renew the certificate of a folder, once or for ever
    #[command(after_help = renew::EXAMPLE)]
    Renew(renew::Arguments),
    /// Tell by the exit code whether a certificate is due: 0 yes, 1 no, 2 no such file, 255 other errors
    #[command(after_help = due::EXAMPLE)]
    NeedsRenewal(due::Arguments),
    /// List certificates that the CA issued
    #[command(after_help = inventory::LIST_EXAMPLE)]
    List(inventory::Filter),
    /// Show one certificate that the CA issued
    #[command(after_help = inventory::SHOW_EXAMPLE)]
    Show {
        /// Serial number, hex
        serial: identity::Serial,
    },
    /// Revoke certificates, and tell who could still enrol again
    #[command(after_help = inventory::REVOKE_EXAMPLE)]
    Revoke(inventory::Revocation),
}

pub(crate) async fn run(verb: Verb, global: &Global) -> Result<ExitCode, Failure> {
    match verb {
        Verb::Issue(arguments) => issue::run(*arguments, global).await,
        Verb::Renew(arguments) => renew::run(arguments, global).await,
        Verb::NeedsRenewal(arguments) => return due::run(&arguments, global),
        Verb::List(filter) => inventory::list(filter, global).await,
        Verb::Show { serial } => inventory::show(serial, global).await,
        Verb::Revoke(revocation) => inventory::revoke(revocation, global).await,
    }?;
    Ok(ExitCode::SUCCESS)
}
