//! Tokens of an issuer made here: claims of odd types, keys of the wrong kind, headers that demand too much.

use super::*;
use jsonwebtoken::{EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::json;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-01-01 12:00 UTC);
const ISSUER: &str = "https://issuer.example";
const SUBJECT: &str = "system:serviceaccount:default:details";

/// An issuer with one P-256 key, whose id is `k`.
struct Party {
    key: KeyPair,
}

impl Party {
    fn new() -> Self {
        Self {
            key: KeyPair::generate().unwrap(),
        }
    }

    fn jwk(&self) -> Value {
        let point = rcgen::PublicKeyData::der_bytes(&self.key);
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        json!({ "kty": "EC", "crv": "P-256", "kid": "k", "use": "sig", "x": part(1..33), "y": part(33..65) })
    }

    fn provider(&self, name: &str, audience: &str) -> JwtProvider {
        let set = json!({ "keys": [{ "kty": "new" }, self.jwk()] }).to_string();
        JwtProvider::new(
            name.to_owned(),
            ISSUER.to_owned(),
            vec![audience.to_owned()],
            set.as_bytes(),
        )
        .unwrap()
    }

    fn sign(&self, header: &Header, claims: &Value) -> String {
        encode(
            header,
            claims,
            &EncodingKey::from_ec_der(&self.key.serialize_der()),
        )
        .unwrap()
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(&Header::new(Algorithm::ES256), claims)
    }
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "sub": SUBJECT, "aud": "istio-ca", "exp": NOW.unix_timestamp() + 60 })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn reason(providers: &[JwtProvider], token: &str) -> Reason {
    verify(providers, token, NOW).unwrap_err().reason()
}

#[test]
fn a_token_of_a_configured_issuer_names_its_subject() {
    let party = Party::new();
    let providers = [party.provider("k8s", "istio-ca")];
    for audience in [json!("istio-ca"), json!(["other", "istio-ca"])] {
        let verified = verify(&providers, &party.token(&with("aud", audience)), NOW).unwrap();
        assert_eq!(
            (verified.provider.as_str(), verified.subject.as_str()),
            ("k8s", SUBJECT)
        );
    }
}

#[test]
fn claims_of_odd_types_are_errors_and_never_absences() {
    let party = Party::new();
    let providers = [party.provider("k8s", "istio-ca")];
    let now = NOW.unix_timestamp();
    for (claims, expected) in [
        (without("exp"), Reason::JwtInvalid),
        (with("exp", json!(null)), Reason::JwtInvalid),
        (with("exp", json!((now + 60).to_string())), Reason::JwtInvalid),
        (with("exp", json!([now + 60])), Reason::JwtInvalid),
        (with("exp", json!(now - 10)), Reason::JwtExpired),
        (with("exp", json!(-1e300)), Reason::JwtExpired),
        (with("nbf", json!(now + 11)), Reason::JwtInvalid),
        (with("nbf", json!(u64::MAX)), Reason::JwtInvalid),
        (with("nbf", json!("0")), Reason::JwtInvalid),
        (with("nbf", json!(null)), Reason::JwtInvalid),
        (without("aud"), Reason::JwtAudience),
        (with("aud", json!("istio")), Reason::JwtAudience),
        (with("aud", json!([])), Reason::JwtAudience),
        (with("aud", json!(["istio-ca", 1])), Reason::JwtInvalid),
        (with("aud", json!({ "istio-ca": 1 })), Reason::JwtInvalid),
        (without("sub"), Reason::JwtInvalid),
        (with("sub", json!("")), Reason::JwtInvalid),
        (with("sub", json!([SUBJECT])), Reason::JwtInvalid),
        (without("iss"), Reason::JwtInvalid),
        (with("iss", json!([ISSUER])), Reason::JwtInvalid),
        (
            with("iss", json!("https://issuer.example/")),
            Reason::JwtIssuerUnknown,
        ),
    ] {
        assert_eq!(reason(&providers, &party.token(&claims)), expected, "{claims}");
    }
    for good in [
        with("exp", json!(now - 9)),
        with("exp", json!(now as f64 + 0.5)),
        with("nbf", json!(now + 10)),
    ] {
        assert!(verify(&providers, &party.token(&good), NOW).is_ok(), "{good}");
    }
}

#[test]
fn neither_none_nor_a_key_of_another_kind_signs() {
    let party = Party::new();
    let providers = [party.provider("k8s", "istio-ca")];
    let body = URL_SAFE_NO_PAD.encode(claims().to_string());
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"typ":"JWT"}"#,
        "{}",
        "[]",
    ] {
        let token = format!("{}.{body}.", URL_SAFE_NO_PAD.encode(header));
        assert_eq!(reason(&providers, &token), Reason::JwtInvalid, "{header}");
    }
    // The public key, which everybody knows, as the secret of an HMAC.
    let secret = EncodingKey::from_secret(party.jwk().to_string().as_bytes());
    let confused = encode(&Header::new(Algorithm::HS256), &claims(), &secret).unwrap();
    assert_eq!(reason(&providers, &confused), Reason::JwtInvalid);
    assert_eq!(
        reason(&providers, &Party::new().token(&claims())),
        Reason::JwtInvalid
    );
    let good = party.token(&claims());
    let (start, _) = good.rsplit_once('.').unwrap();
    for broken in [
        start,
        &format!("{start}."),
        "",
        ".",
        "..",
        "a.b.c",
        &format!("{good}.x"),
    ] {
        assert_eq!(reason(&providers, broken), Reason::JwtInvalid, "{broken}");
    }
    assert_eq!(
        reason(&providers, &"a".repeat(MAX_TOKEN_BYTES + 1)),
        Reason::JwtInvalid
    );
}

#[test]
fn a_key_id_chooses_the_key_and_none_means_any() {
    let party = Party::new();
    let providers = [party.provider("k8s", "istio-ca")];
    for (kid, accepted) in [
        (None, true),
        (Some("k"), true),
        (Some("other"), false),
        (Some(""), false),
    ] {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = kid.map(str::to_owned);
        let verdict = verify(&providers, &party.sign(&header, &claims()), NOW);
        assert_eq!(verdict.is_ok(), accepted, "{kid:?}");
    }
}

#[test]
fn a_header_that_demands_extensions_is_refused() {
    let party = Party::new();
    let providers = [party.provider("k8s", "istio-ca")];
    let signing = |header: Value| {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(&claims()));
        let key = EncodingKey::from_ec_der(&party.key.serialize_der());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::ES256).unwrap();
        format!("{message}.{signature}")
    };
    assert!(verify(&providers, &signing(json!({ "alg": "ES256" })), NOW).is_ok());
    let critical = signing(json!({ "alg": "ES256", "crit": ["exp"] }));
    assert_eq!(reason(&providers, &critical), Reason::JwtInvalid);
}

#[test]
fn two_providers_of_one_issuer_are_both_asked_and_the_first_says_why_not() {
    let (one, two) = (Party::new(), Party::new());
    let providers = [one.provider("one", "istio-ca"), two.provider("two", "signet")];
    let token = two.token(&with("aud", json!("signet")));
    assert_eq!(verify(&providers, &token, NOW).unwrap().provider, "two");
    let stranger = one.token(&with("aud", json!("else")));
    assert_eq!(reason(&providers, &stranger), Reason::JwtAudience);
}

#[test]
fn a_key_set_needs_one_key_for_signatures() {
    let party = Party::new();
    let make = |json: Value| {
        JwtProvider::new(
            "k8s".to_owned(),
            ISSUER.to_owned(),
            Vec::new(),
            json.to_string().as_bytes(),
        )
        .map(|_| ())
    };
    let mut encrypting = party.jwk();
    encrypting["use"] = json!("enc");
    assert_eq!(
        make(json!({ "keys": [encrypting] })),
        Err(KeySetError::NoKey { found: 1 })
    );
    let secret = json!({ "kty": "oct", "k": "c2VjcmV0" });
    assert_eq!(
        make(json!({ "keys": [secret] })),
        Err(KeySetError::NoKey { found: 1 })
    );
    assert!(matches!(make(json!({ "keys": {} })), Err(KeySetError::Syntax(_))));
    assert!(matches!(make(json!([])), Err(KeySetError::Syntax(_))));
    assert_eq!(make(json!({ "keys": [party.jwk()] })), Ok(()));
}
