//! What is known of one thing, told alike by every program: a headline and lines for people, one object for programs.

use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::leaf::LeafError;
use crate::printable::printable;
use crate::validity::moment;
use crate::{Fingerprint, Leaf, hex};

/// A headline, facts, and what to do next.
#[derive(Clone, Debug)]
pub struct Facts {
    headline: String,
    /// Label for people, key for programs, value.
    facts: Vec<(&'static str, &'static str, Value)>,
    /// Sentences below the facts, for people only.
    notes: Vec<String>,
}

impl Facts {
    /// Nothing but the headline.
    pub fn new(headline: impl Into<String>) -> Self {
        Self {
            headline: headline.into(),
            facts: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Of a certificate in DER, as of this moment.
    pub fn of_certificate(der: &[u8], now: OffsetDateTime) -> Result<Self, LeafError> {
        let leaf = Leaf::parse(der)?;
        let headline = match (leaf.is_ca(), leaf.svid_id()) {
            (true, _) if leaf.may_sign_svids() => {
                "certificate of an authority, which may sign identities".to_owned()
            }
            (true, _) => "certificate of an authority that may not sign identities".to_owned(),
            (false, Ok(id)) => format!("certificate of {id}"),
            (false, Err(why)) => format!("certificate that is no SPIFFE identity: {why}"),
        };
        let validity = leaf.validity();
        let state = if validity.contains(now) {
            "valid"
        } else if now < validity.not_before() {
            "not yet valid"
        } else {
            "ended"
        };
        let addresses: Vec<String> = leaf.ip_addresses().iter().map(ToString::to_string).collect();
        let id = |id: Option<&[u8]>| id.map(hex::encode).unwrap_or_default();
        Ok(Self::new(headline)
            .fact("kind", "kind", "certificate")
            .fact("subject", "subject", leaf.subject())
            .fact("URI names", "uris", leaf.uris())
            .fact("DNS names", "dnsNames", leaf.dns_names())
            .fact("IP addresses", "ipAddresses", addresses)
            .fact("serial", "serial", leaf.serial().to_string())
            .moment("not before", "notBefore", validity.not_before())
            .moment("not after", "notAfter", validity.not_after())
            .fact("now", "state", state)
            .fact("authority", "isAuthority", leaf.is_ca())
            .fact("key usage", "keyUsage", leaf.key_usage())
            .fact("extended usage", "extendedKeyUsage", leaf.extended_key_usage())
            .fact("key digest", "keyDigest", leaf.key_digest().to_string())
            .fact("key id", "subjectKeyId", id(leaf.subject_key_id()))
            .fact("signed by key id", "authorityKeyId", id(leaf.authority_key_id()))
            .fact("fingerprint", "fingerprint", Fingerprint::of(der).to_string()))
    }

    /// Adds a fact; `label` is for people, `key` for programs.
    pub fn fact(mut self, label: &'static str, key: &'static str, value: impl Into<Value>) -> Self {
        self.facts.push((label, key, value.into()));
        self
    }

    /// Adds a moment, in RFC 3339.
    pub fn moment(self, label: &'static str, key: &'static str, at: OffsetDateTime) -> Self {
        self.fact(label, key, moment(at))
    }

    /// Adds a sentence for people.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// The facts in two columns, below the headline; characters that would change the layout are escaped.
    pub fn text(&self) -> String {
        let width = self.facts.iter().map(|(label, ..)| label.len()).max();
        let width = width.unwrap_or(0);
        let facts = self
            .facts
            .iter()
            .map(|(label, _, value)| format!("  {label:width$}  {}", printable(&plain(value))));
        let sentence = |text: &String| printable(text).into_owned();
        std::iter::once(sentence(&self.headline))
            .chain(facts)
            .chain(self.notes.iter().map(sentence))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// The facts as one JSON object.
    pub fn value(&self) -> Value {
        let facts = self
            .facts
            .iter()
            .map(|(_, key, value)| ((*key).to_owned(), value.clone()));
        Value::Object(facts.collect::<Map<_, _>>())
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
    use serde_json::json;

    #[test]
    fn facts_are_one_object_for_programs_and_lines_for_people() {
        let facts = Facts::new("a thing")
            .fact("is good", "isGood", true)
            .fact("names", "names", vec!["a", "b"])
            .fact("other", "other", "")
            .note("Look at it.");
        assert_eq!(
            facts.value(),
            json!({ "isGood": true, "names": ["a", "b"], "other": "" })
        );
        let text = "a thing\n  is good  yes\n  names    a, b\n  other    none\nLook at it.";
        assert_eq!(facts.text(), text);
    }

    #[test]
    fn names_in_a_strangers_certificate_forge_no_lines_and_drive_no_terminal() {
        let mut params = CertificateParams::default();
        let subject = "x\n  fingerprint       00\u{1b}[2J\u{9b}1m\u{202e}";
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, subject);
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let facts = Facts::of_certificate(der.der(), OffsetDateTime::UNIX_EPOCH).unwrap();
        let text = facts.text();
        assert!(
            text.contains("CN=x\\n  fingerprint       00\\u{1b}[2J\\u{9b}1m\\u{202e}"),
            "{text}"
        );
        assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}']));
        let forged = text
            .lines()
            .filter(|line| line.trim_start().starts_with("fingerprint"));
        assert_eq!(forged.count(), 1);
        assert_eq!(
            facts.value()["subject"],
            format!("CN={subject}"),
            "programs get it as it is"
        );
    }

    #[test]
    fn a_certificate_tells_what_its_key_may_do() {
        let mut params = CertificateParams::default();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::OcspSigning,
            ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 17]),
        ];
        let der = |params: CertificateParams| {
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            certificate.der().to_vec()
        };
        let facts = Facts::of_certificate(&der(params), OffsetDateTime::UNIX_EPOCH).unwrap();
        let value = facts.value();
        assert_eq!(value["keyUsage"], json!(["digitalSignature", "cRLSign"]));
        assert_eq!(
            value["extendedKeyUsage"],
            json!(["serverAuth", "OCSPSigning", "1.3.6.1.5.5.7.3.17"])
        );
        let silent = der(CertificateParams::default());
        let value = Facts::of_certificate(&silent, OffsetDateTime::UNIX_EPOCH)
            .unwrap()
            .value();
        assert_eq!(
            (&value["keyUsage"], &value["extendedKeyUsage"]),
            (&json!([]), &json!([]))
        );
    }
}
