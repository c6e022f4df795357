//! JSON Web Tokens of configured issuers (RFC 7519). `jsonwebtoken` checks the signature; the claims are read here, strictly: a
//! claim of the wrong type is an error and never an absence. Algorithms are a positive list, looked at before anything else, and
//! the key says which family it serves, so that neither `none` nor a public key used as a secret passes.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::Reason;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use proto::Refusal;
use serde_json::{Map, Value};
use time::OffsetDateTime;

/// Longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Largest key set that is read, in bytes.
pub const MAX_JWKS_BYTES: usize = 1 << 20;
/// How far two clocks may differ.
const LEEWAY: Duration = Duration::from_secs(10);

const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
];

/// A configured issuer, ready for use.
#[derive(Clone)]
pub struct JwtProvider {
    name: String,
    issuer: String,
    audiences: Vec<String>,
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

/// A token that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedJwt {
    /// The provider's name in the configuration.
    pub provider: String,
    /// Claim `sub`.
    pub subject: String,
    /// All claims.
    pub claims: Map<String, Value>,
}

/// A key set that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Too large to be parsed.
    #[error("key set of {found} bytes, expected at most {MAX_JWKS_BYTES}")]
    TooLarge {
        /// Its size.
        found: usize,
    },
    /// Not a JWK Set.
    #[error("not a JWK Set (RFC 7517): {0}")]
    Syntax(String),
    /// No key in it can verify a signature.
    #[error("no usable key among {found}; expected RSA, P-256 or P-384 keys for signatures")]
    NoKey {
        /// How many keys there are.
        found: usize,
    },
}

impl JwtProvider {
    /// Reads the key set of an issuer. Keys of other types and uses are passed over; one at least must be usable.
    pub fn new(
        name: String,
        issuer: String,
        audiences: Vec<String>,
        jwks_json: &[u8],
    ) -> Result<Self, KeySetError> {
        if jwks_json.len() > MAX_JWKS_BYTES {
            return Err(KeySetError::TooLarge {
                found: jwks_json.len(),
            });
        }
        let set: Value = serde_json::from_slice(jwks_json).map_err(|e| KeySetError::Syntax(e.to_string()))?;
        let listed = set
            .get("keys")
            .and_then(Value::as_array)
            .ok_or_else(|| KeySetError::Syntax("member \"keys\" is not a list".to_owned()))?;
        let keys: Vec<Key> = listed
            .iter()
            .filter_map(|key| serde_json::from_value(key.clone()).ok())
            .filter_map(|key: Jwk| Key::new(&key))
            .collect();
        if keys.is_empty() {
            return Err(KeySetError::NoKey { found: listed.len() });
        }
        Ok(Self {
            name,
            issuer,
            audiences,
            keys,
        })
    }

    /// Its name in registrations.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn verify(
        &self,
        token: &str,
        header: &jsonwebtoken::Header,
        now: OffsetDateTime,
    ) -> Result<VerifiedJwt, Refusal> {
        let mut validation = Validation::new(header.alg);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let candidates = self
            .keys
            .iter()
            .filter(|key| key.algorithms.contains(&header.alg))
            .filter(|key| header.kid.is_none() || key.id.is_none() || key.id == header.kid);
        let claims = candidates
            .filter_map(|key| {
                jsonwebtoken::decode::<Map<String, Value>>(token, &key.decoding, &validation).ok()
            })
            .map(|verified| verified.claims)
            .next()
            .ok_or_else(|| {
                invalid(format!(
                    "JWT is signed by no key of provider {:?}; expected one of its key set",
                    self.name
                ))
            })?;
        self.judge(claims, now)
    }

    fn judge(&self, claims: Map<String, Value>, now: OffsetDateTime) -> Result<VerifiedJwt, Refusal> {
        let (expires, begins) = (time_claim(&claims, "exp")?, time_claim(&claims, "nbf")?);
        let expires = expires.ok_or_else(|| invalid("JWT has no exp, expected an end"))?;
        let (now, leeway) = (now.unix_timestamp() as f64, LEEWAY.as_secs_f64());
        if expires + leeway <= now {
            return Err(Refusal::new(
                Reason::JwtExpired,
                format!("JWT ended {:.0} s ago; send a fresh one", now - expires),
            ));
        }
        if begins.is_some_and(|begins| begins - leeway > now) {
            return Err(invalid("JWT has not begun (nbf); do the clocks agree?"));
        }
        let audiences = audiences(&claims)?;
        if !audiences
            .iter()
            .any(|found| self.audiences.iter().any(|expected| expected == found))
        {
            return Err(Refusal::new(
                Reason::JwtAudience,
                format!(
                    "JWT is for audience {audiences:?}, provider {:?} expects {:?}",
                    self.name, self.audiences
                ),
            )
            .with("found", audiences.join(","))
            .with("expected", self.audiences.join(",")));
        }
        let subject = match claims.get("sub") {
            Some(Value::String(subject)) if !subject.is_empty() => subject.clone(),
            _ => return Err(invalid("JWT has no sub, expected the caller's name")),
        };
        Ok(VerifiedJwt {
            provider: self.name.clone(),
            subject,
            claims,
        })
    }
}

impl Key {
    fn new(jwk: &Jwk) -> Option<Self> {
        if matches!(&jwk.common.public_key_use, Some(purpose) if *purpose != PublicKeyUse::Signature) {
            return None;
        }
        let family: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &ALGORITHMS[..6],
            AlgorithmParameters::EllipticCurve(parameters) => match parameters.curve {
                EllipticCurve::P256 => &[Algorithm::ES256],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKey(_) | AlgorithmParameters::OctetKeyPair(_) => return None,
        };
        let named = jwk.common.key_algorithm.map(|named| named.to_string());
        let algorithms: Vec<Algorithm> = family
            .iter()
            .copied()
            .filter(|algorithm| {
                named
                    .as_ref()
                    .is_none_or(|named| *named == format!("{algorithm:?}"))
            })
            .collect();
        if algorithms.is_empty() {
            return None;
        }
        Some(Self {
            id: jwk.common.key_id.clone(),
            algorithms,
            decoding: DecodingKey::from_jwk(jwk).ok()?,
        })
    }
}

/// Verifies a token against the provider whose issuer it names.
pub fn verify(providers: &[JwtProvider], token: &str, now: OffsetDateTime) -> Result<VerifiedJwt, Refusal> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(invalid(format!(
            "JWT of {} bytes, expected at most {MAX_TOKEN_BYTES}",
            token.len()
        )));
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| {
        invalid("bearer is neither a join token (sgt1....) nor a JWT in compact form with a known algorithm")
    })?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(invalid(format!(
            "JWT is signed with {:?}, expected one of RS, PS or ES with SHA-256, SHA-384 or (RSA) SHA-512",
            header.alg
        )));
    }
    if has_critical_header(token) {
        return Err(invalid(
            "JWT demands extensions (crit), expected none: this server knows none",
        ));
    }
    let issuer = unverified_issuer(token)?;
    let mut of_issuer = providers.iter().filter(|provider| provider.issuer == issuer);
    let Some(first) = of_issuer.next() else {
        return Err(Refusal::new(
            Reason::JwtIssuerUnknown,
            "JWT is of an issuer that is not configured; expected one under authentication.jwt",
        )
        .with("found", issuer.chars().take(200).collect::<String>()));
    };
    // Two providers may share an issuer and differ in audience: the first that accepts counts.
    let refused = match first.verify(token, &header, now) {
        Ok(verified) => return Ok(verified),
        Err(refused) => refused,
    };
    of_issuer
        .find_map(|provider| provider.verify(token, &header, now).ok())
        .ok_or(refused)
}

/// RFC 7515 section 4.1.11: what is not understood must be refused, and `jsonwebtoken` passes over it.
fn has_critical_header(token: &str) -> bool {
    let header = token.split('.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
    serde_json::from_slice::<Map<String, Value>>(&header).map_or(true, |header| header.contains_key("crit"))
}

/// Which provider to ask; nothing else is believed before the signature is checked.
fn unverified_issuer(token: &str) -> Result<String, Refusal> {
    let mut validation = Validation::default();
    validation.insecure_disable_signature_validation();
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.algorithms = ALGORITHMS.to_vec();
    let claims: Map<String, Value> = jsonwebtoken::decode(token, &DecodingKey::from_secret(&[]), &validation)
        .map_err(|_| invalid("JWT's claims cannot be read, expected a JSON object"))?
        .claims;
    match claims.get("iss") {
        Some(Value::String(issuer)) => Ok(issuer.clone()),
        _ => Err(invalid("JWT has no iss, expected its issuer")),
    }
}

fn time_claim(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(_) => Err(invalid(format!("JWT's {name} is not a number of seconds"))),
    }
}

fn audiences(claims: &Map<String, Value>) -> Result<Vec<String>, Refusal> {
    let wrong = || invalid("JWT's aud is neither a text nor a list of texts");
    match claims.get("aud") {
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(many)) => many
            .iter()
            .map(|audience| audience.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect(),
        None => Ok(Vec::new()),
        Some(_) => Err(wrong()),
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(Reason::JwtInvalid, message)
}

#[cfg(test)]
mod tests;
