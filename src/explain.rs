//! `explain connection`, below; and `explain identity`: asks the server what it knows of the proof, and the registrations whether they would grant the request.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Subcommand};
use identity::{Clock as _, JoinToken, Leaf, Reason, SpiffeId, SystemClock};
use issuance::VerifiedCsr;
use proto::v1;
use proto::v1::certificates_client::CertificatesClient;
use proto::v1::resources_client::ResourcesClient;
use proto::v1::token::State;
use proto::v1::tokens_client::TokensClient;
use resources::{Asked, Asker, Caller, Explanation, Kind, Registration};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::cli::Global;
use crate::failure::{Failure, Place};
use crate::instance::Instance;
use crate::message;
use crate::output;
use crate::resource;

mod connection;

/// Why something is as it is
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Tell whether a CSR would be granted, by which registration; if not, which comes nearest and what is missing
    #[command(
        after_help = "Example:\n  signet explain identity --csr web.csr --token-file web.token\n\n\
        Nothing is issued and no token is spent."
    )]
    #[command(group = ArgGroup::new("proof").required(true).args(["token_file", "as_certificate"]))]
    Identity {
        /// The CSR, PEM or DER
        #[arg(long, value_name = "FILE")]
        csr: PathBuf,
        /// Judge it as sent with the join token in this file
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// Judge it as sent by the holder of this certificate (PEM, leaf first): one of this CA, or of a factory
        #[arg(long, value_name = "FILE")]
        as_certificate: Option<PathBuf>,
    },
    /// Tell how a connection would end: what the client sends, what the server takes, and which policies decide
    #[command(after_help = connection::EXAMPLE)]
    Connection(Box<connection::Arguments>),
}

/// A proof as the server knows it.
enum Known {
    Token {
        id: SpiffeId,
        registration: String,
    },
    Own {
        id: SpiffeId,
        registration: String,
    },
    /// The ids in a foreign certificate; which one counts is in the server's configuration.
    Foreign {
        ids: Vec<String>,
    },
    /// A proof that the server refuses before it looks at registrations.
    Spent {
        why: String,
    },
}

pub(crate) async fn run(verb: Verb, global: &Global) -> Result<(), Failure> {
    let (csr, token_file, as_certificate) = match verb {
        Verb::Identity {
            csr,
            token_file,
            as_certificate,
        } => (csr, token_file, as_certificate),
        Verb::Connection(arguments) => return connection::run(&arguments, global).await,
    };
    let instance = Instance::locate(global)?;
    let csr = read_csr(&csr)?;
    let channel = instance.connect().await?;
    let known = match (token_file, as_certificate) {
        (Some(path), _) => token(&path, channel.clone()).await?,
        (None, Some(path)) => certificate(&path, channel.clone()).await?,
        (None, None) => return Err(Failure::usage("expected --token-file or --as-certificate")),
    };
    let stored = resource::list(&mut ResourcesClient::new(channel), Kind::Registration, None).await?;
    let registrations = readable(&stored);
    let trust_domain =
        identity::TrustDomain::new(&instance.ready()?.trust_domain).map_err(Failure::internal)?;
    let other_names: Vec<String> = csr.other_names().iter().map(ToString::to_string).collect();
    let judge = |asker: Asker<'_>| {
        let asked = Asked {
            asker,
            trust_domain: &trust_domain,
            wished: csr.uri(),
            dns_names: csr.dns_names(),
            other_names: &other_names,
        };
        resources::explain(&registrations, &asked)
    };
    let explanation = match &known {
        Known::Token { id, registration } => judge(Asker::Token { id, registration }),
        Known::Own { id, registration } => judge(Asker::Own { id, registration }),
        Known::Spent { why } => Explanation::Refused {
            nearest: None,
            missing: vec![why.clone()],
        },
        Known::Foreign { ids } => {
            best(foreign(ids, &registrations).map(|(provider, id)| judge(Asker::Foreign { provider, id })))
        }
    };
    answer(&explanation, global)
}

/// The registrations that can be read; each other one grants nothing and is reported on standard error.
fn readable(stored: &[v1::Resource]) -> Vec<Registration> {
    let mut registrations = Vec::with_capacity(stored.len());
    for resource in stored {
        match resource::registration(resource) {
            Ok((registration, _)) => registrations.push(registration),
            Err(why) => output::remark(&format!(
                "registration {}/{} cannot be read and grants nothing: {why}",
                resource.namespace, resource.name
            )),
        }
    }
    registrations
}

/// Every pair of a configured provider that registrations name and an id that it might read.
fn foreign<'a>(
    ids: &'a [String],
    registrations: &'a [Registration],
) -> impl Iterator<Item = (&'a str, &'a str)> {
    let mut providers: Vec<&str> = registrations
        .iter()
        .flat_map(|registration| registration.callers())
        .filter_map(|caller| match caller {
            Caller::Certificate { provider, .. } => Some(provider.as_str()),
            _ => None,
        })
        .collect();
    providers.sort_unstable();
    providers.dedup();
    providers
        .into_iter()
        .flat_map(|provider| ids.iter().map(move |id| (provider, id.as_str())))
}

fn best(explanations: impl Iterator<Item = Explanation>) -> Explanation {
    let lacks = |explanation: &Explanation| match explanation {
        Explanation::Granted { .. } => 0,
        Explanation::Refused { missing, .. } => missing.len(),
    };
    explanations
        .min_by_key(lacks)
        .unwrap_or_else(|| Explanation::Refused {
            nearest: None,
            missing: vec![
                "no registration admits certificates of a foreign CA, or the certificate names no id"
                    .to_owned(),
            ],
        })
}

async fn token(path: &Path, channel: Channel) -> Result<Known, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::file("read", path, &e))?;
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::new(Reason::TokenInvalid, format!("{}: {why}", path.display())).at(Place::of_file(path))
    };
    let token = JoinToken::parse(&text).map_err(|e| wrong(&e))?;
    let known = crate::token::all(&mut TokensClient::new(channel)).await?;
    let known = known
        .into_iter()
        .find(|known| known.id == token.id())
        .ok_or_else(|| wrong(&format!("the server knows no token {}", token.id())))?;
    let spent = match known.state() {
        State::Offered => None,
        State::Redeemed => Some("was redeemed"),
        State::Expired => Some("has expired"),
        State::Revoked => Some("was revoked"),
        State::Unspecified => Some("is in no known state"),
    };
    if let Some(what) = spent {
        let why = format!(
            "token {} {what}; make another with `signet token create`",
            known.id
        );
        return Ok(Known::Spent { why });
    }
    Ok(Known::Token {
        id: spiffe_id(&known.spiffe_id)?,
        registration: known.registration,
    })
}

async fn certificate(path: &Path, channel: Channel) -> Result<Known, Failure> {
    let text = std::fs::read(path).map_err(|e| Failure::file("read", path, &e))?;
    let der = CertificateDer::from_pem_slice(&text)
        .map_err(|e| Failure::content(path, format!("{e}, expected a PEM certificate, leaf first")))?;
    let leaf = Leaf::parse(&der).map_err(|e| Failure::content(path, e))?;
    let request = v1::GetCertificateRequest {
        serial: leaf.serial().to_string(),
    };
    let recorded = match CertificatesClient::new(channel).get_certificate(request).await {
        Ok(answer) => Some(answer.into_inner()).filter(|recorded| recorded.der == der.as_ref()),
        Err(status) => match Failure::from(status) {
            absent if absent.reason() == Reason::NotFound => None,
            other => return Err(other),
        },
    };
    let ends = leaf.validity().not_after();
    if ends < SystemClock.now() {
        let why = format!("certificate {} ended at {}", leaf.serial(), output::moment(ends));
        return Ok(Known::Spent { why });
    }
    let Some(recorded) = recorded else {
        return Ok(Known::Foreign { ids: ids_of(&leaf) });
    };
    if recorded.revoked_at.is_some() {
        let at = message::moment(recorded.revoked_at.as_ref());
        let why = format!("certificate {} was revoked at {at}", recorded.serial);
        return Ok(Known::Spent { why });
    }
    Ok(Known::Own {
        id: spiffe_id(&recorded.spiffe_id)?,
        registration: recorded.registration,
    })
}

/// All that `idFrom` can name.
fn ids_of(leaf: &Leaf) -> Vec<String> {
    let texts = [
        leaf.subject_serial_number(),
        leaf.hardware_serial(),
        leaf.common_name(),
    ];
    let uris = leaf.uris().iter().map(String::as_str);
    texts
        .into_iter()
        .flatten()
        .chain(uris)
        .map(str::to_owned)
        .collect()
}

fn spiffe_id(text: &str) -> Result<SpiffeId, Failure> {
    SpiffeId::new(text).map_err(|e| Failure::internal(format!("answer of the server: {e}")))
}

fn read_csr(path: &Path) -> Result<VerifiedCsr, Failure> {
    let text = std::fs::read(path).map_err(|e| Failure::file("read", path, &e))?;
    VerifiedCsr::parse(&text)
        .map_err(|e| Failure::new(e.reason(), format!("{}: {e}", path.display())).at(Place::of_file(path)))
}

fn answer(explanation: &Explanation, global: &Global) -> Result<(), Failure> {
    let (value, text) = told(explanation);
    output::show(global.output, &value, || text)
}

fn told(explanation: &Explanation) -> (Value, String) {
    match explanation {
        Explanation::Granted {
            registration,
            spiffe_id,
            also,
        } => {
            let mut value =
                json!({ "granted": true, "registration": registration, "spiffeId": spiffe_id.as_str() });
            let mut text = format!("granted: {spiffe_id}, by registration {registration}");
            if !also.is_empty() {
                value["alsoGrantedBy"] = json!(also);
                text.push_str(&format!(
                    "\n  without effect here: {}, which grants the same identity; of several the first by name applies",
                    also.join(", ")
                ));
            }
            (value, text)
        }
        Explanation::Refused { nearest, missing } => {
            let nearest_text = nearest.as_deref().unwrap_or("none");
            (
                json!({ "granted": false, "nearest": nearest, "missing": missing }),
                format!(
                    "not granted; nearest registration: {nearest_text}\n  missing: {}",
                    missing.join("\n  missing: ")
                ),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_names_the_registration_or_what_is_missing() {
        let granted = Explanation::Granted {
            registration: "default/web".into(),
            spiffe_id: SpiffeId::new("spiffe://td/web").unwrap(),
            also: Vec::new(),
        };
        assert_eq!(
            told(&granted),
            (
                json!({ "granted": true, "registration": "default/web", "spiffeId": "spiffe://td/web" }),
                "granted: spiffe://td/web, by registration default/web".to_owned()
            )
        );
        let twice = Explanation::Granted {
            registration: "default/web".into(),
            spiffe_id: SpiffeId::new("spiffe://td/web").unwrap(),
            also: vec!["default/web-2".into()],
        };
        let (value, text) = told(&twice);
        assert_eq!(value["alsoGrantedBy"], json!(["default/web-2"]));
        assert!(text.contains("without effect here: default/web-2"), "{text}");
        let refused = Explanation::Refused {
            nearest: Some("default/web".into()),
            missing: vec!["a".into(), "b".into()],
        };
        let (value, text) = told(&refused);
        assert_eq!(value["missing"], json!(["a", "b"]));
        assert_eq!(
            text,
            "not granted; nearest registration: default/web\n  missing: a\n  missing: b"
        );
    }

    #[test]
    fn the_explanation_that_lacks_least_is_told() {
        let refused = |missing: &[&str]| Explanation::Refused {
            nearest: None,
            missing: missing.iter().map(|text| (*text).to_owned()).collect(),
        };
        let found = best([refused(&["a", "b"]), refused(&["a"])].into_iter());
        assert_eq!(found, refused(&["a"]));
        assert!(matches!(best(std::iter::empty()), Explanation::Refused { .. }));
    }
}
