//! Texts with variables, `/ns/{{ jwt.namespace }}/sa/{{ jwt.serviceAccount }}`, filled from what a caller proved. A value is one
//! path segment of a SPIFFE ID (SPIFFE-ID section 2.2), so that no caller can choose the shape of its path.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::error::shorten;

/// A text in which variables stand for what a caller proved.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable(Variable),
}

/// A variable of templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `jwt.namespace`, from `sub` `system:serviceaccount:<ns>:<sa>`.
    JwtNamespace,
    /// `jwt.serviceAccount`, from the same.
    JwtServiceAccount,
    /// `jwt.claims.<name>`: a claim whose value is a text.
    JwtClaim(String),
    /// `unix.user`: the user name that the agent saw.
    UnixUser,
    /// `certificate.id`: what the configuration's `idFrom` names.
    CertificateId,
}

/// What a caller proved; absent where it proved otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// `sub` of a verified JWT.
    pub jwt_subject: Option<&'a str>,
    /// The claims of a verified JWT.
    pub jwt_claims: Option<&'a dyn Claims>,
    /// Name of the user that the caller's process runs as.
    pub unix_user: Option<&'a str>,
    /// Id in a verified foreign certificate.
    pub certificate_id: Option<&'a str>,
}

/// Claims of a JWT, whole or as a record kept them.
pub trait Claims: fmt::Debug {
    /// The claim of this name, if it is a text.
    fn text(&self, name: &str) -> Option<&str>;
}

impl Claims for Map<String, Value> {
    fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }
}

impl Claims for BTreeMap<String, String> {
    fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }
}

/// Why a template is none, or has no value for a caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}`, or the reverse.
    #[error("braces of a template do not match, expected {{{{ variable }}}}")]
    Braces,
    /// No such variable.
    #[error(
        "unknown variable {found:?}, expected jwt.namespace, jwt.serviceAccount, jwt.claims.<name>, unix.user or certificate.id"
    )]
    Unknown {
        /// What stands between the braces.
        found: String,
    },
    /// The caller's proof says nothing of it.
    #[error("the caller's proof has no {variable}")]
    NoValue {
        /// The variable.
        variable: String,
    },
    /// `sub` has another form.
    #[error("{variable} needs sub system:serviceaccount:<namespace>:<service account>, found {found:?}")]
    Subject {
        /// The variable.
        variable: String,
        /// The subject, cut to a readable length.
        found: String,
    },
    /// The value would change the shape of the path.
    #[error("{variable} is {found:?}, expected one path segment of letters, digits, '.', '-', '_'")]
    Segment {
        /// The variable.
        variable: String,
        /// The value, cut to a readable length.
        found: String,
    },
}

impl TemplateError {
    /// The word that a caller is answered with.
    pub fn reason(&self) -> identity::Reason {
        match self {
            TemplateError::Braces | TemplateError::Unknown { .. } => identity::Reason::ResourceInvalid,
            TemplateError::NoValue { .. } | TemplateError::Subject { .. } | TemplateError::Segment { .. } => {
                identity::Reason::IdentityNotGranted
            }
        }
    }
}

impl Template {
    /// Parses a text; without `{{` it is its own value.
    pub fn new(text: &str) -> Result<Self, TemplateError> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((literal, after)) = rest.split_once("{{") {
            let (name, tail) = after.split_once("}}").ok_or(TemplateError::Braces)?;
            push_literal(&mut parts, literal)?;
            parts.push(Part::Variable(Variable::new(name.trim())?));
            rest = tail;
        }
        push_literal(&mut parts, rest)?;
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }

    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its variables, in order.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Literal(_) => None,
        })
    }

    /// The text for one caller.
    pub fn render(&self, facts: &Facts<'_>) -> Result<String, TemplateError> {
        let mut text = String::new();
        for part in &self.parts {
            text.push_str(match part {
                Part::Literal(literal) => literal,
                Part::Variable(variable) => variable.value(facts)?,
            });
        }
        Ok(text)
    }

    /// The text with `segment` in place of each variable: its shape.
    pub(crate) fn shape(&self, segment: &str) -> String {
        let part = |part: &Part| match part {
            Part::Literal(literal) => literal.clone(),
            Part::Variable(_) => segment.to_owned(),
        };
        self.parts.iter().map(part).collect()
    }
}

fn push_literal(parts: &mut Vec<Part>, literal: &str) -> Result<(), TemplateError> {
    if literal.contains(['{', '}']) {
        return Err(TemplateError::Braces);
    }
    if !literal.is_empty() {
        parts.push(Part::Literal(literal.to_owned()));
    }
    Ok(())
}

impl Variable {
    fn new(name: &str) -> Result<Self, TemplateError> {
        match name {
            "jwt.namespace" => Ok(Variable::JwtNamespace),
            "jwt.serviceAccount" => Ok(Variable::JwtServiceAccount),
            "unix.user" => Ok(Variable::UnixUser),
            "certificate.id" => Ok(Variable::CertificateId),
            _ => match name.strip_prefix("jwt.claims.") {
                Some(claim) if !claim.is_empty() => Ok(Variable::JwtClaim(claim.to_owned())),
                _ => Err(TemplateError::Unknown { found: shorten(name) }),
            },
        }
    }

    fn value<'a>(&self, facts: &Facts<'a>) -> Result<&'a str, TemplateError> {
        let value = match self {
            Variable::JwtNamespace => facts
                .jwt_subject
                .map(|s| self.account(s))
                .transpose()?
                .map(|a| a.0),
            Variable::JwtServiceAccount => facts
                .jwt_subject
                .map(|s| self.account(s))
                .transpose()?
                .map(|a| a.1),
            Variable::JwtClaim(name) => facts.jwt_claims.and_then(|claims| claims.text(name)),
            Variable::UnixUser => facts.unix_user,
            Variable::CertificateId => facts.certificate_id,
        };
        let value = value.ok_or_else(|| TemplateError::NoValue {
            variable: self.to_string(),
        })?;
        if !is_segment(value) {
            return Err(TemplateError::Segment {
                variable: self.to_string(),
                found: shorten(value),
            });
        }
        Ok(value)
    }

    fn account<'a>(&self, subject: &'a str) -> Result<(&'a str, &'a str), TemplateError> {
        subject
            .strip_prefix("system:serviceaccount:")
            .and_then(|rest| rest.split_once(':'))
            .filter(|(namespace, account)| is_segment(namespace) && is_segment(account))
            .ok_or_else(|| TemplateError::Subject {
                variable: self.to_string(),
                found: shorten(subject),
            })
    }
}

/// SPIFFE-ID section 2.2: letters, digits, dots, dashes, underscores; not empty, not relative.
fn is_segment(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !matches!(text, "" | "." | "..") && text.bytes().all(allowed)
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variable::JwtNamespace => f.write_str("jwt.namespace"),
            Variable::JwtServiceAccount => f.write_str("jwt.serviceAccount"),
            Variable::JwtClaim(name) => write!(f, "jwt.claims.{}", shorten(name)),
            Variable::UnixUser => f.write_str("unix.user"),
            Variable::CertificateId => f.write_str("certificate.id"),
        }
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_subject(subject: &str) -> Result<String, TemplateError> {
        let template = Template::new("/ns/{{ jwt.namespace }}/sa/{{jwt.serviceAccount}}").unwrap();
        template.render(&Facts {
            jwt_subject: Some(subject),
            ..Facts::default()
        })
    }

    #[test]
    fn a_service_account_fills_its_template() {
        let path = of_subject("system:serviceaccount:default:details");
        assert_eq!(path.as_deref(), Ok("/ns/default/sa/details"));
    }

    #[test]
    fn a_value_never_changes_the_shape_of_the_path() {
        for subject in [
            "",
            "system:serviceaccount:default",
            "system:serviceaccount::x",
            "system:serviceaccount:a:b:c",
            "system:serviceaccount:..:x",
            "system:serviceaccount:a:x/../../admin/root",
            "system:serviceaccount:a:b%2f",
            "SYSTEM:serviceaccount:a:b",
        ] {
            assert!(
                matches!(of_subject(subject), Err(TemplateError::Subject { .. })),
                "{subject:?}"
            );
        }
        let template = Template::new("/device/{{ certificate.id }}").unwrap();
        for (id, ok) in [("D-1", true), ("D/1", false), ("", false), (".", false)] {
            let facts = Facts {
                certificate_id: Some(id),
                ..Facts::default()
            };
            assert_eq!(template.render(&facts).is_ok(), ok, "{id:?}");
        }
    }

    #[test]
    fn claims_are_texts_that_exist() {
        let template = Template::new("/t/{{ jwt.claims.team }}/{{ unix.user }}").unwrap();
        let claims = serde_json::json!({"team": "red", "n": 1});
        let facts = Facts {
            jwt_claims: Some(claims.as_object().unwrap()),
            unix_user: Some("ann"),
            ..Facts::default()
        };
        assert_eq!(template.render(&facts).as_deref(), Ok("/t/red/ann"));
        let number = Template::new("{{ jwt.claims.n }}").unwrap();
        assert!(matches!(
            number.render(&facts),
            Err(TemplateError::NoValue { .. })
        ));
    }

    #[test]
    fn unknown_variables_and_loose_braces_are_refused() {
        for (bad, unknown) in [
            ("{{ jwt.sub }}", true),
            ("{{}}", true),
            ("{{ jwt.claims. }}", true),
            ("{{ unix.user", false),
            ("a }} b", false),
            ("{x}", false),
        ] {
            let error = Template::new(bad).unwrap_err();
            assert_eq!(matches!(error, TemplateError::Unknown { .. }), unknown, "{bad}");
        }
    }
}
