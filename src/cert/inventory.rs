//! `cert list`, `show` and `revoke`: the certificates that the CA issued, for administrators.

use std::collections::{BTreeMap, BTreeSet};

use clap::{ArgGroup, Args};
use identity::{Clock as _, Facts, Serial, SystemClock};
use issuance::RevocationReason;
use proto::v1;
use proto::v1::certificates_client::CertificatesClient;
use proto::v1::resources_client::ResourcesClient;
use proto::v1::revoke_certificates_request::Which;
use resources::Kind;
use serde_json::json;
use tonic::transport::Channel;

use crate::cli::Global;
use crate::failure::Failure;
use crate::instance::Instance;
use crate::message;
use crate::output::{self, Format, Table};
use crate::resource;

pub(super) const LIST_EXAMPLE: &str =
    "Example:\n  signet cert list --spiffe-id 'spiffe://example.org/ns/default/*'";
pub(super) const SHOW_EXAMPLE: &str = "Example:\n  signet cert show 0d6b3cf1a2 -o json";
pub(super) const REVOKE_EXAMPLE: &str = "Examples:\n  signet cert revoke 0d6b3cf1a2 --reason keyCompromise\n  \
    signet cert revoke --lineage 0d6b3cf1a2\n  signet cert revoke --spiffe-id spiffe://example.org/ns/default/sa/web";

/// Of so many revoked certificates the registrations are looked up that granted them.
const MAX_LOOKED_UP: usize = 1000;
/// Room for the serial numbers of more than a million revoked certificates.
const MAX_ANSWER_BYTES: usize = 64 << 20;

#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Identity, or a prefix that ends with *
    #[arg(long, value_name = "ID|PREFIX*")]
    spiffe_id: Option<String>,
    /// SHA-256 of the public key (SubjectPublicKeyInfo), hex
    #[arg(long, value_name = "HEX")]
    key_digest: Option<identity::KeyDigest>,
    /// Those too that have ended
    #[arg(long)]
    include_expired: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["serial", "spiffe_id", "lineage"]))]
pub(crate) struct Revocation {
    /// Serial number of one certificate, hex
    serial: Option<Serial>,
    /// All valid certificates of this identity
    #[arg(long, value_name = "ID")]
    spiffe_id: Option<identity::SpiffeId>,
    /// This certificate and every one renewed from it, also while it is being renewed
    #[arg(long, value_name = "SERIAL")]
    lineage: Option<Serial>,
    /// Reason (RFC 5280): keyCompromise, affiliationChanged, superseded, cessationOfOperation, privilegeWithdrawn, unspecified
    #[arg(long, default_value = "unspecified")]
    reason: RevocationReason,
}

pub(super) async fn list(filter: Filter, global: &Global) -> Result<(), Failure> {
    let mut client = connect(global).await?;
    let mut request = v1::ListCertificatesRequest {
        spiffe_id: filter.spiffe_id.unwrap_or_default(),
        key_digest: filter
            .key_digest
            .map(|digest| digest.to_string())
            .unwrap_or_default(),
        include_expired: filter.include_expired,
        ..v1::ListCertificatesRequest::default()
    };
    let mut certificates = Vec::new();
    loop {
        let page = client.list_certificates(request.clone()).await?.into_inner();
        certificates.extend(page.certificates);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let items = certificates
        .iter()
        .map(|certificate| message::json("Certificate", certificate));
    output::show(global.output, &output::items(items), || {
        table(&certificates, global.output == Format::Wide)
    })
}

pub(super) async fn show(serial: Serial, global: &Global) -> Result<(), Failure> {
    let certificate = get(&mut connect(global).await?, &serial.to_string()).await?;
    let value = message::json("Certificate", &certificate);
    output::show(global.output, &value, || facts(&certificate).text())
}

pub(super) async fn revoke(revocation: Revocation, global: &Global) -> Result<(), Failure> {
    let channel = Instance::locate(global)?.connect().await?;
    let client = CertificatesClient::new(channel.clone());
    let mut client = client.max_decoding_message_size(MAX_ANSWER_BYTES);
    let which = match (revocation.serial, revocation.spiffe_id, revocation.lineage) {
        (Some(serial), _, _) => Which::Serial(serial.to_string()),
        (_, Some(id), _) => Which::SpiffeId(id.as_str().to_owned()),
        (_, _, Some(serial)) => Which::Lineage(serial.to_string()),
        (None, None, None) => {
            return Err(Failure::usage(
                "expected a serial number, --spiffe-id or --lineage",
            ));
        }
    };
    let request = v1::RevokeCertificatesRequest {
        which: Some(which),
        reason: revocation.reason.word().to_owned(),
    };
    let serials = client.revoke_certificates(request).await?.into_inner().serials;
    let doors = open_doors(&mut client, ResourcesClient::new(channel), &serials).await?;
    let value = json!({ "serials": serials, "registrations": doors.keys().collect::<Vec<_>>() });
    output::show(global.output, &value, || revoked(&serials, &doors))
}

/// Registrations that granted what was revoked and still exist, each with the identity: through these its holder can enrol again.
async fn open_doors(
    certificates: &mut CertificatesClient<Channel>,
    mut resources: ResourcesClient<Channel>,
    serials: &[String],
) -> Result<BTreeMap<String, String>, Failure> {
    let mut doors = BTreeMap::new();
    // Each is one request. The newest were granted by what still grants, if anything does.
    for serial in serials.iter().rev().take(MAX_LOOKED_UP) {
        let certificate = get(certificates, serial).await?;
        doors.insert(certificate.registration, certificate.spiffe_id);
    }
    // Listed and not asked for one by one: that one is gone is no refusal that should show in the server's metrics.
    let namespaces: BTreeSet<&str> = doors
        .keys()
        .filter_map(|registration| Some(registration.split_once('/')?.0))
        .collect();
    let mut there = BTreeSet::new();
    for namespace in namespaces {
        let listed = resource::list(&mut resources, Kind::Registration, Some(namespace)).await?;
        there.extend(
            listed
                .into_iter()
                .map(|found| format!("{}/{}", found.namespace, found.name)),
        );
    }
    doors.retain(|registration, _| there.contains(registration));
    Ok(doors)
}

fn revoked(serials: &[String], doors: &BTreeMap<String, String>) -> String {
    if serials.is_empty() {
        return "nothing left to revoke: every certificate that matches is revoked already".to_owned();
    }
    let mut lines: Vec<String> = serials
        .iter()
        .map(|serial| format!("certificate {serial} revoked"))
        .collect();
    for (registration, id) in doors {
        let (namespace, name) = registration.split_once('/').unwrap_or(("default", registration));
        lines.push(format!(
            "registration {registration} still grants {id}: whoever meets it can enrol again. To prevent that: \
             signet delete registration {name} -n {namespace}"
        ));
    }
    if doors.is_empty() {
        lines.push(
            "no registration that granted them exists any more: the holder cannot enrol again through one"
                .to_owned(),
        );
    }
    lines.join("\n")
}

async fn connect(global: &Global) -> Result<CertificatesClient<Channel>, Failure> {
    Ok(CertificatesClient::new(
        Instance::locate(global)?.connect().await?,
    ))
}

async fn get(client: &mut CertificatesClient<Channel>, serial: &str) -> Result<v1::Certificate, Failure> {
    let request = v1::GetCertificateRequest {
        serial: serial.to_owned(),
    };
    Ok(client.get_certificate(request).await?.into_inner())
}

/// Since it was made: notBefore lies before that, so that a fresh one would look old.
fn age(certificate: &v1::Certificate) -> String {
    let made = certificate
        .serial
        .parse()
        .ok()
        .and_then(|serial| issuance::serial::made_at(&serial));
    match made {
        Some(made) => output::age(made, SystemClock.now()),
        None => message::age(certificate.not_before.as_ref()),
    }
}

/// Revoked, ended, or valid.
fn state(certificate: &v1::Certificate) -> &'static str {
    let ended = message::time(certificate.not_after.as_ref()).is_some_and(|end| end < SystemClock.now());
    match (&certificate.revoked_at, ended) {
        (Some(_), _) => "revoked",
        (None, true) => "ended",
        (None, false) => "valid",
    }
}

fn table(certificates: &[v1::Certificate], wide: bool) -> String {
    let more = ["METHOD", "CALLER", "REGISTRATION", "PARENT"]
        .into_iter()
        .filter(|_| wide);
    let mut table = Table::new(
        ["SERIAL", "SPIFFE ID", "STATE", "NOT AFTER", "AGE"]
            .into_iter()
            .chain(more),
    );
    for certificate in certificates {
        let cells = [
            certificate.serial.clone(),
            certificate.spiffe_id.clone(),
            state(certificate).to_owned(),
            message::moment(certificate.not_after.as_ref()),
            age(certificate),
        ];
        let more = [
            &certificate.method,
            &certificate.caller,
            &certificate.registration,
            &certificate.parent_serial,
        ];
        table.row(
            cells
                .into_iter()
                .chain(more.into_iter().filter(|_| wide).cloned()),
        );
    }
    table.text()
}

fn facts(certificate: &v1::Certificate) -> Facts {
    let revoked = match message::moment(certificate.revoked_at.as_ref()) {
        at if at.is_empty() => "no".to_owned(),
        at => format!("{at}, {}", certificate.revocation_reason),
    };
    Facts::new(format!("certificate of {}", certificate.spiffe_id))
        .fact("serial", "serial", certificate.serial.as_str())
        .fact("state", "state", state(certificate))
        .fact("DNS names", "dnsNames", certificate.dns_names.clone())
        .fact(
            "not before",
            "notBefore",
            message::moment(certificate.not_before.as_ref()),
        )
        .fact(
            "not after",
            "notAfter",
            message::moment(certificate.not_after.as_ref()),
        )
        .fact("revoked", "revoked", revoked)
        .fact("registration", "registration", certificate.registration.as_str())
        .fact("method", "method", certificate.method.as_str())
        .fact("caller", "caller", certificate.caller.as_str())
        .fact("renewed from", "parentSerial", certificate.parent_serial.as_str())
        .fact("authority", "authority", certificate.authority.as_str())
        .fact("key digest", "keyDigest", certificate.key_digest.as_str())
        .fact(
            "journal position",
            "journalPosition",
            certificate.journal_position,
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_tells_which_registration_still_lets_the_holder_in() {
        let serials = ["0a".to_owned()];
        let doors = BTreeMap::from([("shop/web".to_owned(), "spiffe://td/a".to_owned())]);
        let text = revoked(&serials, &doors);
        assert!(text.contains("certificate 0a revoked"), "{text}");
        assert!(text.contains("signet delete registration web -n shop"), "{text}");
        assert!(revoked(&serials, &BTreeMap::new()).contains("cannot enrol again"));
        assert!(revoked(&[], &BTreeMap::new()).contains("revoked already"));
    }

    #[test]
    fn a_certificate_is_valid_until_it_ends_or_is_revoked() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let mut certificate = v1::Certificate {
            not_after: at(32_503_680_000),
            ..v1::Certificate::default()
        };
        assert_eq!(state(&certificate), "valid");
        certificate.not_after = at(0);
        assert_eq!(state(&certificate), "ended");
        certificate.revoked_at = at(0);
        assert_eq!(state(&certificate), "revoked");
    }
}
