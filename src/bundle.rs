//! `bundle show`: the roots of the trust domain, as the running server hands them out.

use clap::Subcommand;
use identity::{Fingerprint, Leaf};
use proto::v1;
use proto::v1::certificate_authority_client::CertificateAuthorityClient;

use crate::cli::Global;
use crate::failure::Failure;
use crate::instance::Instance;
use crate::message;
use crate::output::{self, Table};

/// The roots that this CA is trusted by
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show the trust bundle
    #[command(after_help = "Example:\n  signet bundle show --data ./signet\n\n\
        DIR/bundle.pem holds the same roots for other programs.")]
    Show,
}

pub(crate) async fn run(verb: Verb, global: &Global) -> Result<(), Failure> {
    let Verb::Show = verb;
    let channel = Instance::locate(global)?.connect().await?;
    let mut client = CertificateAuthorityClient::new(channel);
    let bundle = client
        .get_bundle(v1::GetBundleRequest::default())
        .await?
        .into_inner();
    let value = message::json("TrustBundle", &bundle);
    output::show(global.output, &value, || text(&bundle))
}

fn text(bundle: &v1::TrustBundle) -> String {
    let mut table = Table::new(["FINGERPRINT", "SUBJECT", "NOT AFTER"]);
    for root in &bundle.x509_authorities {
        let (subject, ends) = match Leaf::parse(root) {
            Ok(root) => (
                root.subject().to_owned(),
                output::moment(root.validity().not_after()),
            ),
            Err(error) => (error.to_string(), String::new()),
        };
        table.row([Fingerprint::of(root).to_string(), subject, ends]);
    }
    format!(
        "Trust domain {}, sequence {}, {} CRLs\n{}",
        bundle.trust_domain,
        bundle.sequence,
        bundle.crls.len(),
        table.text()
    )
}
