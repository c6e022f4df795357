//! Foreign issuers and authorities: each field judged, each file that is named read and checked. Errors name the field by its place
//! in the list.

use std::collections::BTreeSet;
use std::path::Path;

use identity::verify::ChainVerifier;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::file::{CertificateConfig, IdFromConfig, JwtConfig};
use super::settings::field;
use super::{ConfigError, read_limited};
use crate::caller::certificate::{CertificateProvider, IdFrom};
use crate::caller::jwt::{JwtProvider, MAX_JWKS_BYTES};

/// Largest file of roots, in bytes.
const MAX_ROOTS_BYTES: usize = 1 << 20;

pub(super) fn jwt_providers(configs: &[JwtConfig]) -> Result<Vec<JwtProvider>, ConfigError> {
    check_names(
        "authentication.jwt",
        configs.iter().map(|config| config.name.as_str()),
    )?;
    configs
        .iter()
        .enumerate()
        .map(|(index, config)| {
            let at = |name: &str| format!("authentication.jwt[{index}].{name}");
            if config.name == "self" {
                return Err(field(
                    at("name"),
                    "\"self\" means this server's own tokens, expected another name",
                ));
            }
            if config.issuer.is_empty() {
                return Err(field(at("issuer"), "empty, expected what the tokens have in iss"));
            }
            if config.audiences.is_empty() {
                return Err(field(
                    at("audiences"),
                    "empty, expected what the tokens have in aud",
                ));
            }
            let file = match (&config.jwks_file, &config.jwks_url) {
                (Some(file), None) => file,
                (None, Some(_)) => {
                    return Err(field(at("jwksUrl"), "not available yet, expected jwksFile"));
                }
                _ => {
                    return Err(field(
                        at("jwksFile"),
                        "expected exactly one of jwksFile and jwksUrl",
                    ));
                }
            };
            let wrong = |why: String| ConfigError::NamedFile {
                field: at("jwksFile"),
                file: file.clone(),
                why,
            };
            let jwks = read_limited(file, MAX_JWKS_BYTES).map_err(|e| wrong(e.to_string()))?;
            JwtProvider::new(
                config.name.clone(),
                config.issuer.clone(),
                config.audiences.clone(),
                &jwks,
            )
            .map_err(|e| wrong(e.to_string()))
        })
        .collect()
}

pub(super) fn certificate_providers(
    configs: &[CertificateConfig],
) -> Result<Vec<CertificateProvider>, ConfigError> {
    check_names(
        "authentication.certificate",
        configs.iter().map(|config| config.name.as_str()),
    )?;
    configs
        .iter()
        .enumerate()
        .map(|(index, config)| {
            let roots = read_roots(&config.roots_file).map_err(|why| ConfigError::NamedFile {
                field: format!("authentication.certificate[{index}].rootsFile"),
                file: config.roots_file.clone(),
                why,
            })?;
            Ok(CertificateProvider {
                name: config.name.clone(),
                roots,
                id_from: config.id_from.into(),
            })
        })
        .collect()
}

fn read_roots(file: &Path) -> Result<ChainVerifier, String> {
    let pem = read_limited(file, MAX_ROOTS_BYTES).map_err(|e| e.to_string())?;
    let roots = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| format!("not PEM certificates: {e}"))?;
    if roots.is_empty() {
        return Err("no certificate in it, expected roots as PEM".to_owned());
    }
    ChainVerifier::new(&roots).map_err(|e| e.to_string())
}

impl From<IdFromConfig> for IdFrom {
    fn from(config: IdFromConfig) -> Self {
        match config {
            IdFromConfig::SerialNumber => IdFrom::SerialNumber,
            IdFromConfig::HardwareModuleName => IdFrom::HardwareModuleName,
            IdFromConfig::Uri => IdFrom::Uri,
            IdFromConfig::CommonName => IdFrom::CommonName,
        }
    }
}

/// Registrations name providers between colons, so the names are plain words, each once.
fn check_names<'a>(list: &str, names: impl Iterator<Item = &'a str> + Clone) -> Result<(), ConfigError> {
    let plain = |name: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        (1..=63).contains(&name.len()) && name.chars().all(allowed)
    };
    for (index, name) in names.clone().enumerate() {
        if !plain(name) {
            let why = format!("{name:?}, expected 1 to 63 letters, digits, '-', '_' or '.'");
            return Err(field(format!("{list}[{index}].name"), why));
        }
    }
    match repeated(names) {
        Some((index, name)) => Err(field(
            format!("{list}[{index}].name"),
            format!("{name:?} stands twice, expected each name once"),
        )),
        None => Ok(()),
    }
}

/// The first name that stands a second time, and where.
pub(super) fn repeated<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<(usize, &'a str)> {
    let mut seen = BTreeSet::new();
    let mut index = 0;
    names.find_map(|name| {
        index += 1;
        (!seen.insert(name)).then_some((index - 1, name))
    })
}
